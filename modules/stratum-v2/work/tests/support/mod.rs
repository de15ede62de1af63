//! Nodes, transactions and miners for the tests of this folder.
#![allow(dead_code)] // each test program uses its own part

pub mod vectors;

use std::collections::HashMap;

use bytes::Bytes;
use stratum_core::bitcoin::absolute::LockTime;
use stratum_core::bitcoin::consensus::{deserialize, serialize};
use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::transaction::Version;
use stratum_core::bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use work::{
    NodeTemplate, NodeTip, NodeTransaction, Solution, SolveError, SolvedBlock, Template, WorkBook,
};

/// Target that every second hash meets (regtest).
pub const EASY_BITS: u32 = 0x207f_ffff;
pub const SUBSIDY: u64 = 5_000_000_000;
pub const NOW: u32 = 1_750_000_000;

/// Repeatable randomness (xorshift64*).
pub struct Random(u64);

impl Random {
    /// From `WORK_SEED`, or from the clock; printed, so that a failure can be had again.
    pub fn new() -> Self {
        let seed = std::env::var("WORK_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_nanos() as u64
                    | 1
            });
        println!("WORK_SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

pub fn tip(number: u8, height: u32) -> NodeTip {
    NodeTip {
        previous_hash: [number; 32],
        bits: EASY_BITS,
        height,
        min_time_unix_s: NOW - 3600,
        coinbase_value_sats: SUBSIDY,
    }
}

/// A template without transactions.
pub fn template(tip: NodeTip) -> NodeTemplate {
    NodeTemplate {
        tip,
        version: 0x2000_0000,
        current_time_unix_s: NOW,
        witness_commitment_script: Vec::new(),
        transactions: Vec::new(),
        weight_limit: 4_000_000,
        sigop_limit: 80_000,
    }
}

/// A transaction with or without witness; spends one of `transactions` now and then, and tells which.
pub fn transaction(random: &mut Random, transactions: &[NodeTransaction]) -> NodeTransaction {
    let parent = (!transactions.is_empty() && random.below(3) == 0)
        .then(|| random.below(transactions.len() as u64) as usize);
    let previous_output = match parent {
        Some(parent) => OutPoint::new(Txid::from_byte_array(transactions[parent].txid), 0),
        None => OutPoint::new(
            Txid::from_slice(&random.bytes(32)).unwrap(),
            random.below(4) as u32,
        ),
    };
    let mut witness = Witness::new();
    if random.below(4) != 0 {
        witness.push(random.bytes(64));
    }
    let script = 1 + random.below(60) as usize;
    let parsed = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut {
            value: Amount::from_sat(random.below(1 << 40)),
            script_pubkey: ScriptBuf::from_bytes(random.bytes(script)),
        }],
    };
    let depends = parent.into_iter().map(|parent| parent as u32).collect();
    NodeTransaction {
        depends,
        fee_sats: random.below(100_000),
        sigops: random.below(5) as u32,
        ..node(&parsed)
    }
}

pub fn transactions(random: &mut Random, count: usize) -> Vec<NodeTransaction> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let next = transaction(random, &all);
        all.push(next);
    }
    all
}

/// What a node says of a transaction.
pub fn node(parsed: &Transaction) -> NodeTransaction {
    NodeTransaction {
        raw: Bytes::from(serialize(parsed)),
        txid: parsed.compute_txid().to_byte_array(),
        wtxid: parsed.compute_wtxid().to_byte_array(),
        weight: parsed.weight().to_wu() as u32,
        sigops: 0,
        fee_sats: 0,
        depends: Vec::new(),
    }
}

/// A coinbase as a pool makes it of a template: an output of its own first, an extranonce in the script.
pub fn coinbase(template: &Template, extranonce: u64) -> Transaction {
    let message = &template.message;
    let mut script = message.coinbase_prefix.as_bytes().to_vec();
    script.push(8);
    script.extend_from_slice(&extranonce.to_le_bytes());
    let mut output = vec![TxOut {
        value: Amount::from_sat(message.coinbase_tx_value_remaining),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
    }];
    let mut counted = stratum_core::bitcoin::consensus::encode::serialize(
        &stratum_core::bitcoin::VarInt(u64::from(message.coinbase_tx_outputs_count)),
    );
    counted.extend_from_slice(message.coinbase_tx_outputs.as_bytes());
    output.extend(deserialize::<Vec<TxOut>>(&counted).unwrap());
    Transaction {
        version: Version::non_standard(message.coinbase_tx_version as i32),
        lock_time: LockTime::from_consensus(message.coinbase_tx_locktime),
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script),
            sequence: Sequence(message.coinbase_tx_input_sequence),
            witness: Witness::from_slice(&[[0_u8; 32]]),
        }],
        output,
    }
}

pub fn solution(template: &Template, coinbase: &Transaction) -> Solution {
    Solution {
        template_id: template.id,
        version: template.message.version,
        header_timestamp: NOW,
        header_nonce: 0,
        coinbase_tx: serialize(coinbase),
    }
}

/// Tries nonces until the target is met.
pub fn mine(book: &WorkBook, mut solution: Solution) -> Result<SolvedBlock, SolveError> {
    loop {
        match book.solve(&solution) {
            Err(SolveError::HighHash) => solution.header_nonce += 1,
            other => return other,
        }
    }
}

/// Parses a block and checks it with the `bitcoin` crate's own rules and a few of the node's.
pub fn check(block: &SolvedBlock, template: &Template) -> Block {
    let parsed: Block = deserialize(&block.raw).expect("a block");
    assert_eq!(parsed.block_hash().to_byte_array(), block.hash);
    assert!(parsed.check_merkle_root());
    assert!(parsed.check_witness_commitment());
    assert!(parsed.header.validate_pow(parsed.header.target()).is_ok());
    assert!(parsed.weight().to_wu() <= 4_000_000);
    assert_eq!(parsed.txdata.len(), template.transactions.len() + 1);
    assert_eq!(
        parsed.bip34_block_height().ok(),
        (block.height > 16).then_some(u64::from(block.height))
    );
    // every transaction of the block that another one spends stands before it
    let positions: HashMap<Txid, usize> = parsed
        .txdata
        .iter()
        .enumerate()
        .map(|(position, one)| (one.compute_txid(), position))
        .collect();
    for (position, one) in parsed.txdata.iter().enumerate() {
        for input in &one.input {
            assert!(
                positions
                    .get(&input.previous_output.txid)
                    .is_none_or(|parent| *parent < position)
            );
        }
    }
    parsed
}
