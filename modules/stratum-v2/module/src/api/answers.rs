//! The answers in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::accounts::{clean_name, display};
use crate::ledger::record::{BlockRecord, BlockState, MinerRecord};

/// A miner as the open channels show it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Present {
    channels: u64,
    hashrate: f64,
    difficulty: f64,
}

impl Api {
    /// Everything at a glance.
    pub(super) fn status(&self) -> Value {
        let config = self.parts.config.borrow().clone();
        let live = (self.parts.live)();
        let ledger = self.parts.accounts.ledger();
        let work = self.parts.work.watch().borrow().clone();
        let tip = work.map(|work| {
            json!({
                "previous_hash": display(work.new_prev_hash.prev_hash.to_array()),
                "height": work.latest.height,
                "bits": format!("{:08x}", work.new_prev_hash.n_bits),
                "template_id": work.latest.id,
                "transactions": work.latest.transactions.len(),
                "payout_sats": work.latest.message.coinbase_tx_value_remaining,
            })
        });
        let provider = live
            .provider
            .as_ref()
            .map(|stats| json!({ "port": config.template_port, "clients": stats.clients.len() }));
        json!({
            "version": self.parts.version,
            "network": self.parts.network,
            "authority_public_key": self.parts.authority_public_key,
            "pool": {
                "port": config.pool_port,
                "connections": live.pool.connections.len(),
                "channels": live.pool.connections.iter().map(|one| one.channels.len()).sum::<usize>(),
                "hashrate_hashes_per_second": hashrate(&live.pool),
                "shares_per_minute": config.shares_per_minute,
            },
            "template_provider": provider,
            "payout": config.payout_text,
            "payout_script": config.payout.to_hex_string(),
            "coinbase_tag": config.coinbase_tag,
            "additional_outputs": self.owned_outputs(),
            "work": tip,
            "waiting": live.waiting,
            "shares": self.totals(),
            "blocks": self.block_counts(),
            "ledger": { "start": ledger.epoch(), "agrees": ledger.disagreement().is_none(), "disagreement": ledger.disagreement() },
        })
    }

    /// What a module that shows or pays a pool wants to know.
    pub(super) fn statistics(&self) -> Value {
        let live = (self.parts.live)();
        json!({
            "connections": live.pool.connections.len(),
            "channels": live.pool.connections.iter().map(|one| one.channels.len()).sum::<usize>(),
            "hashrate_hashes_per_second": hashrate(&live.pool),
            "shares": self.totals(),
            "blocks": self.block_counts(),
            "window": self.window(u64::MAX),
        })
    }

    /// Miners by work, most first; those that are connected and have not had a share yet come last.
    pub(super) fn miners(&self, limit: u64) -> Value {
        let live = (self.parts.live)();
        let mut present: BTreeMap<String, Present> = BTreeMap::new();
        for channel in live
            .pool
            .connections
            .iter()
            .flat_map(|one| one.channels.values())
        {
            let miner = present.entry(clean_name(&channel.miner)).or_default();
            miner.channels += 1;
            miner.hashrate += channel.observed_hashrate;
            miner.difficulty = miner.difficulty.max(channel.difficulty);
        }
        let mut known: BTreeMap<String, MinerRecord> =
            self.parts.accounts.ledger().miners().into_iter().collect();
        for name in present.keys() {
            known.entry(name.clone()).or_default();
        }
        let mut blocks: BTreeMap<String, u64> = BTreeMap::new();
        for block in self.parts.accounts.ledger().newest_blocks(usize::MAX) {
            *blocks.entry(block.miner).or_default() += 1;
        }
        let total = known.len();
        let mut sorted: Vec<_> = known.into_iter().collect();
        sorted.sort_by(|(a_name, a), (b_name, b)| {
            b.work.total_cmp(&a.work).then_with(|| a_name.cmp(b_name))
        });
        let miners: Vec<Value> = sorted
            .into_iter()
            .take(limit as usize)
            .map(|(name, record)| {
                let now = present.get(&name).cloned().unwrap_or_default();
                json!({
                    "channels": now.channels,
                    "hashrate_hashes_per_second": now.hashrate,
                    "difficulty": now.difficulty,
                    "shares_accepted": record.accepted,
                    "work": record.work,
                    "best_difficulty": record.best,
                    "shares_rejected": record.rejected,
                    "first_share_unix_ms": time(record.first_share_unix_ms),
                    "last_share_unix_ms": time(record.last_share_unix_ms),
                    "blocks_found": blocks.get(&name).copied().unwrap_or(0),
                    "name": name,
                })
            })
            .collect();
        json!({ "total": total, "miners": miners })
    }

