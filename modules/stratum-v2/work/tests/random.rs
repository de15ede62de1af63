//! Random blocks against the rules of the `bitcoin` crate.

mod support;

use std::time::Instant;

use stratum_core::bitcoin::hashes::{Hash, sha256d};
use stratum_core::bitcoin::{Block, Wtxid, consensus::deserialize};
use support::{Random, check, coinbase, mine, solution, template, tip, transactions};
use work::{AdditionalOutput, CoinbaseLock, Constraints, NodeTemplate, WorkBook, WorkOptions};

#[test]
fn blocks_of_random_transactions_are_valid() {
    let mut random = Random::new();
    let book = WorkBook::new(WorkOptions::default());
    let old = WorkBook::new(WorkOptions {
        coinbase_lock: CoinbaseLock::None,
        ..WorkOptions::default()
    });
    let counts = [0, 1, 2, 3, 4, 5, 7, 8, 9, 251, 252, 253, 2_000];
    let others: Vec<usize> = (0..6).map(|_| random.below(300) as usize).collect();
    for (round, count) in counts.into_iter().chain(others).enumerate() {
        let transactions = transactions(&mut random, count);
        let height = [1 + round as u32, 17 + random.below(1 << 24) as u32][round % 2];
        let mut node = NodeTemplate {
            transactions,
            ..template(tip(round as u8, height))
        };
        if random.below(2) == 0 {
            node.witness_commitment_script = node_commitment(&node);
        }
        let script = [vec![0x6a], random.bytes(30)].concat();
        let outputs = (0..random.below(3))
            .map(|_| AdditionalOutput {
                script: script.clone(),
                value_sats: 0,
            })
            .collect();
        // each round another module, so that none changes its outputs too often
        let owner = format!("module {round}");
        book.set_additional(&owner, outputs).unwrap();
        let constraints = Constraints {
            output_bytes: random.below(997_000) as u32,
            sigop_cost: random.below(79_000) as u32,
        };
        for book in [&book, &old] {
            book.on_template(node.clone(), Instant::now()).unwrap();
            let work = book.watch().borrow().clone().unwrap();
            let view = book.view(constraints).unwrap().unwrap();
            assert_eq!(work.latest.transactions.len(), count);
            for template in [&work.latest, &view.template] {
                let block =
                    mine(book, solution(template, &coinbase(template, round as u64))).unwrap();
                let parsed = check(&block, template);
                for (mined, told) in parsed.txdata[1..].iter().zip(&node.transactions) {
                    assert_eq!(mined.compute_txid().to_byte_array(), told.txid);
                }
            }
        }
        book.set_additional(&owner, Vec::new()).unwrap();
    }
}

/// The commitment as a node reckons it: over the witness ids, the coinbase's being zero.
fn node_commitment(template: &NodeTemplate) -> Vec<u8> {
    let ids = template
        .transactions
        .iter()
        .map(|one| Wtxid::from_byte_array(one.wtxid).to_raw_hash());
    let root = stratum_core::bitcoin::merkle_tree::calculate_root(
        std::iter::once(Wtxid::all_zeros().to_raw_hash()).chain(ids),
    );
    let hash = sha256d::Hash::hash(&[root.unwrap().to_byte_array(), [0; 32]].concat());
    [
        &[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..],
        hash.as_byte_array(),
    ]
    .concat()
}

#[test]
fn solutions_of_random_bytes_never_become_blocks() {
    let mut random = Random::new();
    let book = WorkBook::new(WorkOptions::default());
    book.on_template(template(tip(1, 100)), Instant::now())
        .unwrap();
    let latest = book.watch().borrow().clone().unwrap().latest.clone();
    let good = solution(&latest, &coinbase(&latest, 1));
    let block = mine(&book, good.clone()).unwrap();
    assert!(deserialize::<Block>(&block.raw).is_ok());
    for _ in 0..1_000 {
        let mut bad = good.clone();
        match random.below(3) {
            0 => {
                let length = random.below(300) as usize;
                bad.coinbase_tx = random.bytes(length);
            }
            1 => bad
                .coinbase_tx
                .truncate(random.below(good.coinbase_tx.len() as u64) as usize),
            _ => {
                let at = random.below(good.coinbase_tx.len() as u64) as usize;
                bad.coinbase_tx[at] ^= 1 << random.below(8);
            }
        }
        if let Ok(block) = mine(&book, bad) {
            // flipped bits of the extranonce or the payout leave it a coinbase
            check(&block, &latest);
            assert!(block.coinbase_value_sats <= support::SUBSIDY);
        }
    }
}
