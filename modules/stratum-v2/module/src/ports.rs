//! What the module needs of the host, as small traits: `main.rs` gives the real ones, tests give in-memory twins.
//!
//! None of them may block a thread, and none may panic on what the other side answers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A failed call of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Fault {
    /// Reason of the contract's closed list, for example `DISK_FULL`; for failures without one the gRPC code's name.
    pub reason: String,
    /// For people.
    pub message: String,
    /// How long the host asks to wait before the same call is made again.
    pub retry_after: Option<Duration>,
    /// True when the same call may succeed later. It may also have been done already: only the answer got lost.
    pub retry: bool,
}

/// One step of an atomic batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Put {
        tree: &'static str,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        tree: &'static str,
        key: Vec<u8>,
    },
    /// Removes the keys from `start` (included) to `end` (not included; empty means to the last one).
    DeleteRange {
        tree: &'static str,
        start: Vec<u8>,
        end: Vec<u8>,
    },
}

/// A range of one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub tree: &'static str,
    /// Lowest key, included; empty means from the first.
    pub start: Vec<u8>,
    /// Key at which to stop, not included; empty means to the last.
    pub end: Vec<u8>,
    /// Descending order; the bounds keep their meaning.
    pub reverse: bool,
    /// Most entries; the caller always names a bound.
    pub limit: u64,
}

/// One key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The module's storage. What a call has acknowledged is on the disk.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates a tree unless it is there.
    async fn open_tree(&self, name: &'static str) -> Result<(), Fault>;
    /// Reads one value.
    async fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;
    /// Reads a range, all of it in memory: the caller's `limit` bounds it.
    async fn scan(&self, range: Range) -> Result<Vec<Entry>, Fault>;
    /// Does all steps or none, in this order.
    async fn write(&self, steps: Vec<Step>) -> Result<(), Fault>;
}

/// What the node said of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// With the node's reason.
    Rejected(String),
    Duplicate,
    Inconclusive,
}

/// Where the node has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Unknown,
    /// On a branch that is not the best one.
    Aside,
    /// In the best chain.
    Chain,
}

/// The node, for what was found.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    /// `MiningService.SubmitBlock`. The same bytes may be handed in again.
    async fn submit(&self, raw: Bytes) -> Result<Verdict, Fault>;
    /// Where the node has the block of this hash (internal byte order): `ChainService.GetBlockHeader`, with
    /// BLOCK_NOT_FOUND as [`Place::Unknown`].
    async fn place_of(&self, hash: [u8; 32]) -> Result<Place, Fault>;
}

/// What the module tells the other modules. All hashes in internal byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    BlockMined {
        hash: [u8; 32],
        height: u32,
        miner: String,
    },
    MiningJobCreated {
        job_id: String,
        previous_hash: [u8; 32],
        height: u32,
    },
    ShareSubmitted {
        job_id: String,
        hash: [u8; 32],
        miner: String,
    },
    /// Protocol version is always 2.
    StratumClientConnected { endpoint: String },
    StratumClientDisconnected {
        endpoint: String,
        reason: &'static str,
    },
}

/// The host's event stream.
pub trait Events: Send + Sync + 'static {
    /// Hands one event on without waiting; false when there is no room for it, and then it is lost.
    fn publish(&self, event: Announcement) -> bool;
}

/// How the module writes its own log: one line for people, with facts in it and never a secret.
pub trait Log: Send + Sync + 'static {
    fn info(&self, line: &str);
    fn warn(&self, line: &str);
    fn error(&self, line: &str);
}
