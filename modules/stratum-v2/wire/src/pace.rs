//! How fast frames of one peer are read.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket that says how long to wait instead of refusing.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        // at least one, or the first frame would wait for ever
        let burst = f64::from(burst.max(1));
        Self {
            per_second: f64::from(per_second.max(1)),
            burst,
            tokens: burst,
            last: now,
        }
    }

    /// Takes one token; the time to wait before the frame it stands for is handled, zero mostly.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst) - 1.0;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / self.per_second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_pass_and_then_holds_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 5, start);
        for _ in 0..5 {
            assert_eq!(pace.take(start), Duration::ZERO);
        }
        assert_eq!(pace.take(start), Duration::from_millis(100));
        assert_eq!(pace.take(start + Duration::from_secs(60)), Duration::ZERO);
    }
}
