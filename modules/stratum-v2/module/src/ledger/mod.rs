//! Who found how much: accepted shares, rejections and blocks, kept in the module's storage.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `meta` | `totals`, `epoch` | sums over all shares ever; number of this start |
//! | `miners` | the miner's name | its sums |
//! | `shares` | number of the share, 8 bytes, big-endian | the log: the newest shares, up to a configured count |
//! | `blocks` | height, 4 bytes, big-endian, and hash | what was found and what became of it |
//! | `pending` | as `blocks` | empty: the node has not spoken on this block |
//! | `raw` | as `blocks`, and one byte | the parts of such a block, deleted with the verdict |
//!
//! Sums and log are written in one atomic batch, so whatever ends the process, they agree; [`Ledger::open`] looks.

mod blocks;
mod commit;
mod open;
pub mod record;
mod state;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool::AcceptedShare;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;
use crate::ports::{Fault, Range, Store};

pub use blocks::{FoundHere, Recorded};
pub use open::OpenError;
use record::{BlockRecord, MinerRecord, ShareRecord, Totals};
pub use state::{BlockKey, difficulty_of};
use state::{SHARES, State, share_key};
pub use window::Part;

/// Shares that wait for their commit. At the commit's pace of 256 per 10 ms this is 40 ms of the fastest flow; who comes
/// later waits in front.
const QUEUE: usize = 1_024;
/// How long a share may wait in front of the queue before its miner is told that it was not taken.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);

/// A share that could not be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error("the ledger is behind by {QUEUE} shares and takes no more")]
    Full,
    #[error("the ledger is closed")]
    Closed,
    #[error("the storage refused: {0}")]
    Storage(Fault),
}

/// How the ledger is kept.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// Shares that the log keeps, besides a slack of some hundred.
    pub log_length: u64,
    /// `Limits.max_value_bytes` of the session.
    pub max_value_bytes: usize,
}

/// What the ledger says of its sums.
#[derive(Debug, Clone)]
pub struct Summary {
    pub totals: Totals,
    /// Shares in the log.
    pub log_shares: u64,
    pub miners: u64,
}

/// One share of the log, for people and audits.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedShare {
    pub number: u64,
    pub miner: String,
    pub record: ShareRecord,
}

enum Message {
    Share(AcceptedShare, oneshot::Sender<Result<(), ShareError>>),
    Flush(oneshot::Sender<()>),
}

/// The ledger. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
    queue: mpsc::Sender<Message>,
    metrics: Arc<Metrics>,
    options: LedgerOptions,
    epoch: u32,
    check: Option<String>,
}

impl Ledger {
    /// Number of this start of the module, counting from 1; no two starts on the same storage have the same. Goes into
    /// the extranonce prefix, so that no share of an earlier start can be found again, and into names of jobs.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What did not agree when the ledger was opened; empty sums on a new storage agree. For status and health: the
    /// module goes on, since idle miners earn nobody anything.
    pub fn disagreement(&self) -> Option<&str> {
        self.check.as_deref()
    }

    /// Writes one share down.
    ///
    /// # Errors
    /// The share then does not count, unless the storage's answer was lost.
    pub async fn accept(&self, share: AcceptedShare) -> Result<(), ShareError> {
        let (done, answer) = oneshot::channel();
        let sent =
            tokio::time::timeout(QUEUE_PATIENCE, self.queue.send(Message::Share(share, done)))
                .await;
        match sent {
            Ok(Ok(())) => answer.await.unwrap_or(Err(ShareError::Closed)),
            Ok(Err(_)) => Err(ShareError::Closed),
            Err(_) => Err(ShareError::Full),
        }
    }

    /// Counts a rejected share. Written with the next commit, within ten seconds; a crash may lose it.
    pub fn reject(&self, miner: &str, code: &str) {
        self.locked().reject(miner, code);
    }

    /// Resolves when all that was handed in before is decided.
    pub async fn flush(&self) {
        let (done, answer) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// The sums.
    pub fn summary(&self) -> Summary {
        let state = self.locked();
        Summary {
            totals: state.totals.clone(),
            log_shares: state.window.len(),
            miners: state.miners.len() as u64,
        }
    }

    /// All miners with a record, at most 10,000, in no order.
    pub fn miners(&self) -> Vec<(String, MinerRecord)> {
        let state = self.locked();
        state
            .miners
            .iter()
            .map(|(name, record)| (name.clone(), record.clone()))
            .collect()
    }

    /// Each miner's part of the newest `count` shares of the log, and how many shares that were. Miners whose record was
    /// given up stand together under the empty name.
    pub fn window(&self, count: u64) -> (u64, HashMap<String, Part>) {
        let state = self.locked();
        let mut named: HashMap<String, Part> = HashMap::new();
        for (number, part) in state.window.parts(count) {
            let name = state.names.get(&number).cloned().unwrap_or_default();
            let sum = named.entry(name).or_default();
            sum.shares += part.shares;
            sum.work += part.work;
        }
        (count.min(state.window.len()), named)
    }

    /// The newest shares of the log, newest first.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn newest_shares(&self, count: u64) -> Result<Vec<LoggedShare>, Fault> {
        // the log in storage may for a moment hold a batch that memory does not have yet: its shares are not told
        let newest = self.locked().totals.accepted;
        let range = Range {
            tree: SHARES,
            start: Vec::new(),
            end: share_key(newest + 1),
            reverse: true,
            limit: count,
        };
        let entries = self.store.scan(range).await?;
        let state = self.locked();
        let read = entries.iter().filter_map(|(key, value)| {
            let number = u64::from_be_bytes(key.as_slice().try_into().ok()?);
            let record: ShareRecord = record::read("a share", value).ok()?;
            let miner = state.names.get(&record.miner).cloned().unwrap_or_default();
            Some(LoggedShare {
                number,
                miner,
                record,
            })
        });
        Ok(read.collect())
    }

    /// The newest blocks, by height, newest first.
    pub fn newest_blocks(&self, count: usize) -> Vec<BlockRecord> {
        self.locked()
            .blocks
            .values()
            .rev()
            .take(count)
            .cloned()
            .collect()
    }

    /// Blocks by their state; blocks that were forgotten do not count.
    pub fn blocks_by_state(&self) -> HashMap<record::BlockState, u64> {
        let mut counts = HashMap::new();
        for block in self.locked().blocks.values() {
            *counts.entry(block.state()).or_default() += 1;
        }
        counts
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // nothing that holds the lock panics; should it, the sums are still whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
