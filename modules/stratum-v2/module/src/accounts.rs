//! The pool's books, kept: shares into the ledger, blocks to the node with all that can go wrong on the way, and what
//! other modules hear of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pool::{AcceptedShare, Books, BooksError, FoundBlock};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use work::{SolvedBlock, WorkBook};

use crate::announce::Announcer;
use crate::ledger::record::BlockState;
use crate::ledger::{BlockKey, FoundHere, Ledger, Recorded};
use crate::metrics::Metrics;
use crate::ports::{Announcement, Fault, Log, Node, Verdict};

/// Blocks that are being handed to the node at a time, 4 MB each at most.
const SUBMITTING: usize = 4;
/// First and longest pause between two tries to hand a block in: a block is worth more the sooner the node has it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Reasons by which the host says that these bytes will never be taken.
const FINAL: [&str; 4] = [
    "INVALID_REQUEST",
    "OUT_OF_RANGE",
    "FIELD_REQUIRED",
    "MESSAGE_TOO_LARGE",
];
/// Reasons after which this process gets no answer any more; the next start goes on.
const OVER: [&str; 4] = [
    "SESSION_CLOSED",
    "HOST_STOPPING",
    "HANDSHAKE_REQUIRED",
    "CANCELLED",
];
/// Bytes of a miner's name that are kept.
const MAX_NAME_BYTES: usize = 128;

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

    /// Takes up the blocks on which the node had not spoken when the process before this one ended: each is looked up,
    /// and handed in only if the node does not know it. Returns at once; the work goes on in the background.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, Fault> {
        let left = self.parts.ledger.undecided_blocks().await?;
        let count = left.len();
        for (key, _) in left {
            let accounts = self.clone();
            self.tasks
                .spawn(async move { accounts.look_up_then_submit(key).await });
        }
        Ok(count)
    }

    /// Takes a solution of a client of the template provider the way of the pool's own blocks. `client` names it in the
    /// ledger.
    ///
    /// # Errors
    /// The solution is no block of a template that this module made.
    pub async fn solution(
        self: &Arc<Self>,
        client: &str,
        solution: work::Solution,
    ) -> Result<(), BooksError> {
        self.take_block(client, solution).await
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

    async fn take_block(
        self: &Arc<Self>,
        miner: &str,
        solution: work::Solution,
    ) -> Result<(), BooksError> {
        let miner = clean_name(miner);
        let block = self.parts.work.solve(&solution).map_err(|error| {
            let line = format!(
                "a solution of {miner} for template {} is no block: {error}",
                solution.template_id
            );
            self.parts.log.warn(&line);
            BooksError(error.to_string())
        })?;
        let shown = display(block.hash);
        let found = FoundHere {
            block: block.clone(),
            miner: miner.clone(),
            template_id: solution.template_id,
            time_unix_ms: unix_ms(),
        };
        let (key, saved) = match self.parts.ledger.record_block(found).await {
            Recorded::Known => return Ok(()),
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
        self.parts.log.info(&format!(
            "{miner} found block {shown} at height {}",
            block.height
        ));
        let accounts = self.clone();
        let SolvedBlock { raw, .. } = block;
        self.tasks
            .spawn(async move { accounts.submit(key, Some(raw), saved).await });
        Ok(())
    }

    async fn look_up_then_submit(self: Arc<Self>, key: BlockKey) {
        let hash: [u8; 32] = hash_of(key);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.parts.node.has_block(hash).await {
                Ok(true) => {
                    let reason = "the node has it; its answer was lost";
                    return self.decide(key, BlockState::Accepted, reason).await;
                }
                Ok(false) => break,
                Err(fault) if OVER.contains(&fault.reason.as_str()) => return,
                Err(fault) => rest(&fault, &mut pause).await,
            }
        }
        self.submit(key, None, true).await;
    }

    /// Hands a block in until the node has spoken. The same bytes may arrive twice when an answer was lost; the node then
    /// calls the second one a duplicate.
    async fn submit(self: Arc<Self>, key: BlockKey, mut raw: Option<Bytes>, saved: bool) {
        let mut pause = FIRST_PAUSE;
        let mut unanswered = false;
        loop {
            let fault = {
                let Ok(_permit) = self.submitting.acquire().await else {
                    return;
                };
                // between two tries the bytes lie in storage alone: a long outage must not cost memory
                let kept = if saved { raw.take() } else { raw.clone() };
                let bytes = match kept {
                    Some(bytes) => bytes,
                    None => match self.parts.ledger.raw_block(key).await {
                        Ok(Some(bytes)) => bytes,
                        Ok(None) => {
                            let reason = "its bytes are not in storage any more";
                            return self.decide(key, BlockState::Rejected, reason).await;
                        }
                        Err(fault) if OVER.contains(&fault.reason.as_str()) => return,
                        Err(fault) => {
                            rest(&fault, &mut pause).await;
                            continue;
                        }
                    },
                };
                self.parts.metrics.submission();
                let noted = self.parts.ledger.block_submitted(key, unix_ms());
                let (verdict, ()) = tokio::join!(self.parts.node.submit(bytes), noted);
                match verdict {
                    Ok(Verdict::Accepted) => {
                        return self.decide(key, BlockState::Accepted, "").await;
                    }
                    // the first time it was taken, and only the answer got lost
                    Ok(Verdict::Duplicate) if unanswered => {
                        return self
                            .decide(
                                key,
                                BlockState::Accepted,
                                "the node had it from a try before",
                            )
                            .await;
                    }
                    Ok(Verdict::Duplicate) => {
                        return self.decide(key, BlockState::Duplicate, "").await;
                    }
                    Ok(Verdict::Inconclusive) => {
                        return self.decide(key, BlockState::Inconclusive, "").await;
                    }
                    Ok(Verdict::Rejected(reason)) => {
                        return self.decide(key, BlockState::Rejected, &reason).await;
                    }
                    Err(fault) if OVER.contains(&fault.reason.as_str()) => return,
                    Err(fault) if FINAL.contains(&fault.reason.as_str()) => {
                        return self
                            .decide(key, BlockState::Rejected, &fault.to_string())
                            .await;
                    }
                    Err(fault) => fault,
                }
            };
            unanswered = true;
            let line = format!(
                "block {} is not at the node yet, trying again: {fault}",
                display(hash_of(key))
            );
            self.parts.log.warn(&line);
            rest(&fault, &mut pause).await;
        }
    }

    async fn decide(&self, key: BlockKey, state: BlockState, reason: &str) {
        let Some(block) = self.parts.ledger.block(key) else {
            return;
        };
        let hash = hash_of(key);
        let told = if reason.is_empty() {
            String::new()
        } else {
            format!(" ({reason})")
        };
        let line = format!(
            "block {} at height {}: {}{told}",
            display(hash),
            block.height,
            state.word()
        );
        if state == BlockState::Accepted {
            self.parts.log.info(&line);
            let event = Announcement::BlockMined {
                hash,
                height: block.height,
                miner: block.miner,
            };
            self.parts.announcer.announce(event);
        } else {
            self.parts.log.warn(&line);
        }
        self.parts
            .ledger
            .block_decided(key, state, reason, unix_ms())
            .await;
    }

    fn job_id(&self, template_id: u64) -> String {
        format!("{}-{template_id}", self.parts.ledger.epoch())
    }
}