    /// Sums, the window and the newest shares.
    pub(super) async fn shares(&self, window: u64, limit: u64) -> Result<Value, ApiError> {
        let ledger = self.parts.accounts.ledger();
        let newest = if limit == 0 {
            Vec::new()
        } else {
            let found = ledger.newest_shares(limit).await;
            found.map_err(|fault| {
                ApiError::Failed(format!("the share log cannot be read: {fault}"))
            })?
        };
        let newest: Vec<Value> = newest
            .into_iter()
            .map(|share| {
                json!({
                    "number": share.number,
                    "miner": share.miner,
                    "work": share.record.work,
                    "hash": reversed(&share.record.hash),
                    "time_unix_ms": share.record.time_unix_ms,
                    "job": format!("{}-{}", share.record.epoch, share.record.template),
                })
            })
            .collect();
        Ok(json!({ "totals": self.totals(), "window": self.window(window), "shares": newest }))
    }

    /// Blocks, newest first.
    pub(super) fn blocks(&self, limit: u64) -> Value {
        let blocks = self.parts.accounts.ledger().newest_blocks(limit as usize);
        json!({ "counts": self.block_counts(), "blocks": blocks.iter().map(block).collect::<Vec<_>>() })
    }

    fn totals(&self) -> Value {
        let summary = self.parts.accounts.ledger().summary();
        let totals = summary.totals;
        json!({
            "accepted": totals.accepted,
            "work": totals.work,
            "rejected": totals.rejected,
            "miners": summary.miners,
            "forgotten_miners": { "accepted": totals.forgotten_accepted, "work": totals.forgotten_work },
            "log": { "first": totals.log_first, "last": totals.accepted, "shares": summary.log_shares },
        })
    }

    fn block_counts(&self) -> Value {
        let counts = self.parts.accounts.ledger().blocks_by_state();
        let of = |state: BlockState| {
            (
                state.word().to_owned(),
                json!(counts.get(&state).copied().unwrap_or(0)),
            )
        };
        Value::Object(BlockState::ALL.into_iter().map(of).collect())
    }

    fn window(&self, count: u64) -> Value {
        let (shares, parts) = self.parts.accounts.ledger().window(count);
        let work: f64 = parts.values().map(|part| part.work).sum();
        let mut sorted: Vec<_> = parts.into_iter().collect();
        sorted.sort_by(|(a_name, a), (b_name, b)| {
            b.work.total_cmp(&a.work).then_with(|| a_name.cmp(b_name))
        });
        let miners: Vec<Value> = sorted
            .into_iter()
            .map(|(name, part)| {
                let share = if work > 0.0 { part.work / work } else { 0.0 };
                json!({ "name": name, "shares": part.shares, "work": part.work, "part": share })
            })
            .collect();
        json!({ "shares": shares, "work": work, "miners": miners })
    }
}

/// Hashes per second of all channels.
pub fn hashrate(stats: &pool::Stats) -> f64 {
    stats
        .connections
        .iter()
        .flat_map(|one| one.channels.values())
        .map(|channel| channel.observed_hashrate)
        // `sum` of nothing is -0.0, which people would see
        .fold(0.0, |sum, one| sum + one)
}

fn block(block: &BlockRecord) -> Value {
    json!({
        "hash": reversed(&block.hash),
        "height": block.height,
        "miner": block.miner,
        "value_sats": block.value_sats,
        "state": block.state().word(),
        "reason": block.reason,
        "found_unix_ms": time(block.found_unix_ms),
        "submitted_unix_ms": time(block.submitted_unix_ms),
        "verdict_unix_ms": time(block.verdict_unix_ms),
        "attempts": block.attempts,
        "size_bytes": block.size,
        "job": format!("{}-{}", block.epoch, block.template),
    })
}

fn time(unix_ms: u64) -> Value {
    if unix_ms == 0 {
        Value::Null
    } else {
        json!(unix_ms)
    }
}

fn reversed(hash: &[u8]) -> String {
    hash.iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
