//! Solutions of clients on real sockets.

mod support;

use std::time::Instant;

use provider::ProviderConfig;
use support::node::{Random, check, coinbase, solution, template, tip, transactions};
use support::{Client, Server, server};
use work::{NodeTemplate, NodeTip, Solution, SolveError, Template};

async fn with_work() -> (Server, std::sync::Arc<Template>) {
    let server = server(ProviderConfig::default()).await;
    let node = NodeTemplate {
        transactions: transactions(&mut Random::new(), 20),
        ..template(tip(1, 100))
    };
    server.book.on_template(node, Instant::now()).unwrap();
    let template = server.book.watch().borrow().clone().unwrap().latest.clone();
    (server, template)
}

/// With a nonce that meets the target.
fn mined(server: &Server, mut solution: Solution) -> Solution {
    while server.book.solve(&solution) == Err(SolveError::HighHash) {
        solution.header_nonce += 1;
    }
    solution
}

#[tokio::test]
async fn a_block_is_handed_over_once_whoever_finds_it_how_often() {
    let (server, template) = with_work().await;
    let mut client = Client::ready(server.address).await;
    let mut other = Client::ready(server.address).await;
    let block = mined(&server, solution(&template, &coinbase(&template, 1)));
    client.submit(&block).await;
    server
        .kept
        .until(|kept| kept.found.lock().unwrap().len() == 1)
        .await;
    client.submit(&block).await;
    other.submit(&block).await;
    server
        .kept
        .until(|kept| kept.rejected.lock().unwrap().len() == 2)
        .await;
    assert_eq!(
        *server.kept.rejected.lock().unwrap(),
        ["duplicate", "duplicate"]
    );
    let next = mined(&server, solution(&template, &coinbase(&template, 2)));
    other.submit(&next).await;
    server
        .kept
        .until(|kept| kept.found.lock().unwrap().len() == 2)
        .await;
    let found = server.kept.found.lock().unwrap().clone();
    assert_eq!(found[0].solution, block);
    check(&found[0].block, &template);
    check(&found[1].block, &template);
    assert_ne!(found[0].client, found[1].client);
}

#[tokio::test]
async fn what_is_no_block_is_counted_and_the_client_stays() {
    let (server, template) = with_work().await;
    let mut client = Client::ready(server.address).await;
    let good = mined(&server, solution(&template, &coinbase(&template, 1)));
    client
        .submit(&Solution {
            template_id: 77,
            ..good.clone()
        })
        .await;
    client
        .submit(&Solution {
            version: good.version ^ 1,
            ..good.clone()
        })
        .await;
    client
        .submit(&Solution {
            header_timestamp: 1,
            ..good.clone()
        })
        .await;
    client
        .submit(&Solution {
            coinbase_tx: vec![1, 2, 3],
            ..good.clone()
        })
        .await;
    let mut thief = coinbase(&template, 1);
    thief.output.pop();
    client.submit(&solution(&template, &thief)).await;
    server
        .kept
        .until(|kept| kept.rejected.lock().unwrap().len() == 5)
        .await;
    assert_eq!(
        *server.kept.rejected.lock().unwrap(),
        [
            "unknown-template",
            "bad-version",
            "bad-time",
            "bad-coinbase",
            "bad-coinbase"
        ]
    );
    let hard = NodeTip {
        bits: 0x1d00_ffff,
        ..tip(2, 101)
    };
    server.book.on_tip(hard, Instant::now()).unwrap();
    let latest = server.book.watch().borrow().clone().unwrap().latest.clone();
    client
        .submit(&solution(&latest, &coinbase(&latest, 1)))
        .await;
    // the tip before is still a solution's right; the one before that is not
    client.submit(&good).await;
    server
        .kept
        .until(|kept| kept.found.lock().unwrap().len() == 1)
        .await;
    server.book.on_tip(tip(3, 102), Instant::now()).unwrap();
    client.submit(&good).await;
    server
        .kept
        .until(|kept| kept.rejected.lock().unwrap().len() == 7)
        .await;
    assert_eq!(
        server.kept.rejected.lock().unwrap()[5..],
        ["high-hash", "stale-template"]
    );
    let stats = server.provider.stats();
    assert_eq!((stats.clients[0].blocks, stats.clients[0].rejected), (1, 7));
}

#[tokio::test]
async fn a_solution_that_nobody_could_write_down_may_come_again() {
    let (server, template) = with_work().await;
    let mut client = Client::ready(server.address).await;
    let block = mined(&server, solution(&template, &coinbase(&template, 1)));
    *server.kept.refusing.lock().unwrap() = true;
    client.submit(&block).await;
    server
        .kept
        .until(|kept| *kept.rejected.lock().unwrap() == ["not-taken"])
        .await;
    *server.kept.refusing.lock().unwrap() = false;
    client.submit(&block).await;
    server
        .kept
        .until(|kept| kept.found.lock().unwrap().len() == 1)
        .await;
}

#[tokio::test]
async fn a_block_counts_though_its_client_has_just_reconnected_or_leaves_at_once() {
    let (server, template) = with_work().await;
    let block = mined(&server, solution(&template, &coinbase(&template, 1)));
    let mut client = Client::open(server.address).await;
    client.set_up().await;
    client.submit(&block).await;
    drop(client);
    server
        .kept
        .until(|kept| kept.found.lock().unwrap().len() == 1)
        .await;
    server.shutdown.cancel();
    server.served.await.unwrap();
}
