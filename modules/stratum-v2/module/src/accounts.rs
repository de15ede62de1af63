//! The pool's books, kept: shares into the ledger, blocks to the node with all that can go wrong on the way, and what
//! other modules hear of it.

mod books;
mod submit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use work::{SolvedBlock, WorkBook};

use crate::announce::Announcer;
use crate::ledger::{FoundHere, Ledger, Recorded};
use crate::metrics::Metrics;
use crate::ports::{Log, Node};

/// Blocks that are being handed to the node at a time, 4 MB each at most.
const SUBMITTING: usize = 4;
/// Bytes of a miner's name that are kept.
const MAX_NAME_BYTES: usize = 128;

pub use books::{PoolBooks, ProviderSolutions};

/// What [`Accounts`] works with.
pub struct Parts {
    pub ledger: Ledger,
    pub work: Arc<WorkBook>,
    pub node: Arc<dyn Node>,
    pub announcer: Announcer,
    pub metrics: Arc<Metrics>,
    pub log: Arc<dyn Log>,
}

/// The books. Shared by reference.
pub struct Accounts {
    parts: Parts,
    submitting: Semaphore,
    tasks: TaskTracker,
    /// Open channels by miner; as many entries as the pool lets there be channels.
    channels: Mutex<HashMap<String, u32>>,
}

impl Accounts {
    /// Empty-handed: [`Accounts::resume`] takes up what an earlier start left.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            submitting: Semaphore::new(SUBMITTING),
            tasks: TaskTracker::new(),
            channels: Mutex::default(),
        })
    }

    /// Resolves when all shares handed in are decided; blocks without a verdict wait in storage for the next start.
    pub async fn close(&self) {
        self.parts.ledger.flush().await;
    }

    /// Open channels of each miner that has any.
    pub fn open_channels(&self) -> HashMap<String, u32> {
        self.channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The ledger behind the books.
    pub fn ledger(&self) -> &Ledger {
        &self.parts.ledger
    }

    /// Puts the block of a solution together and takes it.
    async fn take_solution(
        self: &Arc<Self>,
        miner: &str,
        solution: &work::Solution,
    ) -> Result<(), String> {
        let block = self.parts.work.solve(solution).map_err(|error| {
            let template = solution.template_id;
            let line = format!("a solution for template {template} is no block: {error}");
            self.parts.log.warn(&line);
            error.to_string()
        })?;
        self.take_block(miner, solution.template_id, block).await;
        Ok(())
    }

    /// Writes a block down, unless it was found before, and sees to it that the node gets it.
    async fn take_block(self: &Arc<Self>, miner: &str, template_id: u64, block: SolvedBlock) {
        let miner = clean_name(miner);
        let shown = display(block.hash);
        let found = FoundHere {
            block: block.clone(),
            miner: miner.clone(),
            template_id,
            time_unix_ms: unix_ms(),
        };
        let (key, saved) = match self.parts.ledger.record_block(found).await {
            Recorded::Known => return,
            Recorded::New(key) => (key, true),
            Recorded::Unsaved(key, fault) => {
                // a block is worth more than its entry in the books
                let line = format!(
                    "block {shown} could not be written down ({fault}); it is handed in all the same"
                );
                self.parts.log.error(&line);
                (key, false)
            }
        };
        let line = format!("{miner} found block {shown} at height {}", block.height);
        self.parts.log.info(&line);
        let accounts = self.clone();
        let raw = block.raw;
        self.tasks
            .spawn(async move { accounts.submit(key, Some(raw), saved, false).await });
    }

    fn job_id(&self, template_id: u64) -> String {
        format!("{}-{template_id}", self.parts.ledger.epoch())
    }
}

/// A miner's name as it is kept: what it calls itself, without control characters and bounded, never empty.
pub fn clean_name(name: &str) -> String {
    let mut clean = String::new();
    for letter in name.trim().chars() {
        let letter = if letter.is_control() { '?' } else { letter };
        if clean.len() + letter.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        clean.push(letter);
    }
    if clean.is_empty() {
        "anonymous".to_owned()
    } else {
        clean
    }
}

/// A hash as people know it: reversed, in hex.
pub fn display(hash: [u8; 32]) -> String {
    hash.iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Milliseconds since 1970; zero on a clock before it.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
