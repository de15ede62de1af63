//! Blocks: written down before the node hears of them, kept with what the node said.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use super::Ledger;
use super::open::MAX_BLOCKS;
use super::record::{BlockRecord, BlockState, VERSION};
use super::state::{BLOCKS, BlockKey, PENDING, RAW, put};
use crate::ports::{Fault, Range, Step};

/// Part of a raw block in one value, bytes: five at most for 4,000,000, below the host's usual 1 MiB per value.
const PART: usize = 1_000_000;
/// Parts that a block can have, so that the part's number fits into one byte whatever the operator set as value limit.
const MAX_PARTS: usize = 255;
/// Tries to write a block down before it goes out all the same, and the longest pause between two.
const RECORD_TRIES: u32 = 3;
const RECORD_PAUSE: Duration = Duration::from_millis(50);
/// First and longest pause between two tries to write down what the node said.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A block as it was found.
#[derive(Debug, Clone)]
pub struct FoundHere {
    pub block: work::SolvedBlock,
    pub miner: String,
    pub template_id: u64,
    pub time_unix_ms: u64,
}

/// What came of writing a block down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is new and durable.
    New(BlockKey),
    /// It is new; the storage refused it, so a restart would forget it.
    Unsaved(BlockKey, Fault),
    /// It was found before.
    Known,
}

impl Ledger {
    /// Writes a block down, with its bytes, before anybody hands it to the node. A block that was found before is told,
    /// so that nobody hands it in twice.
    pub async fn record_block(&self, found: FoundHere) -> Recorded {
        let block = &found.block;
        let key = block_key(block.height, block.hash);
        let record = BlockRecord {
            version: VERSION,
            hash: block.hash.to_vec(),
            height: block.height,
            miner: found.miner,
            value_sats: block.coinbase_value_sats,
            state: BlockState::Found as i32,
            found_unix_ms: found.time_unix_ms,
            size: u32::try_from(block.raw.len()).unwrap_or(u32::MAX),
            epoch: self.epoch,
            template: found.template_id,
            ..BlockRecord::default()
        };
        let mut steps = vec![put(BLOCKS, key.to_vec(), &record)];
        {
            let mut state = self.locked();
            if state.blocks.contains_key(&key) {
                return Recorded::Known;
            }
            // from here on a second one is known, even while this one is being written
            state.blocks.insert(key, record);
            while state.blocks.len() > MAX_BLOCKS {
                let oldest = state
                    .blocks
                    .iter()
                    .find(|(_, block)| block.state().is_final())
                    .map(|(key, _)| *key);
                let Some(oldest) = oldest else { break };
                state.blocks.remove(&oldest);
                steps.push(Step::Delete {
                    tree: BLOCKS,
                    key: oldest.to_vec(),
                });
            }
        }
        steps.push(Step::Put {
            tree: PENDING,
            key: key.to_vec(),
            value: Vec::new(),
        });
        let part = PART.min(self.options.max_value_bytes).max(1);
        for (number, bytes) in block.raw.chunks(part).take(MAX_PARTS).enumerate() {
            let key = [key.as_slice(), &[number as u8]].concat();
            steps.push(Step::Put {
                tree: RAW,
                key,
                value: bytes.to_vec(),
            });
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store.write(steps.clone()).await {
                Ok(()) => return Recorded::New(key),
                // no longer: the block is to go out
                Err(fault) if fault.retry && tries < RECORD_TRIES => {
                    sleep(fault.retry_after.unwrap_or(RECORD_PAUSE).min(RECORD_PAUSE)).await;
                }
                Err(fault) => return Recorded::Unsaved(key, fault),
            }
        }
    }

    /// Notes that a block is being handed to the node. Not waited for by anybody who has a block to hand in.
    pub async fn block_submitted(&self, key: BlockKey, time_unix_ms: u64) {
        let step = self.change_block(key, |block| {
            block.attempts = block.attempts.saturating_add(1);
            if block.state() == BlockState::Found {
                block.set_state(BlockState::Submitted);
                block.submitted_unix_ms = time_unix_ms;
            }
        });
        // a note only: the verdict is written with all of it
        if let Some(step) = step {
            let _ = self.store.write(vec![step]).await;
        }
    }

    /// Writes the verdict down and lets the block's bytes go. Tries until the storage takes it: a block without verdict
    /// would be looked up again after a restart, and found on the node.
    pub async fn block_decided(
        &self,
        key: BlockKey,
        state: BlockState,
        reason: &str,
        time_unix_ms: u64,
    ) {
        let step = self.change_block(key, |block| {
            block.set_state(state);
            block.reason = reason.to_owned();
            block.verdict_unix_ms = time_unix_ms;
        });
        let Some(step) = step else { return };
        let steps = vec![
            step,
            Step::Delete {
                tree: PENDING,
                key: key.to_vec(),
            },
            Step::DeleteRange {
                tree: RAW,
                start: key.to_vec(),
                end: [key.as_slice(), &[u8::MAX]].concat(),
            },
        ];
        let mut pause = FIRST_PAUSE;
        while let Err(fault) = self.store.write(steps.clone()).await {
            if fault.reason == "SESSION_CLOSED" || fault.reason == "HOST_STOPPING" {
                return;
            }
            sleep(fault.retry_after.unwrap_or(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Blocks on which the node has not spoken, oldest first: after a restart they are looked up and, if need be, handed
    /// in.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn undecided_blocks(&self) -> Result<Vec<(BlockKey, BlockRecord)>, Fault> {
        let range = Range {
            tree: PENDING,
            start: Vec::new(),
            end: Vec::new(),
            reverse: false,
            limit: MAX_BLOCKS as u64,
        };
        let keys = self.store.scan(range).await?;
        let state = self.locked();
        let known = keys.iter().filter_map(|(key, _)| {
            let key = BlockKey::try_from(key.as_slice()).ok()?;
            Some((key, state.blocks.get(&key)?.clone()))
        });
        Ok(known.collect())
    }

    /// One block.
    pub fn block(&self, key: BlockKey) -> Option<BlockRecord> {
        self.locked().blocks.get(&key).cloned()
    }

    /// The bytes of a block on which the node has not spoken; nothing when they are not whole.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn raw_block(&self, key: BlockKey) -> Result<Option<Bytes>, Fault> {
        let Some(block) = self.block(key) else {
            return Ok(None);
        };
        let range = Range {
            tree: RAW,
            start: key.to_vec(),
            end: [key.as_slice(), &[u8::MAX]].concat(),
            reverse: false,
            limit: MAX_PARTS as u64,
        };
        let mut raw = BytesMut::new();
        for (_, part) in self.store.scan(range).await? {
            raw.extend_from_slice(&part);
        }
        Ok((raw.len() == block.size as usize).then(|| raw.freeze()))
    }

    fn change_block(&self, key: BlockKey, change: impl FnOnce(&mut BlockRecord)) -> Option<Step> {
        let mut state = self.locked();
        let block = state.blocks.get_mut(&key)?;
        change(block);
        Some(put(BLOCKS, key.to_vec(), block))
    }
}

/// Key of a block: by height, then hash.
pub fn block_key(height: u32, hash: [u8; 32]) -> BlockKey {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&height.to_be_bytes());
    key[4..].copy_from_slice(&hash);
    key
}
