//! What there is to mine: templates of the node in the form of Stratum V2, and the way back from a solution to a block.
//!
//! Knows neither the host nor a miner. The module hands in what the node says ([`WorkBook::on_tip`], [`WorkBook::on_template`]);
//! pool and template provider follow [`WorkBook::watch`], whose newest value is all that a slow follower needs. A header that
//! meets the target becomes a block by [`WorkBook::solve`].

mod additional;
mod book;
mod coinbase;
mod merkle;
mod pace;
mod remembered;
mod select;
mod solve;
mod template;

pub use additional::{
    AdditionalError, AdditionalOutput, MAX_ADDITIONAL_BYTES, MAX_ADDITIONAL_BYTES_PER_OWNER,
    MAX_ADDITIONAL_OUTPUTS_PER_OWNER, MAX_ADDITIONAL_OWNERS, MAX_ADDITIONAL_SIGOP_COST,
};
pub use book::{View, WorkBook, WorkOptions};
pub use coinbase::CoinbaseLock;
pub use pace::{ADDITIONAL_CHANGE_INTERVAL, ADDITIONAL_CHANGES_BURST};
pub use remembered::{Lookup, MAX_TEMPLATES};
pub use select::{Constraints, ConstraintsError};
pub use solve::{ROLLABLE_VERSION_BITS, SolveError};
pub use template::TemplateError;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

/// A new tip as the node tells it, before any template: enough to mine an empty block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTip {
    /// Internal byte order.
    pub previous_hash: [u8; 32],
    /// Compact target ("nBits").
    pub bits: u32,
    /// Of the block to be made.
    pub height: u32,
    /// Earliest time of the block, Unix seconds.
    pub min_time_unix_s: u32,
    /// Subsidy alone, satoshis: fees are reckoned from the transactions, so that those left out take theirs along. From a
    /// template that tells only subsidy plus fees, [`NodeTip::subsidy`] reckons it.
    pub coinbase_value_sats: u64,
}

impl NodeTip {
    /// The subsidy in the coinbase value of a template with these transactions; none when the fees exceed the value.
    pub fn subsidy(coinbase_value_sats: u64, transactions: &[NodeTransaction]) -> Option<u64> {
        transactions
            .iter()
            .try_fold(coinbase_value_sats, |rest, transaction| {
                rest.checked_sub(transaction.fee_sats)
            })
    }
}

/// One transaction of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTransaction {
    /// With witness (BIP 144).
    pub raw: Bytes,
    /// Internal byte order.
    pub txid: [u8; 32],
    /// Internal byte order.
    pub wtxid: [u8; 32],
    /// Weight units.
    pub weight: u32,
    /// Signature operation cost.
    pub sigops: u32,
    /// Satoshis.
    pub fee_sats: u64,
    /// Positions (from 0) of those that must stand before it.
    pub depends: Vec<u32>,
}

/// A template as the node gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTemplate {
    pub tip: NodeTip,
    /// Two's complement.
    pub version: i32,
    /// The node's time, Unix seconds.
    pub current_time_unix_s: u32,
    /// scriptPubKey of the witness commitment; empty when the node gives none.
    pub witness_commitment_script: Vec<u8>,
    pub transactions: Vec<NodeTransaction>,
    /// Weight units.
    pub weight_limit: u32,
    /// Signature operation cost.
    pub sigop_limit: u32,
}

/// A template that can be mined on.
#[derive(Debug)]
pub struct Template {
    /// Strictly increasing over the life of the process; never used again.
    pub id: u64,
    pub height: u32,
    /// As Template Distribution carries it. `future_template` is false here; whoever sends it sets it.
    pub message: NewTemplateOwned,
    /// All of the block but the coinbase, in order. Templates share what they have in common.
    pub transactions: Arc<[Arc<NodeTransaction>]>,
}

/// What is to be mined now.
#[derive(Debug, Clone)]
pub struct Work {
    /// Counts tips; work of another number is stale.
    pub tip_number: u64,
    /// For the template with which this tip is activated; its `template_id` is [`Work::first`]'s.
    pub new_prev_hash: SetNewPrevHashOwned,
    /// The template with which this tip began: an empty block until the node had made one. Followers hand it to miners as
    /// future job, activated by `new_prev_hash`.
    pub first: Arc<Template>,
    /// The newest and best template of this tip; the same as `first` at its beginning.
    pub latest: Arc<Template>,
    /// When the module heard of this tip.
    pub tip_heard: Instant,
}

/// A found header and its coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    pub template_id: u64,
    pub version: u32,
    pub header_timestamp: u32,
    pub header_nonce: u32,
    /// Serialised, with or without the witness: every template commits to witnesses by a reserved value of 32 zero bytes.
    pub coinbase_tx: Vec<u8>,
}

/// An assembled block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolvedBlock {
    /// Internal byte order.
    pub hash: [u8; 32],
    pub height: u32,
    /// With witness (BIP 144).
    pub raw: Bytes,
    pub coinbase_value_sats: u64,
}
