//! What lies in storage, value by value.
//!
//! Protobuf (prost): a share is some 60 bytes against 200 as JSON, the log holds hundreds of thousands, and fields are
//! added without a rewrite. `version` of each value is the form it was written in; a value of a later form is refused
//! rather than misread.

use std::collections::BTreeMap;

/// Form of all values that this version writes.
pub const VERSION: u32 = 1;

/// Sums over everything ever accepted. One value, written in the same batch as the shares that it counts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Totals {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Shares accepted ever; also the number of the newest one in the log, counting from 1.
    #[prost(uint64, tag = "2")]
    pub accepted: u64,
    /// Sum of their difficulties.
    #[prost(double, tag = "3")]
    pub work: f64,
    /// Number of the oldest share that the log still has; `accepted + 1` while it is empty.
    #[prost(uint64, tag = "4")]
    pub log_first: u64,
    /// Shares of miners whose record was given up for newer ones.
    #[prost(uint64, tag = "5")]
    pub forgotten_accepted: u64,
    #[prost(double, tag = "6")]
    pub forgotten_work: f64,
    /// Number that the next new miner gets.
    #[prost(uint32, tag = "7")]
    pub next_miner: u32,
    /// Shares rejected, by the code that the miner was told.
    #[prost(btree_map = "string, uint64", tag = "8")]
    pub rejected: BTreeMap<String, u64>,
}

/// One miner, by the name that it gave its channels. The key is that name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MinerRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Stands for the name in the log.
    #[prost(uint32, tag = "2")]
    pub number: u32,
    #[prost(uint64, tag = "3")]
    pub accepted: u64,
    /// Sum of the difficulties of the accepted shares.
    #[prost(double, tag = "4")]
    pub work: f64,
    /// Difficulty that the hash of its best share has.
    #[prost(double, tag = "5")]
    pub best: f64,
    #[prost(uint64, tag = "6")]
    pub first_share_unix_ms: u64,
    #[prost(uint64, tag = "7")]
    pub last_share_unix_ms: u64,
    #[prost(btree_map = "string, uint64", tag = "8")]
    pub rejected: BTreeMap<String, u64>,
}

/// One accepted share. The key is its number, 8 bytes, big-endian.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ShareRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint32, tag = "2")]
    pub miner: u32,
    /// Difficulty that it is paid for.
    #[prost(double, tag = "3")]
    pub work: f64,
    /// Of the header, internal byte order.
    #[prost(bytes = "vec", tag = "4")]
    pub hash: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub time_unix_ms: u64,
    /// Start of the module during which it came, with `template` the name of its job.
    #[prost(uint32, tag = "6")]
    pub epoch: u32,
    #[prost(uint64, tag = "7")]
    pub template: u64,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum BlockState {
    /// Written down, not yet handed to the node.
    Found = 0,
    /// Handed to the node, no verdict yet.
    Submitted = 1,
    Accepted = 2,
    Rejected = 3,
    /// The node had it already.
    Duplicate = 4,
    /// Valid as far as the node checked, but not on its best chain.
    Inconclusive = 5,
}

impl BlockState {
    /// The word for people, JSON and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Whether the node has spoken.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Found | Self::Submitted)
    }

    /// All of them, in the order of a block's life.
    pub const ALL: [Self; 6] = [
        Self::Found,
        Self::Submitted,
        Self::Accepted,
        Self::Rejected,
        Self::Duplicate,
        Self::Inconclusive,
    ];
}

/// One block found here. The key is its height, 4 bytes, big-endian, and its hash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Internal byte order.
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub height: u32,
    /// Who found it: a miner's name, or a client of the template provider.
    #[prost(string, tag = "4")]
    pub miner: String,
    /// What the coinbase pays out, satoshis.
    #[prost(uint64, tag = "5")]
    pub value_sats: u64,
    #[prost(enumeration = "BlockState", tag = "6")]
    pub state: i32,
    /// The node's reason, or the module's.
    #[prost(string, tag = "7")]
    pub reason: String,
    #[prost(uint64, tag = "8")]
    pub found_unix_ms: u64,
    #[prost(uint64, tag = "9")]
    pub submitted_unix_ms: u64,
    #[prost(uint64, tag = "10")]
    pub verdict_unix_ms: u64,
    /// Times that it was handed to the node.
    #[prost(uint32, tag = "11")]
    pub attempts: u32,
    /// Length of the raw block, bytes.
    #[prost(uint32, tag = "12")]
    pub size: u32,
    #[prost(uint32, tag = "13")]
    pub epoch: u32,
    #[prost(uint64, tag = "14")]
    pub template: u64,
}

/// Reads a value, unless it is of a later form than this version knows or no value at all.
///
/// # Errors
/// A sentence that names `what`.
pub fn read<M: prost::Message + Default + Versioned>(
    what: &str,
    value: &[u8],
) -> Result<M, String> {
    let read =
        M::decode(value).map_err(|error| format!("{what} in storage cannot be read: {error}"))?;
    if read.version() > VERSION {
        return Err(format!(
            "{what} in storage has form {}, this version of the module knows {VERSION}: go back to the newer version",
            read.version()
        ));
    }
    Ok(read)
}

/// A value that tells its form.
pub trait Versioned {
    fn version(&self) -> u32;
}

macro_rules! versioned {
    ($($record:ty),*) => { $(impl Versioned for $record { fn version(&self) -> u32 { self.version } })* };
}
versioned!(Totals, MinerRecord, ShareRecord, BlockRecord);
