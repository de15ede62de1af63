//! What all connections of a pool share.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stratum_core::bitcoin::ScriptBuf;
use stratum_core::channels_sv2::extranonce_manager::{
    AllocatedExtranoncePrefix, ExtranonceAllocator, ExtranonceAllocatorError,
};
use stratum_core::mining_sv2::{
    ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
    ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE,
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use work::{Template, Work};

use crate::stats::{Registry, lock};
use crate::{Books, FoundBlock, PoolConfig};

/// Headers of found blocks that are remembered, so that none is handed over twice: more than there are blocks in any time
/// that a share stays valid.
const FOUND_HEADERS: usize = 1_024;

pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) books: Arc<dyn Books>,
    pub(crate) work: watch::Receiver<Option<Arc<Work>>>,
    pub(crate) payout: watch::Receiver<ScriptBuf>,
    pub(crate) registry: Registry,
    /// Shares and blocks that are being written down, and the connections they came by.
    pub(crate) tasks: TaskTracker,
    extranonces: Mutex<ExtranonceAllocator>,
    channels: AtomicUsize,
    /// Open channels by miner; no larger than `channels`.
    miners: Mutex<HashMap<String, u32>>,
    last_job_template: AtomicU64,
    jobs_created: AtomicU64,
    blocks_found: AtomicU64,
    found: Mutex<VecDeque<[u8; 32]>>,
    connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        config: PoolConfig,
        books: Arc<dyn Books>,
        work: watch::Receiver<Option<Arc<Work>>>,
        payout: watch::Receiver<ScriptBuf>,
        extranonces: ExtranonceAllocator,
    ) -> Self {
        Self {
            config,
            books,
            work,
            payout,
            registry: Registry::default(),
            tasks: TaskTracker::new(),
            extranonces: Mutex::new(extranonces),
            channels: AtomicUsize::new(0),
            miners: Mutex::default(),
            last_job_template: AtomicU64::new(0),
            jobs_created: AtomicU64::new(0),
            blocks_found: AtomicU64::new(0),
            found: Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    /// A number that no connection has had.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn jobs_created(&self) -> u64 {
        self.jobs_created.load(Ordering::Relaxed)
    }

    pub(crate) fn blocks_found(&self) -> u64 {
        self.blocks_found.load(Ordering::Relaxed)
    }

    /// A prefix for a standard channel, or the error code why not.
    pub(crate) fn standard_prefix(&self) -> Result<AllocatedExtranoncePrefix, &'static str> {
        lock(&self.extranonces)
            .allocate_standard()
            .map_err(|_| ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED)
    }

    /// A prefix for an extended channel that must be able to roll so many bytes, or the error code why not.
    pub(crate) fn extended_prefix(
        &self,
        rollable: usize,
    ) -> Result<AllocatedExtranoncePrefix, &'static str> {
        lock(&self.extranonces)
            .allocate_extended(rollable)
            .map_err(|error| match error {
                ExtranonceAllocatorError::InvalidRollableSize => {
                    ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE
                }
                _ => ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
            })
    }

    /// Tells the books of a template that jobs are made from, once.
    pub(crate) fn tell_job(&self, template: &Template, work: &Work) {
        if self
            .last_job_template
            .fetch_max(template.id, Ordering::Relaxed)
            < template.id
        {
            self.jobs_created.fetch_add(1, Ordering::Relaxed);
            self.books.job_created(
                template.id,
                work.new_prev_hash.prev_hash.to_array(),
                template.height,
            );
        }
    }

    /// Hands a block over in a task of its own, at once and once.
    pub(crate) fn hand_over(self: &Arc<Self>, hash: [u8; 32], block: FoundBlock) {
        {
            let mut found = lock(&self.found);
            if found.contains(&hash) {
                return;
            }
            if found.len() >= FOUND_HEADERS {
                found.pop_front();
            }
            found.push_back(hash);
        }
        self.blocks_found.fetch_add(1, Ordering::Relaxed);
        let books = self.books.clone();
        // a verdict against it is the books' to keep: the share stands for itself
        self.tasks.spawn(async move { books.found(block).await });
    }
}

/// The place of one channel among all; given back when dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    /// Whose it is, once the books were told.
    miner: Option<String>,
}

impl Seat {
    /// `None` when there are as many channels as there may be.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.config.channels;
        let taken = |open: usize| (open < most).then_some(open + 1);
        shared
            .channels
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .ok()?;
        Some(Self {
            shared: shared.clone(),
            miner: None,
        })
    }

    /// Tells the books that this miner has one more channel.
    pub(crate) fn announce(&mut self, miner: &str) {
        let mut miners = lock(&self.shared.miners);
        let open = miners.entry(miner.to_string()).or_default();
        *open += 1;
        // told under the lock, so that the last word is the true one
        self.shared.books.channels(miner, *open);
        self.miner = Some(miner.to_string());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.channels.fetch_sub(1, Ordering::Relaxed);
        let Some(miner) = self.miner.take() else {
            return;
        };
        let mut miners = lock(&self.shared.miners);
        let left = miners.get(&miner).map_or(0, |open| open.saturating_sub(1));
        if left == 0 {
            miners.remove(&miner);
        } else {
            miners.insert(miner.clone(), left);
        }
        self.shared.books.channels(&miner, left);
    }
}
