//! Blocks from a solution to the verdict, over an in-memory storage and node.

use std::time::Instant;

use stratum_core::bitcoin::consensus::{deserialize, serialize};
use stratum_core::bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
};
use work::{NodeTip, Solution, WorkOptions};

use pool::{Books, FoundBlock};

use super::*;
use crate::ledger::LedgerOptions;
use crate::ledger::record::BlockState;
use crate::memory::{Failure, MemoryEvents, MemoryLog, MemoryNode, MemoryStore, fault};
use crate::ports::{Announcement, Verdict};

struct Place {
    store: Arc<MemoryStore>,
    node: Arc<MemoryNode>,
    events: Arc<MemoryEvents>,
    work: Arc<WorkBook>,
    accounts: Arc<Accounts>,
}

async fn place(store: Arc<MemoryStore>, node: Arc<MemoryNode>) -> Place {
    let metrics = Arc::new(Metrics::default());
    let options = LedgerOptions {
        log_length: 1_000,
        max_value_bytes: 1_048_576,
    };
    let ledger = Ledger::open(store.clone(), options, metrics.clone())
        .await
        .unwrap();
    let events = Arc::new(MemoryEvents::default());
    let work = Arc::new(WorkBook::new(WorkOptions::default()));
    let tip = NodeTip {
        previous_hash: [3; 32],
        bits: 0x207f_ffff,
        height: 77,
        min_time_unix_s: 1_700_000_000,
        coinbase_value_sats: 5_000_000_000,
    };
    work.on_tip(tip, Instant::now()).unwrap();
    let accounts = Accounts::new(Parts {
        ledger,
        work: work.clone(),
        node: node.clone(),
        announcer: Announcer::new(events.clone(), metrics.clone(), 100),
        metrics,
        log: Arc::new(MemoryLog::default()),
    });
    Place {
        store,
        node,
        events,
        work,
        accounts,
    }
}

async fn fresh() -> Place {
    place(
        Arc::new(MemoryStore::default()),
        Arc::new(MemoryNode::default()),
    )
    .await
}

/// A solution of the present work; every second nonce is one (regtest).
fn solution(work: &WorkBook, extranonce: u8) -> Solution {
    let now = work.watch().borrow().clone().unwrap();
    let message = &now.first.message;
    let mut script = message.coinbase_prefix.as_bytes().to_vec();
    script.extend([1, extranonce]);
    let mut output = vec![TxOut {
        value: Amount::from_sat(message.coinbase_tx_value_remaining),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
    }];
    let mut counted = vec![message.coinbase_tx_outputs_count as u8];
    counted.extend_from_slice(message.coinbase_tx_outputs.as_bytes());
    output.extend(deserialize::<Vec<TxOut>>(&counted).unwrap());
    let coinbase = Transaction {
        version: stratum_core::bitcoin::transaction::Version(message.coinbase_tx_version as i32),
        lock_time: stratum_core::bitcoin::absolute::LockTime::from_consensus(
            message.coinbase_tx_locktime,
        ),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script),
            sequence: Sequence(message.coinbase_tx_input_sequence),
            witness: Witness::new(),
        }],
        output,
    };
    let found = (0..).map(|header_nonce| Solution {
        template_id: now.first.id,
        version: message.version,
        header_timestamp: 1_700_000_000,
        header_nonce,
        coinbase_tx: serialize(&coinbase),
    });
    found
        .into_iter()
        .find(|solution| work.solve(solution).is_ok())
        .unwrap()
}

