//! Clients that do not keep to the protocol, and those that do not read.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use provider::ProviderConfig;
use stratum_core::common_messages_sv2::Protocol;
use stratum_core::parsers_sv2::CommonMessagesOwned;
use support::node::{Random, template, tip};
use support::{Arrived, Client, connect, send, server, server_within, setup};
use work::{NodeTemplate, NodeTransaction};

#[tokio::test]
async fn other_protocols_are_refused_by_name() {
    let server = server(ProviderConfig::default()).await;
    for protocol in [Protocol::MiningProtocol, Protocol::JobDeclarationProtocol] {
        let mut client = Client::open(server.address).await;
        client.send_raw(0x00, &setup(protocol)).await;
        let Arrived::Common(CommonMessagesOwned::SetupConnectionError(error)) = client.next().await
        else {
            panic!("no error")
        };
        assert_eq!(error.error_code.as_utf8_or_hex(), "unsupported-protocol");
        assert!(client.next_or_end().await.is_none());
    }
}

#[tokio::test]
async fn frames_that_are_wrong_or_out_of_order_end_only_their_own_connection() {
    let server = server(ProviderConfig::default()).await;
    server.book.on_tip(tip(1, 100), Instant::now()).unwrap();
    let mut honest = Client::ready(server.address).await;
    honest.template().await;
    honest.prev_hash().await;
    let cases: [(&str, u8, Vec<u8>); 9] = [
        (
            "a request before constraints",
            0x73,
            1_u64.to_le_bytes().to_vec(),
        ),
        ("a template from a client", 0x71, Vec::new()),
        ("a previous hash from a client", 0x72, vec![0; 80]),
        (
            "a second setup",
            0x00,
            setup(Protocol::TemplateDistributionProtocol),
        ),
        ("a message of miners", 0x1a, vec![0; 24]),
        ("a message of declarators", 0x50, vec![0; 5]),
        ("a type that does not exist", 0xee, vec![0; 4]),
        ("half a request", 0x73, vec![1, 2, 3]),
        (
            "a solution whose coinbase is longer than its frame",
            0x76,
            [vec![0; 20], vec![0xff, 0xff, 1]].concat(),
        ),
    ];
    let count = cases.len();
    for (what, message_type, payload) in cases {
        let mut client = Client::open(server.address).await;
        client.set_up().await;
        client.send_raw(message_type, &payload).await;
        assert!(client.next_or_end().await.is_none(), "{what}");
    }
    server
        .kept
        .until(|kept| kept.disconnected.lock().unwrap().len() == count)
        .await;
    let reasons = server.kept.disconnected.lock().unwrap().clone();
    for reason in reasons {
        assert!(
            ["unexpected-message", "malformed-frame", "unknown-message"].contains(&reason),
            "{reason}"
        );
    }
    honest.quiet().await;
}

#[tokio::test]
async fn random_frames_change_nothing_for_others() {
    let mut random = Random::new();
    let server = server(ProviderConfig::default()).await;
    server.book.on_tip(tip(1, 100), Instant::now()).unwrap();
    let mut honest = Client::ready(server.address).await;
    honest.template().await;
    honest.prev_hash().await;
    for _ in 0..25 {
        let mut client = Client::open(server.address).await;
        client.set_up().await;
        for _ in 0..5 {
            let length = random.below(200) as usize;
            let message_type =
                [random.below(256) as u8, 0x70, 0x73, 0x76][random.below(4) as usize];
            let payload = random.bytes(length);
            client.send_raw(message_type, &payload).await;
        }
    }
    server.book.on_tip(tip(2, 101), Instant::now()).unwrap();
    assert!(honest.template().await.future_template);
    assert_eq!(honest.prev_hash().await.prev_hash.as_bytes(), [2; 32]);
    assert!(server.kept.found.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_never_says_its_constraints_gives_its_place_back() {
    let config = ProviderConfig {
        constraints_timeout: Duration::from_millis(100),
        ..ProviderConfig::default()
    };
    let server = server(config).await;
    let mut client = Client::open(server.address).await;
    client.set_up().await;
    assert!(client.next_or_end().await.is_none());
    server
        .kept
        .until(|kept| *kept.disconnected.lock().unwrap() == ["setup-timeout"])
        .await;
    assert!(server.provider.stats().clients.is_empty());
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_and_delays_nobody() {
    let config = ProviderConfig::default();
    let limits = wire::Limits {
        write_timeout: Duration::from_millis(500),
        ..config.limits()
    };
    let server = server_within(config, limits).await;
    // a block full of large transactions: each answer is 3.6 MB
    let transactions = (0..36_u8)
        .map(|number| NodeTransaction {
            raw: Bytes::from(vec![number; 100_000]),
            txid: [number; 32],
            wtxid: [number; 32],
            weight: 100_000,
            sigops: 0,
            fee_sats: 1,
            depends: Vec::new(),
        })
        .collect();
    let node = NodeTemplate {
        transactions,
        ..template(tip(1, 100))
    };
    server.book.on_template(node, Instant::now()).unwrap();
    let id = server.book.watch().borrow().clone().unwrap().latest.id;
    let mut honest = Client::ready(server.address).await;
    honest.template().await;
    honest.prev_hash().await;

    let (_unread, mut writer) = connect(server.address).await;
    send(
        &mut writer,
        0x00,
        &setup(Protocol::TemplateDistributionProtocol),
    )
    .await;
    send(&mut writer, 0x70, &[0; 6]).await;
    for _ in 0..40 {
        send(&mut writer, 0x73, &id.to_le_bytes()).await;
    }
    server
        .kept
        .until(|kept| *kept.disconnected.lock().unwrap() == ["slow-reader"])
        .await;
    let answered = server
        .provider
        .stats()
        .clients
        .iter()
        .map(|client| client.transactions_sent)
        .max();
    assert_eq!(
        answered,
        Some(0),
        "only the honest client is left, and it asked for nothing"
    );
    server.book.on_tip(tip(2, 101), Instant::now()).unwrap();
    assert!(honest.template().await.future_template);
    assert_eq!(server.counters.open(), 1);
}
