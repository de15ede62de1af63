//! Templates, tips and transactions as a client on a real socket sees them.

mod support;

use std::time::{Duration, Instant};

use provider::ProviderConfig;
use stratum_core::parsers_sv2::TemplateDistributionOwned;
use support::node::{Random, SUBSIDY, template, tip, transactions};
use support::{Arrived, Client, server};
use work::{AdditionalOutput, NodeTemplate};

/// Better templates go out at once.
fn eager() -> ProviderConfig {
    ProviderConfig {
        fee_delta_sats: 1,
        min_interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        ..ProviderConfig::default()
    }
}

#[tokio::test]
async fn a_tip_comes_as_future_template_and_what_activates_it_and_then_its_transactions() {
    let server = server(eager()).await;
    server.book.on_tip(tip(1, 100), Instant::now()).unwrap();
    let mut client = Client::ready(server.address).await;
    let first = client.template().await;
    assert!(first.future_template);
    let activated = client.prev_hash().await;
    assert_eq!(activated.template_id, first.template_id);
    assert_eq!(activated.prev_hash.as_bytes(), [1; 32]);

    // a new tip: again a future template, before its previous hash; then the template with its transactions
    server.book.on_tip(tip(2, 101), Instant::now()).unwrap();
    let empty = client.template().await;
    assert!(empty.future_template && empty.template_id > first.template_id);
    assert_eq!(empty.coinbase_tx_value_remaining, SUBSIDY);
    assert_eq!(client.prev_hash().await.template_id, empty.template_id);
    let all = transactions(&mut Random::new(), 30);
    let node = NodeTemplate {
        transactions: all,
        ..template(tip(2, 101))
    };
    server.book.on_template(node, Instant::now()).unwrap();
    let filled = client.template().await;
    assert!(!filled.future_template && filled.template_id > empty.template_id);
    assert_eq!(filled.merkle_path.len(), 5);

    // who comes later gets the best there is
    let mut late = Client::ready(server.address).await;
    let best = late.template().await;
    assert!(best.future_template);
    assert_eq!(best.template_id, filled.template_id);
    assert_eq!(late.prev_hash().await.template_id, filled.template_id);
    let stats = server.provider.stats();
    assert_eq!(
        stats
            .clients
            .iter()
            .map(|client| client.templates_sent)
            .collect::<Vec<_>>(),
        [3, 1]
    );
}

#[tokio::test]
async fn a_client_is_sent_nothing_before_its_constraints_nor_before_there_is_work() {
    let server = server(eager()).await;
    let mut client = Client::ready(server.address).await;
    client.quiet().await;
    let mut silent = Client::open(server.address).await;
    silent.set_up().await;
    server.book.on_tip(tip(1, 100), Instant::now()).unwrap();
    assert!(client.template().await.future_template);
    client.prev_hash().await;
    silent.constrain(0, 0).await;
    assert!(silent.template().await.future_template);
}

#[tokio::test]
async fn each_client_has_room_for_what_it_asked() {
    let server = server(eager()).await;
    let all = transactions(&mut Random::new(), 100);
    let weight: u32 = all.iter().map(|one| one.weight).sum();
    let node = NodeTemplate {
        transactions: all,
        weight_limit: weight + 8_000,
        ..template(tip(1, 100))
    };
    server.book.on_template(node, Instant::now()).unwrap();
    let mut modest = Client::ready(server.address).await;
    let mut greedy = Client::open(server.address).await;
    greedy.set_up().await;
    greedy.constrain(4_000, 0).await;
    let (whole, part) = (modest.template().await, greedy.template().await);
    assert!(whole.coinbase_tx_value_remaining > part.coinbase_tx_value_remaining);
    assert_eq!(greedy.prev_hash().await.template_id, part.template_id);
    modest.prev_hash().await;
    greedy.request(part.template_id).await;
    let Arrived::Template(TemplateDistributionOwned::RequestTransactionDataSuccess(data)) =
        greedy.next().await
    else {
        panic!("no transactions")
    };
    let bytes: u32 = data
        .transaction_list
        .iter()
        .map(|raw| {
            let parsed: stratum_core::bitcoin::Transaction =
                stratum_core::bitcoin::consensus::deserialize(raw.as_bytes()).unwrap();
            parsed.weight().to_wu() as u32
        })
        .sum();
    assert!(bytes + 4 * 4_000 <= weight + 8_000);
    // it may change its mind: the present tip again, now with more
    greedy.constrain(0, 0).await;
    assert_eq!(greedy.template().await.template_id, whole.template_id);
    assert_eq!(greedy.prev_hash().await.template_id, whole.template_id);
    // what no block could satisfy ends the connection
    greedy.constrain(u32::MAX, 0).await;
    assert!(greedy.next_or_end().await.is_none());
    server
        .kept
        .until(|kept| {
            kept.disconnected
                .lock()
                .unwrap()
                .contains(&"unexpected-message")
        })
        .await;
    modest.quiet().await;
}

