//! How often an owner may change its outputs: each change is a new job for every miner.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Changes that an owner may make at once.
pub const ADDITIONAL_CHANGES_BURST: u32 = 10;
/// How long it takes until one more is allowed. Chains that are mined along have blocks every 30 seconds and more.
pub const ADDITIONAL_CHANGE_INTERVAL: Duration = Duration::from_secs(2);
/// Owners whose last changes are remembered; more than there can be with outputs, so that removing them buys nothing.
const MAX_PACES: usize = 64;

/// Changes of each owner.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    /// When each owner would have all its changes back.
    full_at: HashMap<String, Instant>,
}

impl Paces {
    /// Takes one change from what the owner may make; false when there is none left.
    pub fn take(&mut self, owner: &str, now: Instant) -> bool {
        self.full_at.retain(|_, full_at| *full_at > now);
        let full_at =
            self.full_at.get(owner).copied().unwrap_or(now).max(now) + ADDITIONAL_CHANGE_INTERVAL;
        let exhausted =
            full_at.duration_since(now) > ADDITIONAL_CHANGE_INTERVAL * ADDITIONAL_CHANGES_BURST;
        if exhausted || (!self.full_at.contains_key(owner) && self.full_at.len() >= MAX_PACES) {
            return false;
        }
        self.full_at.insert(owner.to_owned(), full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time_for_each_owner() {
        let (mut paces, start) = (Paces::default(), Instant::now());
        let taken = (0..100).filter(|_| paces.take("a", start)).count();
        assert_eq!(taken, ADDITIONAL_CHANGES_BURST as usize);
        assert!(paces.take("b", start), "others are not held up");
        let later = start + ADDITIONAL_CHANGE_INTERVAL;
        assert!(paces.take("a", later) && !paces.take("a", later));
        let much_later = start + ADDITIONAL_CHANGE_INTERVAL * 1_000;
        let taken = (0..100).filter(|_| paces.take("a", much_later)).count();
        assert_eq!(taken, ADDITIONAL_CHANGES_BURST as usize);
        assert_eq!(paces.full_at.len(), 1, "who rests is forgotten");
        let owners = (0..100)
            .filter(|owner| paces.take(&owner.to_string(), much_later))
            .count();
        assert_eq!(owners, MAX_PACES - 1);
    }
}
