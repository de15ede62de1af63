//! The newest shares in memory: who did how much of the last N. The form in which a pool that pays per last N shares
//! (PPLNS) asks.

use std::collections::{HashMap, VecDeque};

/// A share as the window keeps it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    pub miner: u32,
    pub work: f64,
}

/// One miner's part of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Part {
    pub shares: u64,
    pub work: f64,
}

/// The shares of the log, oldest first. 16 bytes each.
#[derive(Debug, Default)]
pub struct Window {
    slots: VecDeque<Slot>,
    parts: HashMap<u32, Part>,
}

impl Window {
    /// Adds the newest share.
    pub fn push(&mut self, slot: Slot) {
        let part = self.parts.entry(slot.miner).or_default();
        part.shares += 1;
        part.work += slot.work;
        self.slots.push_back(slot);
    }

    /// Drops the oldest shares.
    pub fn drop_oldest(&mut self, count: u64) {
        for _ in 0..count {
            let Some(slot) = self.slots.pop_front() else {
                return;
            };
            if let Some(part) = self.parts.get_mut(&slot.miner) {
                part.shares -= 1;
                part.work -= slot.work;
                // with its last share the rounding errors of a miner's sum go too
                if part.shares == 0 {
                    self.parts.remove(&slot.miner);
                }
            }
        }
    }

    /// Shares in the window.
    pub fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Each miner's part of the newest `count` shares, by the miner's number.
    pub fn parts(&self, count: u64) -> HashMap<u32, Part> {
        if count >= self.len() {
            return self.parts.clone();
        }
        let mut parts: HashMap<u32, Part> = HashMap::new();
        for slot in self.slots.iter().rev().take(count as usize) {
            let part = parts.entry(slot.miner).or_default();
            part.shares += 1;
            part.work += slot.work;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_what_comes_and_goes() {
        let mut window = Window::default();
        for (miner, work) in [(1, 2.0), (2, 3.0), (1, 5.0)] {
            window.push(Slot { miner, work });
        }
        assert_eq!(
            window.parts(3)[&1],
            Part {
                shares: 2,
                work: 7.0
            }
        );
        assert_eq!(
            window.parts(2)[&1],
            Part {
                shares: 1,
                work: 5.0
            }
        );
        window.drop_oldest(2);
        assert_eq!(window.len(), 1);
        assert_eq!(
            window.parts(9),
            HashMap::from([(
                1,
                Part {
                    shares: 1,
                    work: 5.0
                }
            )])
        );
        window.drop_oldest(9);
        assert!(window.len() == 0 && window.parts(9).is_empty());
    }
}
