//! Reads the ledger from storage at the start, and looks whether its parts agree.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::record::{self, BlockRecord, MinerRecord, ShareRecord, Totals, VERSION};
use super::state::{
    BLOCKS, BlockKey, EPOCH_KEY, MAX_MINERS, META, MINERS, PENDING, RAW, SHARES, State, TOTALS_KEY,
    share_key,
};
use super::window::Slot;
use super::{Ledger, LedgerOptions, QUEUE, commit};
use crate::metrics::Metrics;
use crate::ports::{Entry, Fault, Range, Step, Store};

/// Entries read from the storage at a time: 10,000 shares are some 800 kB.
const PAGE: u64 = 10_000;
/// Blocks that the ledger keeps; 200 bytes each in memory and in storage.
pub(super) const MAX_BLOCKS: usize = 10_000;
/// Sums of difficulties are added up in another order than they were made in: how far they may differ, as a part.
const ROUNDING: f64 = 1e-6;

/// Why the ledger could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Storage(#[from] Fault),
    #[error("{0}")]
    Unreadable(String),
}

impl Ledger {
    /// Reads the ledger, counts this start, and begins to serve.
    ///
    /// # Errors
    /// Those of the storage; a value that cannot be read or is of a later form.
    pub async fn open(
        store: Arc<dyn Store>,
        options: LedgerOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Ledger, OpenError> {
        for tree in [META, MINERS, SHARES, BLOCKS, PENDING, RAW] {
            store.open_tree(tree).await?;
        }
        // the write goes first: when it is done, so is whatever a process before this one had still under way
        let epoch = next_epoch(&*store).await?;
        let (state, check) = read_state(&*store).await?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let state = Arc::new(Mutex::new(state));
        let ledger = Ledger {
            store,
            state,
            queue,
            metrics,
            options,
            epoch,
            check,
        };
        tokio::spawn(commit::run(ledger.clone(), waiting));
        Ok(ledger)
    }
}

async fn next_epoch(store: &dyn Store) -> Result<u32, OpenError> {
    let before = match store.get(META, EPOCH_KEY).await? {
        None => 0,
        Some(value) => u32::from_be_bytes(
            value
                .as_slice()
                .try_into()
                .map_err(|_| OpenError::Unreadable("the count of starts is no number".into()))?,
        ),
    };
    let epoch = before.wrapping_add(1).max(1);
    let step = Step::Put {
        tree: META,
        key: EPOCH_KEY.to_vec(),
        value: epoch.to_be_bytes().to_vec(),
    };
    store.write(vec![step]).await?;
    Ok(epoch)
}

async fn read_state(store: &dyn Store) -> Result<(State, Option<String>), OpenError> {
    let totals = match store.get(META, TOTALS_KEY).await? {
        Some(value) => record::read::<Totals>("the sums", &value).map_err(OpenError::Unreadable)?,
        None => Totals {
            version: VERSION,
            log_first: 1,
            ..Totals::default()
        },
    };
    let mut state = State {
        totals,
        ..State::default()
    };
    let mut counted = (state.totals.forgotten_accepted, state.totals.forgotten_work);
    for (key, value) in read_tree(store, MINERS, MAX_MINERS as u64 * 2).await? {
        let record: MinerRecord = record::read("a miner", &value).map_err(OpenError::Unreadable)?;
        let name = String::from_utf8_lossy(&key).into_owned();
        counted.0 += record.accepted;
        counted.1 += record.work;
        state.totals.next_miner = state.totals.next_miner.max(record.number);
        state.names.insert(record.number, name.clone());
        state.miners.insert(name, record);
    }
    let log = read_log(store, &mut state).await?;
    for (key, value) in read_tree(store, BLOCKS, MAX_BLOCKS as u64 * 2).await? {
        let record: BlockRecord = record::read("a block", &value).map_err(OpenError::Unreadable)?;
        if let Ok(key) = BlockKey::try_from(key.as_slice()) {
            state.blocks.insert(key, record);
        }
    }
    let totals = &state.totals;
    let check = if counted.0 != totals.accepted {
        Some(format!(
            "the miners' shares add up to {}, the sum is {}",
            counted.0, totals.accepted
        ))
    } else if (counted.1 - totals.work).abs() > ROUNDING * totals.work.abs().max(1.0) {
        Some(format!(
            "the miners' work adds up to {}, the sum is {}",
            counted.1, totals.work
        ))
    } else {
        log
    };
    Ok((state, check))
}

/// The log must go from the oldest share that the sums name to the newest, without a hole.
async fn read_log(store: &dyn Store, state: &mut State) -> Result<Option<String>, OpenError> {
    let mut next = 0;
    let mut hole = None;
    loop {
        let range = Range {
            tree: SHARES,
            start: if next == 0 {
                Vec::new()
            } else {
                share_key(next)
            },
            end: Vec::new(),
            reverse: false,
            limit: PAGE,
        };
        let page = store.scan(range).await?;
        for (key, value) in &page {
            let record: ShareRecord =
                record::read("a share", value).map_err(OpenError::Unreadable)?;
            let number = <[u8; 8]>::try_from(key.as_slice())
                .map(u64::from_be_bytes)
                .unwrap_or_default();
            let expected = if next == 0 {
                state.totals.log_first
            } else {
                next
            };
            if number != expected && hole.is_none() {
                hole = Some(format!(
                    "the log goes on with share {number}, expected was {expected}"
                ));
            }
            next = number + 1;
            state.window.push(Slot {
                miner: record.miner,
                work: record.work,
            });
        }
        if (page.len() as u64) < PAGE {
            break;
        }
    }
    let end = state.totals.accepted + 1;
    let begun = if next == 0 {
        state.totals.log_first
    } else {
        next
    };
    if hole.is_none() && begun != end {
        hole = Some(format!(
            "the log ends before share {begun}, the sums before share {end}"
        ));
    }
    Ok(hole)
}

async fn read_tree(store: &dyn Store, tree: &'static str, most: u64) -> Result<Vec<Entry>, Fault> {
    let mut found: Vec<Entry> = Vec::new();
    let mut start = Vec::new();
    loop {
        let range = Range {
            tree,
            start,
            end: Vec::new(),
            reverse: false,
            limit: PAGE,
        };
        let page = store.scan(range).await?;
        let more = page.len() as u64 == PAGE && (found.len() as u64) < most;
        start = page
            .last()
            .map(|(key, _)| [key.as_slice(), &[0]].concat())
            .unwrap_or_default();
        found.extend(page);
        if !more {
            return Ok(found);
        }
    }
}
