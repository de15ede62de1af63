//! Metrics on their way to the host.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use host::v1::{Histogram, HistogramBucket, Metric, MetricLabel, metric};
use host::{Host, Log};
use pool::Pool;
use provider::Provider;
use stratum_v2::accounts::Accounts;
use stratum_v2::api::hashrate;
use stratum_v2::metrics::{Gauges, Metrics, Sample, Value};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often: what dashboards usually ask, or finer.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is measured.
pub struct Measured {
    pub metrics: Arc<Metrics>,
    pub accounts: Arc<Accounts>,
    pub pool: Pool,
    pub provider: Option<Provider>,
}

impl Measured {
    fn samples(&self) -> Vec<Sample> {
        let pool = self.pool.stats();
        let summary = self.accounts.ledger().summary();
        let mut blocks: Vec<_> = self
            .accounts
            .ledger()
            .blocks_by_state()
            .into_iter()
            .map(|(state, count)| (state.word(), count))
            .collect();
        blocks.sort_unstable();
        self.metrics.samples(&Gauges {
            connections: pool.connections.len() as u64,
            template_clients: self
                .provider
                .as_ref()
                .map_or(0, |provider| provider.stats().clients.len() as u64),
            channels: pool
                .connections
                .iter()
                .map(|connection| connection.channels.len() as u64)
                .sum(),
            miners: summary.miners,
            hashrate: hashrate(&pool),
            log_shares: summary.log_shares,
            blocks,
        })
    }
}

/// Reports until `cancel` fires. A refusal is told once for each reason: numbers are not worth a line every few seconds.
pub async fn report(host: Host, measured: Measured, log: Log, cancel: CancellationToken) {
    let mut told = HashSet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let metrics = measured.samples().into_iter().map(metric).collect();
        if let Err(error) = host.report_metrics(metrics).await
            && !error.is_retryable()
            && told.insert(error.reason.to_string())
        {
            log.warn("the host does not take the metrics", &[("reason", &error)]);
        }
    }
}

fn metric(sample: Sample) -> Metric {
    let label = |(name, value): (&str, String)| MetricLabel {
        name: name.to_owned(),
        value,
    };
    Metric {
        name: sample.name.to_owned(),
        labels: sample.label.map(label).into_iter().collect(),
        value: Some(match sample.value {
            Value::Counter(count) => metric::Value::Counter(count),
            Value::Gauge(value) => metric::Value::Gauge(value),
            Value::Histogram {
                buckets,
                count,
                sum,
            } => metric::Value::Histogram(Histogram {
                buckets: buckets
                    .into_iter()
                    .map(|(upper_bound, count)| HistogramBucket { upper_bound, count })
                    .collect(),
                count,
                sum,
            }),
        }),
        time_unix_ms: 0,
        help: sample.help.to_owned(),
    }
}