#[tokio::test]
async fn transactions_are_given_for_templates_of_the_present_tip() {
    let server = server(eager()).await;
    let all = transactions(&mut Random::new(), 50);
    let node = NodeTemplate {
        transactions: all.clone(),
        ..template(tip(1, 100))
    };
    server.book.on_template(node, Instant::now()).unwrap();
    let mut client = Client::ready(server.address).await;
    let known = client.template().await.template_id;
    client.prev_hash().await;
    client.request(known).await;
    let Arrived::Template(TemplateDistributionOwned::RequestTransactionDataSuccess(data)) =
        client.next().await
    else {
        panic!("no transactions")
    };
    assert_eq!(data.template_id, known);
    assert!(data.excess_data.as_bytes().is_empty());
    let raws: Vec<&[u8]> = data
        .transaction_list
        .iter()
        .map(|raw| raw.as_bytes())
        .collect();
    assert_eq!(
        raws,
        all.iter().map(|one| one.raw.as_ref()).collect::<Vec<_>>()
    );

    let mut refused = async |template_id: u64| {
        client.request(template_id).await;
        loop {
            match client.next().await {
                Arrived::Template(TemplateDistributionOwned::RequestTransactionDataError(
                    error,
                )) => {
                    assert_eq!(error.template_id, template_id);
                    return error.error_code.as_utf8_or_hex();
                }
                Arrived::Template(TemplateDistributionOwned::RequestTransactionDataSuccess(_)) => {
                    panic!("given")
                }
                _ => {}
            }
        }
    };
    assert_eq!(refused(known + 1).await, "template-id-not-found");
    assert_eq!(refused(0).await, "template-id-not-found");
    server.book.on_tip(tip(2, 101), Instant::now()).unwrap();
    assert_eq!(refused(known).await, "stale-template-id");
}

#[tokio::test]
async fn better_templates_wait_for_fees_and_time_and_some_for_nothing() {
    let config = ProviderConfig {
        fee_delta_sats: 1_000_000_000,
        min_interval: Duration::ZERO,
        max_interval: Duration::from_secs(3_600),
        ..ProviderConfig::default()
    };
    let server = server(config).await;
    let mut all = transactions(&mut Random::new(), 12);
    let mut say = |count: usize, last_fee: u64| {
        all[count - 1].fee_sats = last_fee;
        let node = NodeTemplate {
            transactions: all[..count].to_vec(),
            ..template(tip(1, 100))
        };
        server.book.on_template(node, Instant::now()).unwrap();
    };
    server.book.on_tip(tip(1, 100), Instant::now()).unwrap();
    let mut client = Client::ready(server.address).await;
    assert!(client.template().await.merkle_path.is_empty());
    client.prev_hash().await;
    say(3, 500);
    assert_eq!(
        client.template().await.merkle_path.len(),
        2,
        "an empty block is never good enough"
    );
    say(4, 500);
    client.quiet().await;
    say(5, 2_000_000_000);
    assert_eq!(client.template().await.merkle_path.len(), 3, "enough fees");
    say(6, 500);
    client.quiet().await;
    let output = AdditionalOutput {
        script: vec![0x6a, 0x01, 0x01],
        value_sats: 0,
    };
    server
        .book
        .set_additional("another module", vec![output])
        .unwrap();
    assert_eq!(
        client.template().await.coinbase_tx_outputs_count,
        2,
        "another module's commitment is wanted at once"
    );
}

#[tokio::test]
async fn a_template_that_waited_goes_out_when_its_time_has_come() {
    let config = ProviderConfig {
        min_interval: Duration::from_millis(50),
        max_interval: Duration::from_millis(300),
        ..ProviderConfig::default()
    };
    let server = server(config).await;
    let all = transactions(&mut Random::new(), 9);
    let mut client = Client::ready(server.address).await;
    for count in [3, 5, 9] {
        let node = NodeTemplate {
            transactions: all[..count].to_vec(),
            ..template(tip(1, 100))
        };
        server.book.on_template(node, Instant::now()).unwrap();
    }
    let mut last = client.template().await;
    client.prev_hash().await;
    while last.merkle_path.len() < 4 {
        last = client.template().await;
        assert!(!last.future_template);
    }
}
