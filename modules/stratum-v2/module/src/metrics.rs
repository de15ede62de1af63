//! What the module measures, in a form that knows no wire: `main.rs` reports [`Metrics::samples`] to the host now and
//! then.
//!
//! Every label has a closed or bounded set of values; no miner's name is ever a label.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Different values of one label; further ones are counted as `other`. 24 keeps all series together far below the
/// host's 1,000.
const MAX_LABELS: usize = 24;
/// Bounds of time histograms, seconds: from a tenth of a millisecond to the patience of a commit.
const TIME_BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// One value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    /// Name and value of its label, if it has one.
    pub label: Option<(&'static str, String)>,
    pub value: Value,
}

/// What a sample holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    Gauge(f64),
    /// Cumulative buckets by ascending upper bound, all observations, their sum.
    Histogram {
        buckets: Vec<(f64, u64)>,
        count: u64,
        sum: f64,
    },
}

/// What others measure at the moment of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    pub connections: u64,
    pub template_clients: u64,
    pub channels: u64,
    pub miners: u64,
    /// Hashes per second, estimated from accepted shares.
    pub hashrate: f64,
    pub log_shares: u64,
    /// By the word of the state.
    pub blocks: Vec<(&'static str, u64)>,
}

#[derive(Debug, Default)]
struct Times {
    counts: [u64; TIME_BOUNDS.len()],
    count: u64,
    sum: f64,
}

#[derive(Debug, Default)]
struct Labelled(BTreeMap<String, u64>);

#[derive(Debug, Default)]
struct Slow {
    rejected: Labelled,
    solutions: Labelled,
    closed: Labelled,
    events: Labelled,
    dropped: Labelled,
    commit: Times,
    tip: Times,
}

/// The counters of one process. Shared by reference; counting never waits for anything but a short lock.
#[derive(Debug, Default)]
pub struct Metrics {
    accepted: AtomicU64,
    refused: AtomicU64,
    commits: AtomicU64,
    commits_failed: AtomicU64,
    connected: AtomicU64,
    submissions: AtomicU64,
    slow: Mutex<Slow>,
}