async fn settled() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn states(place: &Place) -> Vec<(BlockState, String)> {
    let blocks = place.accounts.ledger().newest_blocks(10);
    blocks
        .into_iter()
        .map(|block| (block.state(), block.reason))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_block_is_written_down_handed_in_once_and_told() {
    let place = fresh().await;
    let solution = solution(&place.work, 1);
    let books = PoolBooks(place.accounts.clone());
    books
        .found(FoundBlock {
            miner: " rig\n1 ".into(),
            solution: solution.clone(),
        })
        .await
        .unwrap();
    // found by the pool and by a client of the template provider: one header, one block
    place
        .accounts
        .take_solution("client", &solution)
        .await
        .unwrap();
    settled().await;
    assert_eq!(states(&place), [(BlockState::Accepted, String::new())]);
    assert_eq!(place.node.submitted.lock().unwrap().len(), 1);
    assert_eq!(place.accounts.ledger().newest_blocks(1)[0].miner, "rig?1");
    let told = place.events.taken.lock().unwrap();
    assert!(
        matches!(&told[..], [Announcement::BlockMined { height: 77, miner, .. }] if miner == "rig?1")
    );
    assert!(place.store.trees.lock().unwrap()["raw"].is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_node_says_is_kept() {
    let place = fresh().await;
    for (number, verdict) in [
        Verdict::Rejected("bad-cb".into()),
        Verdict::Duplicate,
        Verdict::Inconclusive,
    ]
    .into_iter()
    .enumerate()
    {
        place.node.answers.lock().unwrap().push_back(Ok(verdict));
        place
            .accounts
            .take_solution("a", &solution(&place.work, number as u8))
            .await
            .unwrap();
        settled().await;
    }
    let mut found = states(&place);
    found.sort();
    let expected = [
        (BlockState::Rejected, "bad-cb".to_owned()),
        (BlockState::Duplicate, String::new()),
        (BlockState::Inconclusive, String::new()),
    ];
    assert_eq!(found, expected);
    assert!(place.events.taken.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_go_out_again_while_the_node_is_away() {
    let place = fresh().await;
    for answer in [
        Err(fault("NODE_UNAVAILABLE", true)),
        Err(fault("DEADLINE_EXCEEDED", true)),
        Ok(Verdict::Duplicate),
    ] {
        place.node.answers.lock().unwrap().push_back(answer);
    }
    let solution = solution(&place.work, 1);
    let hash = place.work.solve(&solution).unwrap().hash;
    place.node.blocks.lock().unwrap().insert(hash);
    place.accounts.take_solution("a", &solution).await.unwrap();
    settled().await;
    let submitted = place.node.submitted.lock().unwrap();
    assert_eq!(submitted.len(), 3);
    assert!(submitted.iter().all(|raw| *raw == submitted[0]));
    assert_eq!(states(&place)[0].0, BlockState::Accepted);
    assert_eq!(place.accounts.ledger().newest_blocks(1)[0].attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_block_is_looked_up_and_handed_in_only_if_the_node_has_it_not() {
    let before = fresh().await;
    for _ in 0..2 {
        before
            .node
            .answers
            .lock()
            .unwrap()
            .push_back(Err(fault("SESSION_CLOSED", false)));
    }
    let (known, unknown) = (solution(&before.work, 1), solution(&before.work, 2));
    let hash = before.work.solve(&known).unwrap().hash;
    before.accounts.take_solution("a", &known).await.unwrap();
    before.accounts.take_solution("a", &unknown).await.unwrap();
    settled().await;
    assert!(
        states(&before)
            .iter()
            .all(|(state, _)| *state == BlockState::Submitted)
    );

    before.node.blocks.lock().unwrap().insert(hash);
    before.node.submitted.lock().unwrap().clear();
    let after = place(before.store.clone(), before.node.clone()).await;
    assert_eq!(after.accounts.resume().await.unwrap(), 2);
    settled().await;
    assert_eq!(after.node.submitted.lock().unwrap().len(), 1);
    assert!(
        states(&after)
            .iter()
            .all(|(state, _)| *state == BlockState::Accepted)
    );
    assert_eq!(after.events.taken.lock().unwrap().len(), 2);
    assert_eq!(after.accounts.resume().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_storage_refuses_is_handed_in_all_the_same_and_tried_again() {
    let place = fresh().await;
    place
        .store
        .failures
        .lock()
        .unwrap()
        .push_back(Failure::Full);
    place
        .node
        .answers
        .lock()
        .unwrap()
        .push_back(Err(fault("NODE_BUSY", true)));
    place
        .accounts
        .take_solution("a", &solution(&place.work, 1))
        .await
        .unwrap();
    settled().await;
    assert_eq!(place.node.submitted.lock().unwrap().len(), 2);
    assert_eq!(states(&place)[0].0, BlockState::Accepted);
}

#[tokio::test]
async fn what_is_no_block_is_refused() {
    let place = fresh().await;
    let mut solution = solution(&place.work, 1);
    solution.template_id += 1_000;
    assert!(place.accounts.take_solution("a", &solution).await.is_err());
    assert!(states(&place).is_empty());
}

#[test]
fn names_are_clean_and_bounded() {
    assert_eq!(clean_name("\u{7}\n "), "?");
    assert_eq!(clean_name("   "), "anonymous");
    let long = "é".repeat(500);
    assert_eq!(clean_name(&long), "é".repeat(64));
}
