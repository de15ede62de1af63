//! The pool role of the Mining Protocol: connections, channels, jobs, shares.
//!
//! Knows no host: what must outlive the process goes through [`Books`].

mod acks;
mod channel;
mod channels;
mod config;
mod requests;
mod serve;
mod session;
mod share;
mod shared;
mod stats;

pub use acks::NOT_RECORDED;
pub use config::{
    ConfigError, EXTRANONCE_BYTES, MAX_MINER_BYTES, MAX_TAG_BYTES, PoolConfig, SERVER_PREFIX_BYTES,
};
pub use requests::{NO_WORK, TOO_MANY_SHARES};
pub use serve::Pool;
pub use stats::{ChannelKind, ChannelStats, ConnectionStats, HASHES_PER_DIFFICULTY, Stats};

pub(crate) use stratum_core::mining_sv2::ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID as INVALID_CHANNEL_ID;

use std::net::SocketAddr;
use std::time::Duration;

/// A share that met its channel's target.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedShare {
    /// `user_identity` of the channel.
    pub miner: String,
    pub channel_id: u32,
    pub sequence_number: u32,
    pub template_id: u64,
    pub job_id: u32,
    /// Hash of the header, internal byte order.
    pub hash: [u8; 32],
    /// Difficulty of the channel's target when it was set (1.0 = the highest target of mainnet): what the share is paid for.
    pub work: f64,
    /// Milliseconds since 1970.
    pub time_unix_ms: u64,
}

/// A share that is also a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlock {
    pub miner: String,
    pub solution: work::Solution,
}

/// Why the books could not take something: the share is then not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct BooksError(pub String);

/// Where shares, blocks and connections are written down.
#[async_trait::async_trait]
pub trait Books: Send + Sync + 'static {
    /// Durable when it resolves; only then is the share acknowledged to the miner. Many may be under way at once.
    async fn accepted(&self, share: AcceptedShare) -> Result<(), BooksError>;
    /// Counts; `code` is the error code that the miner was told.
    fn rejected(&self, miner: &str, code: &str);
    /// Writes the block down, hands it to the node and keeps the verdict. Never called twice for one header.
    async fn found(&self, block: FoundBlock) -> Result<(), BooksError>;
    /// A miner has set up its connection.
    fn connected(&self, peer: SocketAddr);
    /// `reason` is one of a closed list of words, for people and metrics.
    fn disconnected(&self, peer: SocketAddr, reason: &'static str);
    /// A channel was opened or closed for this miner.
    fn channels(&self, miner: &str, open: u32);
    /// A job was made from this template; told once per template, not per channel.
    fn job_created(&self, template_id: u64, previous_hash: [u8; 32], height: u32);
    /// The messages of a new tip were handed to one miner's connection, `took` after the module heard of it.
    fn tip_handed(&self, _took: Duration) {}
}
