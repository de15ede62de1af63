//! What people and metrics may know of miners: snapshots, never state.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Hashes that a share of difficulty 1 stands for on average: 2^48 / 65535.
pub const HASHES_PER_DIFFICULTY: f64 = 4_295_032_833.000_015;

/// Minutes over which [`ChannelStats::observed_hashrate`] is reckoned: at six shares a minute it is right within a fifth.
const WINDOW_MINUTES: u64 = 10;

/// How a channel mines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    Standard,
    Extended,
}

/// One channel, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStats {
    pub channel_id: u32,
    pub kind: ChannelKind,
    /// `user_identity`.
    pub miner: String,
    /// Of the present target; 1.0 = the highest target of mainnet.
    pub difficulty: f64,
    /// Hashes per second that the target was set for.
    pub nominal_hashrate: f64,
    /// Hashes per second by the shares of the last ten minutes.
    pub observed_hashrate: f64,
    pub shares_accepted: u64,
    /// Sum of the difficulties of what was accepted.
    pub work_accepted: f64,
    /// By error code.
    pub shares_rejected: BTreeMap<&'static str, u64>,
    /// Accepted by the target and still being written down.
    pub shares_pending: u64,
    /// Difficulty of the best accepted share.
    pub best_difficulty: f64,
    pub blocks_found: u64,
    /// Milliseconds since 1970.
    pub opened_unix_ms: u64,
    /// Milliseconds since 1970; none before the first accepted share.
    pub last_share_unix_ms: Option<u64>,
    /// Work by minute since 1970, oldest first, at most [`WINDOW_MINUTES`] + 1.
    recent: VecDeque<(u64, f64)>,
}

impl ChannelStats {
    pub(crate) fn new(
        channel_id: u32,
        kind: ChannelKind,
        miner: String,
        difficulty: f64,
        nominal: f64,
    ) -> Self {
        Self {
            channel_id,
            kind,
            miner,
            difficulty,
            nominal_hashrate: nominal,
            observed_hashrate: 0.0,
            shares_accepted: 0,
            work_accepted: 0.0,
            shares_rejected: BTreeMap::new(),
            shares_pending: 0,
            best_difficulty: 0.0,
            blocks_found: 0,
            opened_unix_ms: unix_ms(),
            last_share_unix_ms: None,
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn count_share(&mut self, work: f64, difficulty: f64, now_ms: u64) {
        self.last_share_unix_ms = Some(now_ms);
        self.best_difficulty = self.best_difficulty.max(difficulty);
        let minute = now_ms / 60_000;
        match self.recent.back_mut() {
            Some((last, sum)) if *last == minute => *sum += work,
            _ => self.recent.push_back((minute, work)),
        }
        self.forget_before(minute.saturating_sub(WINDOW_MINUTES));
    }

    fn forget_before(&mut self, minute: u64) {
        while self
            .recent
            .front()
            .is_some_and(|(oldest, _)| *oldest < minute)
        {
            self.recent.pop_front();
        }
    }

    /// Fits what depends on the clock to now.
    fn at(mut self, now_ms: u64) -> Self {
        self.forget_before((now_ms / 60_000).saturating_sub(WINDOW_MINUTES));
        let begin = self
            .opened_unix_ms
            .max(now_ms.saturating_sub(WINDOW_MINUTES * 60_000));
        // a channel that was just opened has no rate yet: a lucky first share would show as a fortune
        let seconds = (now_ms.saturating_sub(begin) as f64 / 1000.0).max(10.0);
        self.observed_hashrate =
            self.recent.iter().map(|(_, work)| work).sum::<f64>() * HASHES_PER_DIFFICULTY / seconds;
        self
    }
}

/// One connection, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionStats {
    pub peer: SocketAddr,
    /// As the peer says of itself.
    pub vendor: String,
    pub hardware_version: String,
    pub firmware: String,
    pub device_id: String,
    /// It asked for standard jobs alone.
    pub standard_jobs_only: bool,
    /// Milliseconds since 1970.
    pub connected_unix_ms: u64,
    pub channels: BTreeMap<u32, ChannelStats>,
}

/// All miners, as they are now.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    pub connections: Vec<ConnectionStats>,
    /// Templates that jobs were made from so far.
    pub jobs_created: u64,
    /// Blocks handed to [`crate::Books::found`] so far.
    pub blocks_found: u64,
}

/// The connections that are open, each with a record that only its own task writes.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    open: Mutex<BTreeMap<u64, Record>>,
}

/// What one connection's task writes and snapshots read.
pub(crate) type Record = Arc<Mutex<ConnectionStats>>;

impl Registry {
    pub(crate) fn enter(&self, number: u64, stats: ConnectionStats) -> Record {
        let record = Arc::new(Mutex::new(stats));
        lock(&self.open).insert(number, record.clone());
        record
    }

    pub(crate) fn leave(&self, number: u64) {
        lock(&self.open).remove(&number);
    }

    pub(crate) fn snapshot(&self) -> Vec<ConnectionStats> {
        let records: Vec<Record> = lock(&self.open).values().cloned().collect();
        let now = unix_ms();
        records
            .iter()
            .map(|record| {
                let mut stats = lock(record).clone();
                stats.channels = stats
                    .channels
                    .into_iter()
                    .map(|(id, channel)| (id, channel.at(now)))
                    .collect();
                stats
            })
            .collect()
    }
}

/// A lock whose holders keep what it guards usable at every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970; zero on a clock before it.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reckons_the_hashrate_over_the_last_ten_minutes() {
        let mut stats = ChannelStats::new(2, ChannelKind::Extended, "m".into(), 1.0, 1.0);
        let start = 6_000_000_000;
        stats.opened_unix_ms = start;
        for minute in 0..60 {
            stats.count_share(1.0, 1.0, start + minute * 60_000);
        }
        assert!(stats.recent.len() <= WINDOW_MINUTES as usize + 1);
        let now = start + 59 * 60_000 + 59_999;
        let rate = stats.clone().at(now).observed_hashrate;
        let truth = HASHES_PER_DIFFICULTY / 60.0;
        assert!(
            (0.8..1.2).contains(&(rate / truth)),
            "{rate} beside {truth}"
        );
        assert_eq!(stats.at(now + 3_600_000).observed_hashrate, 0.0);
    }
}
