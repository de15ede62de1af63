//! Events for other modules, within what the host lets a module publish per second. Blocks and connections go before
//! shares: whoever counts shares asks the ledger, events only show that something happens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::metrics::Metrics;
use crate::ports::{Announcement, Events};

/// Part of the budget that shares may use; the rest is there for all else.
const SHARE_PART: f64 = 0.5;

/// Publishes within a budget; what is over it is left out and counted.
pub struct Announcer {
    events: Arc<dyn Events>,
    metrics: Arc<Metrics>,
    all: Mutex<Bucket>,
    shares: Mutex<Bucket>,
}

struct Bucket {
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Announcer {
    /// `per_second` is `Limits.published_events_per_second` of the session.
    pub fn new(events: Arc<dyn Events>, metrics: Arc<Metrics>, per_second: u32) -> Self {
        let bucket = |per_second| {
            Mutex::new(Bucket {
                per_second,
                level: per_second,
                filled: Instant::now(),
            })
        };
        let per_second = f64::from(per_second);
        Self {
            events,
            metrics,
            all: bucket(per_second),
            shares: bucket(per_second * SHARE_PART),
        }
    }

    /// Hands an event to the host unless the budget is spent. Never waits.
    pub fn announce(&self, event: Announcement) {
        let kind = kind(&event);
        let room = match event {
            // rare, and the one that others must hear
            Announcement::BlockMined { .. } => true,
            Announcement::ShareSubmitted { .. } => take(&self.shares) && take(&self.all),
            _ => take(&self.all),
        };
        let published = room && self.events.publish(event);
        self.metrics.event(kind, published);
    }
}

fn take(bucket: &Mutex<Bucket>) -> bool {
    let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * bucket.per_second;
    bucket.level = (bucket.level + gained).min(bucket.per_second);
    bucket.filled = now;
    let room = bucket.level >= 1.0;
    if room {
        bucket.level -= 1.0;
    }
    room
}

fn kind(event: &Announcement) -> &'static str {
    match event {
        Announcement::BlockMined { .. } => "BlockMined",
        Announcement::MiningJobCreated { .. } => "MiningJobCreated",
        Announcement::ShareSubmitted { .. } => "ShareSubmitted",
        Announcement::StratumClientConnected { .. } => "StratumClientConnected",
        Announcement::StratumClientDisconnected { .. } => "StratumClientDisconnected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryEvents;

    #[test]
    fn a_flood_of_shares_leaves_room_for_all_else() {
        let events = Arc::new(MemoryEvents::default());
        let announcer = Announcer::new(events.clone(), Arc::new(Metrics::default()), 100);
        let share = || Announcement::ShareSubmitted {
            job_id: "1-1".into(),
            hash: [0; 32],
            miner: "a".into(),
        };
        for _ in 0..1_000 {
            announcer.announce(share());
        }
        let shares = events.taken.lock().unwrap().len();
        assert!((50..100).contains(&shares), "{shares}");
        announcer.announce(Announcement::StratumClientConnected {
            endpoint: "192.0.2.7:5".into(),
        });
        for _ in 0..200 {
            announcer.announce(Announcement::BlockMined {
                hash: [1; 32],
                height: 1,
                miner: "a".into(),
            });
        }
        assert_eq!(events.taken.lock().unwrap().len(), shares + 201);
    }
}