/// The form in which the pool holds the books.
pub struct PoolBooks(pub Arc<Accounts>);

#[async_trait::async_trait]
impl Books for PoolBooks {
    async fn accepted(&self, mut share: AcceptedShare) -> Result<(), BooksError> {
        share.miner = clean_name(&share.miner);
        let event = Announcement::ShareSubmitted {
            job_id: self.0.job_id(share.template_id),
            hash: share.hash,
            miner: share.miner.clone(),
        };
        self.0
            .parts
            .ledger
            .accept(share)
            .await
            .map_err(|error| BooksError(error.to_string()))?;
        self.0.parts.announcer.announce(event);
        Ok(())
    }

    fn rejected(&self, miner: &str, code: &str) {
        self.0.parts.metrics.rejected(code);
        self.0.parts.ledger.reject(&clean_name(miner), code);
    }

    async fn found(&self, block: FoundBlock) -> Result<(), BooksError> {
        self.0.take_block(&block.miner, block.solution).await
    }

    fn connected(&self, peer: SocketAddr) {
        self.0.parts.metrics.connected();
        self.0
            .parts
            .announcer
            .announce(Announcement::StratumClientConnected {
                endpoint: peer.to_string(),
            });
    }

    fn disconnected(&self, peer: SocketAddr, reason: &'static str) {
        self.0.parts.metrics.disconnected(reason);
        let event = Announcement::StratumClientDisconnected {
            endpoint: peer.to_string(),
            reason,
        };
        self.0.parts.announcer.announce(event);
    }

    fn channels(&self, miner: &str, open: u32) {
        let mut channels = self
            .0
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if open == 0 {
            channels.remove(&clean_name(miner));
        } else {
            channels.insert(clean_name(miner), open);
        }
    }

    fn job_created(&self, template_id: u64, previous_hash: [u8; 32], height: u32) {
        let job_id = self.0.job_id(template_id);
        self.0
            .parts
            .announcer
            .announce(Announcement::MiningJobCreated {
                job_id,
                previous_hash,
                height,
            });
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

fn hash_of(key: BlockKey) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(&key[4..]);
    hash
}

async fn rest(fault: &Fault, pause: &mut Duration) {
    sleep(fault.retry_after.unwrap_or(*pause).min(LONGEST_PAUSE)).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

#[cfg(test)]
mod tests;
