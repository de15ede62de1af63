//! The ledger in memory, and how a batch of shares changes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use pool::AcceptedShare;
use prost::Message;

use super::record::{BlockRecord, MinerRecord, ShareRecord, Totals, VERSION};
use super::window::{Slot, Window};
use crate::ports::Step;

/// Miners with a record. A new one takes the place of the one that has been silent longest; its sums go into
/// `Totals::forgotten_*`. 10,000 records are some 2 MB.
pub const MAX_MINERS: usize = 10_000;
/// Different rejection codes kept apart; further ones are counted as `other`. The protocol has about ten.
pub const MAX_CODES: usize = 24;
/// Shares beyond its length that the log gathers before it is cut: one range per some commits instead of one per commit.
const LOG_SLACK: u64 = 256;
/// Most shares cut off the log in one batch, after its length was lowered; storage allows 100,000 keys per batch.
const MAX_CUT: u64 = 50_000;

pub const META: &str = "meta";
pub const MINERS: &str = "miners";
pub const SHARES: &str = "shares";
pub const BLOCKS: &str = "blocks";
pub const PENDING: &str = "pending";
pub const RAW: &str = "raw";
pub const TOTALS_KEY: &[u8] = b"totals";
pub const EPOCH_KEY: &[u8] = b"epoch";

/// Height and hash: the key of a block.
pub type BlockKey = [u8; 36];

/// Rejections not yet written.
#[derive(Debug, Default, Clone)]
pub struct Rejections {
    pub all: BTreeMap<String, u64>,
    pub by_miner: HashMap<String, BTreeMap<String, u64>>,
}

/// What is known to be durable, and the rejections that wait for the next commit.
#[derive(Debug, Default)]
pub struct State {
    pub totals: Totals,
    pub miners: HashMap<String, MinerRecord>,
    pub names: HashMap<u32, String>,
    pub window: Window,
    pub rejections: Rejections,
    pub blocks: BTreeMap<BlockKey, BlockRecord>,
    /// Miners whose record in storage may differ from memory, because a commit failed without telling whether it was
    /// done. They are written anew with the next commit.
    pub doubtful: HashSet<String>,
    /// The log in storage may hold shares past the newest one, from such a commit.
    pub log_in_doubt: bool,
}

/// A batch ready to be written, and what memory becomes when it is.
#[derive(Debug)]
pub struct Prepared {
    pub steps: Vec<Step>,
    totals: Totals,
    miners: HashMap<String, MinerRecord>,
    forgotten: Vec<String>,
    slots: Vec<Slot>,
    cut: u64,
    rejections: Rejections,
}

impl State {
    /// Counts a rejection, to be written with the next commit. A miner without a record is counted in the sums only:
    /// a name costs nothing, a share does.
    pub fn reject(&mut self, miner: &str, code: &str) {
        count(&mut self.rejections.all, code);
        if self.miners.contains_key(miner) {
            count(
                self.rejections
                    .by_miner
                    .entry(miner.to_owned())
                    .or_default(),
                code,
            );
        }
    }

    /// Whether rejections wait to be written.
    pub fn has_rejections(&self) -> bool {
        !self.rejections.all.is_empty()
    }

    /// Makes the batch for these shares and takes the waiting rejections into it. Nothing else changes until
    /// [`State::done`] or [`State::failed`] is called with it.
    pub fn prepare(&mut self, shares: &[AcceptedShare], epoch: u32, log_length: u64) -> Prepared {
        let rejections = std::mem::take(&mut self.rejections);
        let mut totals = self.totals.clone();
        totals.version = VERSION;
        let mut miners: HashMap<String, MinerRecord> = HashMap::new();
        let mut forgotten: Vec<String> = Vec::new();
        let mut steps = Vec::with_capacity(shares.len() + 8);
        if self.log_in_doubt {
            steps.push(Step::DeleteRange {
                tree: SHARES,
                start: share_key(totals.accepted + 1),
                end: Vec::new(),
            });
        }
        let mut slots = Vec::with_capacity(shares.len());
        for share in shares {
            let work = if share.work.is_finite() {
                share.work.max(0.0)
            } else {
                0.0
            };
            let record = self.miner_for(&share.miner, &mut miners, &mut forgotten, &mut totals);
            record.accepted += 1;
            record.work += work;
            record.best = record.best.max(difficulty_of(share.hash));
            if record.first_share_unix_ms == 0 {
                record.first_share_unix_ms = share.time_unix_ms;
            }
            record.last_share_unix_ms = record.last_share_unix_ms.max(share.time_unix_ms);
            let miner = record.number;
            totals.accepted += 1;
            totals.work += work;
            slots.push(Slot { miner, work });
            let logged = ShareRecord {
                version: VERSION,
                miner,
                work,
                hash: share.hash.to_vec(),
                time_unix_ms: share.time_unix_ms,
                epoch,
                template: share.template_id,
            };
            steps.push(put(SHARES, share_key(totals.accepted), &logged));
        }
        for (code, times) in &rejections.all {
            add(&mut totals.rejected, code, *times);
        }
        for (name, codes) in &rejections.by_miner {
            if forgotten.contains(name) {
                continue;
            }
            let Some(known) = miners.get(name).or_else(|| self.miners.get(name)) else {
                continue;
            };
            let mut record = known.clone();
            for (code, times) in codes {
                add(&mut record.rejected, code, *times);
            }
            miners.insert(name.clone(), record);
        }
        let length = (totals.accepted + 1).saturating_sub(totals.log_first);
        let cut = if length > log_length + LOG_SLACK {
            (length - log_length).min(MAX_CUT)
        } else {
            0
        };
        if cut > 0 {
            let end = totals.log_first + cut;
            steps.push(Step::DeleteRange {
                tree: SHARES,
                start: Vec::new(),
                end: share_key(end),
            });
            totals.log_first = end;
        }
        for name in &forgotten {
            steps.push(Step::Delete {
                tree: MINERS,
                key: name.clone().into_bytes(),
            });
        }
        for name in &self.doubtful {
            if miners.contains_key(name) || forgotten.contains(name) {
                continue;
            }
            steps.push(match self.miners.get(name) {
                Some(record) => put(MINERS, name.clone().into_bytes(), record),
                None => Step::Delete {
                    tree: MINERS,
                    key: name.clone().into_bytes(),
                },
            });
        }
        for (name, record) in &miners {
            steps.push(put(MINERS, name.clone().into_bytes(), record));
        }
        steps.push(put(META, TOTALS_KEY.to_vec(), &totals));
        Prepared {
            steps,
            totals,
            miners,
            forgotten,
            slots,
            cut,
            rejections,
        }
    }