impl Metrics {
    /// A commit of the ledger has ended; `shares` of it count when it was done.
    pub fn ledger_commit(&self, took: Duration, shares: u64, done: bool) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if done {
            self.accepted.fetch_add(shares, Ordering::Relaxed);
        } else {
            self.commits_failed.fetch_add(1, Ordering::Relaxed);
            self.refused.fetch_add(shares, Ordering::Relaxed);
        }
        self.slow().commit.observe(took);
    }

    /// A share was rejected with this code.
    pub fn rejected(&self, code: &str) {
        self.slow().rejected.count(code);
    }

    /// A solution of a client of the template provider was no block, or none that is new.
    pub fn solution_rejected(&self, code: &str) {
        self.slow().solutions.count(code);
    }

    /// A miner has set up its connection.
    pub fn connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has ended.
    pub fn disconnected(&self, reason: &str) {
        self.slow().closed.count(reason);
    }

    /// An event was handed to the host, or had to be left out.
    pub fn event(&self, kind: &str, published: bool) {
        let mut slow = self.slow();
        if published {
            slow.events.count(kind)
        } else {
            slow.dropped.count(kind)
        }
    }

    /// A block was handed to the node.
    pub fn submission(&self) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
    }

    /// Time from hearing of a new tip to handing SetNewPrevHash to a socket.
    pub fn tip_handed(&self, took: Duration) {
        self.slow().tip.observe(took);
    }

    /// All series, in a fixed order.
    pub fn samples(&self, gauges: &Gauges) -> Vec<Sample> {
        let mut out = Vec::with_capacity(64);
        let mut gauge = |name, help, value| {
            out.push(Sample {
                name,
                help,
                label: None,
                value: Value::Gauge(value),
            })
        };
        gauge(
            "connections",
            "Miners and proxies connected",
            gauges.connections as f64,
        );
        gauge(
            "template_clients",
            "Clients of the template provider connected",
            gauges.template_clients as f64,
        );
        gauge("channels", "Mining channels open", gauges.channels as f64);
        gauge(
            "miners",
            "Miners that the ledger knows",
            gauges.miners as f64,
        );
        gauge(
            "hashrate_hashes_per_second",
            "Estimated from accepted shares, over about ten minutes",
            gauges.hashrate,
        );
        gauge(
            "share_log_shares",
            "Shares in the log",
            gauges.log_shares as f64,
        );
        for (state, count) in &gauges.blocks {
            let label = Some(("state", (*state).to_owned()));
            let help = "Blocks found here, by what became of them";
            out.push(Sample {
                name: "blocks",
                help,
                label,
                value: Value::Gauge(*count as f64),
            });
        }
        let mut counter = |name, help, value: &AtomicU64| {
            let value = Value::Counter(value.load(Ordering::Relaxed));
            out.push(Sample {
                name,
                help,
                label: None,
                value,
            });
        };
        counter(
            "shares_accepted_total",
            "Shares accepted and written down",
            &self.accepted,
        );
        counter(
            "shares_unwritten_total",
            "Shares refused because the storage did not take them",
            &self.refused,
        );
        counter(
            "ledger_commits_total",
            "Commits of the ledger",
            &self.commits,
        );
        counter(
            "ledger_commits_failed_total",
            "Commits of the ledger that failed",
            &self.commits_failed,
        );
        counter(
            "connections_total",
            "Connections that were set up",
            &self.connected,
        );
        counter(
            "block_submissions_total",
            "Times that a block was handed to the node",
            &self.submissions,
        );
        let slow = self.slow();
        slow.rejected.samples(
            &mut out,
            "shares_rejected_total",
            "Shares rejected, by code",
            "code",
        );
        let help = "Solutions of clients of the template provider that were no new block, by code";
        slow.solutions
            .samples(&mut out, "template_solutions_rejected_total", help, "code");
        slow.closed.samples(
            &mut out,
            "connections_closed_total",
            "Connections ended, by reason",
            "reason",
        );
        slow.events.samples(
            &mut out,
            "events_published_total",
            "Events handed to the host",
            "type",
        );
        slow.dropped.samples(
            &mut out,
            "events_skipped_total",
            "Events left out to stay within the budget",
            "type",
        );
        let mut times = |name, help, times: &Times| {
            out.push(Sample {
                name,
                help,
                label: None,
                value: times.value(),
            });
        };
        times(
            "ledger_commit_seconds",
            "Time that one commit of the ledger takes",
            &slow.commit,
        );
        times(
            "tip_to_miner_seconds",
            "From hearing of a new tip to SetNewPrevHash on a socket",
            &slow.tip,
        );
        out
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.sum += seconds;
        for (count, bound) in self.counts.iter_mut().zip(TIME_BOUNDS) {
            if seconds <= bound {
                *count += 1;
            }
        }
    }

    fn value(&self) -> Value {
        let buckets = TIME_BOUNDS.into_iter().zip(self.counts).collect();
        Value::Histogram {
            buckets,
            count: self.count,
            sum: self.sum,
        }
    }
}

impl Labelled {
    fn count(&mut self, value: &str) {
        let value = if self.0.contains_key(value) || self.0.len() < MAX_LABELS {
            value
        } else {
            "other"
        };
        *self.0.entry(value.to_owned()).or_default() += 1;
    }

    fn samples(
        &self,
        out: &mut Vec<Sample>,
        name: &'static str,
        help: &'static str,
        label: &'static str,
    ) {
        for (value, count) in &self.0 {
            let label = Some((label, value.clone()));
            out.push(Sample {
                name,
                help,
                label,
                value: Value::Counter(*count),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_labels_bounded() {
        let metrics = Metrics::default();
        metrics.ledger_commit(Duration::from_millis(3), 7, true);
        metrics.ledger_commit(Duration::from_secs(60), 2, false);
        for code in 0..100 {
            metrics.rejected(&format!("code-{code}"));
        }
        let samples = metrics.samples(&Gauges::default());
        let find = |name: &str| {
            samples
                .iter()
                .filter(|sample| sample.name == name)
                .collect::<Vec<_>>()
        };
        assert_eq!(find("shares_accepted_total")[0].value, Value::Counter(7));
        assert_eq!(find("shares_unwritten_total")[0].value, Value::Counter(2));
        let rejected = find("shares_rejected_total");
        assert_eq!(rejected.len(), MAX_LABELS + 1);
        assert!(
            rejected
                .iter()
                .any(|sample| sample.value == Value::Counter(76))
        );
        let Value::Histogram {
            buckets,
            count,
            sum,
        } = &find("ledger_commit_seconds")[0].value
        else {
            panic!()
        };
        assert_eq!((*count, buckets.last().copied()), (2, Some((10.0, 1))));
        assert!(*sum > 60.0 && buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }
}
