//! When a better template of the same tip is worth telling.

use std::sync::Arc;

use stratum_core::template_distribution_sv2::NewTemplateOwned;
use tokio::time::Instant;
use work::Template;

use crate::ProviderConfig;

/// Bytes of the witness commitment at the end of a template's outputs: value, length, script (BIP 141).
const COMMITMENT_OUTPUT_BYTES: usize = 8 + 1 + 38;

/// The template that a client has last.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub tip_number: u64,
    pub template: Arc<Template>,
    pub at: Instant,
}

/// When `template`, of the same tip as the last one sent, is to be sent; never when it is that one.
pub(crate) fn due(config: &ProviderConfig, sent: &Sent, template: &Template) -> Option<Instant> {
    let (before, after) = (&sent.template, template);
    if before.id == after.id {
        return None;
    }
    // an empty block was the best there was, and outputs that other modules want are wanted at once
    let at_once = before.transactions.is_empty() && !after.transactions.is_empty()
        || additional(&before.message) != additional(&after.message);
    let gain = value(&after.message).saturating_sub(value(&before.message));
    let pause = match gain {
        _ if at_once => return Some(sent.at),
        gain if gain >= config.fee_delta_sats => config.min_interval,
        _ => config.max_interval,
    };
    Some(sent.at + pause)
}

/// Outputs that are no witness commitment.
fn additional(message: &NewTemplateOwned) -> &[u8] {
    let outputs = message.coinbase_tx_outputs.as_bytes();
    &outputs[..outputs.len().saturating_sub(COMMITMENT_OUTPUT_BYTES)]
}

fn value(message: &NewTemplateOwned) -> u64 {
    message.coinbase_tx_value_remaining
}
