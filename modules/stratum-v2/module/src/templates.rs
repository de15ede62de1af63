//! The way of tips and templates from the node into the [`WorkBook`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use host::v1::{BlockTemplate, NewTip, TemplateTransaction};
use host::{Host, HostError, Log, TemplateNews};
use tokio_util::sync::CancellationToken;
use work::{NodeTemplate, NodeTip, NodeTransaction, WorkBook};

/// Where templates stand, for health and status.
#[derive(Debug, Default)]
pub struct Feed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Height of the block to be made; none before the first news.
    height: Option<u32>,
    /// Why no templates come at present.
    trouble: Option<String>,
}

/// A template or tip that cannot be used: the field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "its {} is not what the contract says", self.0)
    }
}

impl Feed {
    /// Height of the block to be made; none before the node has said anything.
    pub fn height(&self) -> Option<u32> {
        self.lock().height
    }

    /// Why no templates come at present; none while they do.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, height: u32) {
        *self.lock() = State {
            height: Some(height),
            trouble: None,
        };
    }

    /// Notes a trouble; tells whether it is another one than before.
    fn fell_silent(&self, words: String) -> bool {
        let mut state = self.lock();
        let news = state.trouble.as_ref() != Some(&words);
        state.trouble = Some(words);
        news
    }
}

/// Feeds the book until `cancel` fires or the session is over; then tells why.
///
/// Miners hear of a new tip inside of `on_tip`, before anything else is done with it.
pub async fn feed(
    host: &Host,
    book: Arc<WorkBook>,
    feed: Arc<Feed>,
    log: Log,
    cancel: CancellationToken,
) -> HostError {
    host.watch_templates(&cancel, |news| {
        let heard = Instant::now();
        match news {
            TemplateNews::Tip(tip) => {
                let height = tip.height;
                let taken = node_tip(&tip)
                    .map_err(|error| error.to_string())
                    .and_then(|tip| book.on_tip(tip, heard).map_err(|error| error.to_string()));
                finish(&feed, &log, "tip", height, taken);
            }
            TemplateNews::Template(template) => {
                let height = template.height;
                let omitted = template.omitted_count;
                let taken = node_template(template)
                    .map_err(|error| error.to_string())
                    .and_then(|template| {
                        book.on_template(template, heard)
                            .map_err(|error| error.to_string())
                    });
                if omitted > 0 {
                    log.debug(
                        "the template leaves transactions out",
                        &[("omitted", &omitted)],
                    );
                }
                finish(&feed, &log, "template", height, taken);
            }
            TemplateNews::Waiting(error) => {
                if feed.fell_silent(error.to_string()) {
                    log.warn(
                        "no templates for now; the miners go on with what they have",
                        &[("reason", &error)],
                    );
                }
            }
        }
    })
    .await
}

fn finish(feed: &Feed, log: &Log, what: &str, height: u32, taken: Result<bool, String>) {
    match taken {
        Ok(new) => {
            feed.at(height);
            if new {
                log.debug("new work", &[("from", &what), ("height", &height)]);
            }
        }
        Err(words) => {
            if feed.fell_silent(format!("the node's {what} cannot be used: {words}")) {
                log.error(
                    "what the node gave cannot be used",
                    &[("what", &what), ("height", &height), ("why", &words)],
                );
            }
        }
    }
}

fn node_tip(tip: &NewTip) -> Result<NodeTip, Unusable> {
    Ok(NodeTip {
        previous_hash: hash(&tip.previous_hash, "previous hash")?,
        bits: tip.bits,
        height: tip.height,
        min_time_unix_s: tip.min_time_unix_s,
        coinbase_value_sats: tip.coinbase_value_sats,
    })
}

fn node_template(template: BlockTemplate) -> Result<NodeTemplate, Unusable> {
    let transactions = template
        .transactions
        .into_iter()
        .map(node_transaction)
        .collect::<Result<Vec<_>, _>>()?;
    let subsidy = NodeTip::subsidy(template.coinbase_value_sats, &transactions);
    Ok(NodeTemplate {
        tip: NodeTip {
            previous_hash: hash(&template.previous_hash, "previous hash")?,
            bits: template.bits,
            height: template.height,
            min_time_unix_s: template.min_time_unix_s,
            coinbase_value_sats: subsidy.ok_or(Unusable("coinbase value"))?,
        },
        version: template.version,
        current_time_unix_s: template.current_time_unix_s,
        witness_commitment_script: template.witness_commitment_script.into(),
        transactions,
        weight_limit: template.weight_limit,
        sigop_limit: template.sigop_limit,
    })
}

fn node_transaction(transaction: TemplateTransaction) -> Result<NodeTransaction, Unusable> {
    Ok(NodeTransaction {
        txid: hash(&transaction.txid, "transaction id")?,
        wtxid: hash(&transaction.wtxid, "witness transaction id")?,
        raw: transaction.raw,
        weight: transaction.weight,
        sigops: transaction.sigops,
        fee_sats: transaction.fee_sats,
        depends: transaction.depends,
    })
}

fn hash(bytes: &[u8], field: &'static str) -> Result<[u8; 32], Unusable> {
    bytes.try_into().map_err(|_| Unusable(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> BlockTemplate {
        BlockTemplate {
            previous_hash: vec![1; 32].into(),
            height: 7,
            coinbase_value_sats: 5_000_000_300,
            transactions: vec![TemplateTransaction {
                txid: vec![2; 32].into(),
                wtxid: vec![3; 32].into(),
                fee_sats: 300,
                ..TemplateTransaction::default()
            }],
            ..BlockTemplate::default()
        }
    }

    #[test]
    fn a_template_tells_the_subsidy_without_its_fees() {
        assert_eq!(
            node_template(template()).unwrap().tip.coinbase_value_sats,
            5_000_000_000
        );
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        let short = BlockTemplate {
            previous_hash: vec![1; 31].into(),
            ..template()
        };
        assert_eq!(node_template(short).unwrap_err(), Unusable("previous hash"));
        let poor = BlockTemplate {
            coinbase_value_sats: 299,
            ..template()
        };
        assert_eq!(node_template(poor).unwrap_err(), Unusable("coinbase value"));
    }

    #[test]
    fn a_trouble_is_news_once() {
        let feed = Feed::default();
        assert!(feed.fell_silent("NODE_UNAVAILABLE".into()));
        assert!(!feed.fell_silent("NODE_UNAVAILABLE".into()));
        feed.at(5);
        assert_eq!((feed.height(), feed.trouble()), (Some(5), None));
        assert!(feed.fell_silent("NODE_UNAVAILABLE".into()));
    }
}
