//! What the job vectors of `channels_sv2` have in common.

use std::time::Instant;

use stratum_core::bitcoin::{Amount, ScriptBuf, Target, TxOut};
use stratum_core::channels_sv2::extranonce_manager::ExtranonceAllocator;
use stratum_core::channels_sv2::server::extended::ExtendedChannel;
use stratum_core::channels_sv2::server::standard::StandardChannel;
use stratum_core::template_distribution_sv2::NewTemplateOwned;
use work::{CoinbaseLock, NodeTemplate, NodeTip, Work, WorkBook, WorkOptions};

use super::{SUBSIDY, template, tip};

pub const PREVIOUS: [u8; 32] = [
    200, 53, 253, 129, 214, 31, 43, 84, 179, 58, 58, 76, 128, 213, 24, 53, 38, 144, 205, 88, 172,
    20, 251, 22, 217, 141, 21, 221, 21, 0, 0, 0,
];
pub const PREVIOUS_BITS: u32 = 503_543_726;
/// Witness commitment of a block without transactions, as `coinbase_tx_outputs` carries it.
pub const COMMITMENT_OUTPUT: &str = "0000000000000000266a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
pub const PAYOUT_SCRIPT: &str = "0014ebe1b7dcc293ccaa0ee743a86f89df8258c208fc";
pub const SUFFIX_FINAL: &str = concat!(
    "ffffffff0200f2052a01000000160014ebe1b7dcc293ccaa0ee743a86f89df8258c208fc",
    "0000000000000000266a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf900000000"
);
pub const NULL_INPUT: &str =
    "02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff";
pub const MAX_TARGET: [u8; 32] = [0xff; 32];

pub fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

pub fn node_template(height: u32, previous_hash: [u8; 32], bits: u32, time: u32) -> NodeTemplate {
    NodeTemplate {
        current_time_unix_s: time,
        ..template(NodeTip {
            previous_hash,
            bits,
            min_time_unix_s: time - 3600,
            ..tip(0, height)
        })
    }
}

/// A book that has heard this template.
pub fn book(lock: CoinbaseLock, template: NodeTemplate) -> WorkBook {
    let book = WorkBook::new(WorkOptions {
        coinbase_lock: lock,
        ..WorkOptions::default()
    });
    assert_eq!(book.on_template(template, Instant::now()), Ok(true));
    book
}

pub fn work(book: &WorkBook) -> Work {
    book.watch().borrow().as_deref().cloned().unwrap()
}

pub fn payout() -> Vec<TxOut> {
    vec![TxOut {
        value: Amount::from_sat(SUBSIDY),
        script_pubkey: ScriptBuf::from_bytes(unhex(PAYOUT_SCRIPT)),
    }]
}

pub fn as_future(work: &Work) -> NewTemplateOwned {
    NewTemplateOwned {
        future_template: true,
        ..work.first.message.clone()
    }
}

/// An allocator whose second prefix (its index is 1) is the vectors'; the first one is kept.
pub fn allocator(prefix: &[u8], total: u8) -> ExtranonceAllocator {
    ExtranonceAllocator::new(prefix[..prefix.len() - 1].to_vec(), total, 256).unwrap()
}

pub fn standard(hashrate: f32) -> (StandardChannel, ExtranonceAllocator) {
    let mut allocator = allocator(
        &[b"Stratum V2 SRI Pool".as_slice(), &[0; 12], &[1]].concat(),
        32,
    );
    let first = allocator.allocate_standard().unwrap();
    let prefix = allocator.allocate_standard().unwrap();
    drop(first);
    let max = Target::from_le_bytes(MAX_TARGET);
    let channel = StandardChannel::new_for_pool(
        1,
        "user_identity".into(),
        prefix,
        max,
        hashrate,
        100,
        1.0,
        String::new(),
        None,
    );
    let channel = channel.unwrap();
    assert_eq!(
        channel.get_extranonce_prefix(),
        [b"Stratum V2 SRI Pool".as_slice(), &[0; 12], &[1]].concat()
    );
    (channel, allocator)
}

pub fn extended(
    prefix: &[u8],
    rollable: u16,
    hashrate: f32,
) -> (ExtendedChannel, ExtranonceAllocator) {
    let mut allocator = allocator(prefix, (prefix.len() + usize::from(rollable)) as u8);
    let first = allocator.allocate_extended(usize::from(rollable)).unwrap();
    let allocated = allocator.allocate_extended(usize::from(rollable)).unwrap();
    drop(first);
    let max = Target::from_le_bytes(MAX_TARGET);
    let channel = ExtendedChannel::new_for_pool(
        1,
        "user_identity".into(),
        allocated,
        max,
        hashrate,
        true,
        rollable,
        100,
        1.0,
        String::new(),
        None,
    );
    let channel = channel.unwrap();
    assert_eq!(channel.get_extranonce_prefix(), prefix);
    (channel, allocator)
}

pub fn sri_pool_prefix() -> Vec<u8> {
    [b"Stratum V2 SRI Pool".as_slice(), &[0; 7], &[1]].concat()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