    /// The batch is durable.
    pub fn done(&mut self, batch: Prepared) {
        for name in &batch.forgotten {
            if let Some(record) = self.miners.remove(name) {
                self.names.remove(&record.number);
            }
        }
        for (name, record) in batch.miners {
            self.names.insert(record.number, name.clone());
            self.miners.insert(name, record);
        }
        for slot in batch.slots {
            self.window.push(slot);
        }
        self.window.drop_oldest(batch.cut);
        self.totals = batch.totals;
        self.doubtful.clear();
        self.log_in_doubt = false;
    }

    /// The batch failed, and may have been written all the same: the next one sets straight what it touched.
    pub fn failed(&mut self, batch: Prepared) {
        self.doubtful.extend(batch.miners.into_keys());
        self.doubtful.extend(batch.forgotten);
        self.log_in_doubt = true;
        // what may have been cut off the log counts as cut off
        let cut = batch.cut.min(self.window.len());
        self.window.drop_oldest(cut);
        self.totals.log_first += cut;
        for (code, times) in batch.rejections.all {
            add(&mut self.rejections.all, &code, times);
        }
        for (name, codes) in batch.rejections.by_miner {
            let waiting = self.rejections.by_miner.entry(name).or_default();
            for (code, times) in codes {
                add(waiting, &code, times);
            }
        }
    }

    fn miner_for<'a>(
        &self,
        name: &str,
        miners: &'a mut HashMap<String, MinerRecord>,
        forgotten: &mut Vec<String>,
        totals: &mut Totals,
    ) -> &'a mut MinerRecord {
        miners.entry(name.to_owned()).or_insert_with_key(|name| {
            let known = self.miners.get(name).filter(|_| !forgotten.contains(name));
            known.cloned().unwrap_or_else(|| {
                totals.next_miner += 1;
                MinerRecord {
                    version: VERSION,
                    number: totals.next_miner,
                    ..MinerRecord::default()
                }
            })
        });
        // one that was silent longest makes room; never one of this very batch
        let held = self.miners.len() - forgotten.len()
            + miners
                .keys()
                .filter(|n| !self.miners.contains_key(*n))
                .count();
        if held > MAX_MINERS {
            let silent = self
                .miners
                .iter()
                .filter(|(other, _)| !miners.contains_key(*other) && !forgotten.contains(*other))
                .min_by_key(|(_, record)| record.last_share_unix_ms);
            if let Some((other, record)) = silent {
                totals.forgotten_accepted += record.accepted;
                totals.forgotten_work += record.work;
                forgotten.push(other.clone());
            }
        }
        miners.entry(name.to_owned()).or_default()
    }
}

/// Key of a share in the log.
pub fn share_key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Difficulty of a hash, 1.0 being the highest target of mainnet.
pub fn difficulty_of(hash: [u8; 32]) -> f64 {
    let found = stratum_core::bitcoin::Target::from_le_bytes(hash).difficulty_float();
    if found.is_finite() { found } else { 0.0 }
}

/// A step that writes a record.
pub fn put(tree: &'static str, key: Vec<u8>, record: &impl Message) -> Step {
    Step::Put {
        tree,
        key,
        value: record.encode_to_vec(),
    }
}

fn count(codes: &mut BTreeMap<String, u64>, code: &str) {
    add(codes, code, 1);
}

fn add(codes: &mut BTreeMap<String, u64>, code: &str, times: u64) {
    let code = if codes.contains_key(code) || codes.len() < MAX_CODES {
        code
    } else {
        "other"
    };
    *codes.entry(code.to_owned()).or_default() += times;
}
