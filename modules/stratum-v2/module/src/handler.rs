//! Answers to what the host asks of the module.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use host::v1::{
    ApiInvocation, CliInvocation, CliResult, ConfigInvocation, HealthCheck, HealthReport,
    HealthStatus, RpcInvocation, StopInvocation,
};
use host::{Context, Failure, Log};
use stratum_core::bitcoin::ScriptBuf;
use stratum_v2::accounts::Accounts;
use stratum_v2::api::Api;
use stratum_v2::config::Config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::offers;
use crate::templates::Feed;

/// What the answers are made from.
pub struct Handler {
    pub feed: Arc<Feed>,
    pub accounts: Arc<Accounts>,
    pub api: Arc<Api>,
    /// The configuration in force.
    pub config: watch::Sender<Arc<Config>>,
    /// Network by Bitcoin Core's name, for the check of a changed address.
    pub network: String,
    /// Where the coinbase pays.
    pub payout: watch::Sender<ScriptBuf>,
    pub log: Log,
    /// Begins the end.
    pub shutdown: CancellationToken,
    /// Fires when the host has asked for it.
    pub stop_asked: CancellationToken,
    /// Fires when all is written down and all connections are closed.
    pub finished: CancellationToken,
}

#[async_trait]
impl host::Handler for Handler {
    fn health(&self) -> HealthReport {
        let checks = [self.templates(), self.ledger()];
        let worst = checks
            .iter()
            .map(|check| check.status)
            .max()
            .unwrap_or_default();
        let told = checks
            .iter()
            .find(|check| check.status == worst)
            .map(|check| check.message.clone());
        HealthReport {
            status: worst,
            message: told.unwrap_or_default(),
            checks: checks.into(),
        }
    }

    async fn config_change(
        &self,
        change: ConfigInvocation,
        _context: Context,
    ) -> Result<(), Failure> {
        let refused =
            |error: stratum_v2::config::ConfigError| Failure::invalid_params(error.to_string());
        Config::change(&change.changed_keys).map_err(refused)?;
        let config = Config::parse(&change.config_json, &self.network).map_err(refused)?;
        self.log.info(
            "the configuration has changed",
            &[("payout", &config.payout_text)],
        );
        self.payout.send_replace(config.payout.clone());
        self.config.send_replace(Arc::new(config));
        self.api.config_changed();
        Ok(())
    }

    async fn rpc(&self, call: RpcInvocation, _context: Context) -> Result<String, Failure> {
        let answer = self.api.rpc(&call.method, &call.params_json).await;
        answer.map_err(offers::failure)
    }

    async fn cli(&self, command: CliInvocation, _context: Context) -> Result<CliResult, Failure> {
        let output = self.api.command(&command.subcommand, &command.args).await;
        Ok(offers::printed(output))
    }

    async fn api(&self, call: ApiInvocation, _context: Context) -> Result<Bytes, Failure> {
        let answer = self.api.call(&call.method, &call.caller, &call.params);
        answer.map(Bytes::from).map_err(offers::failure)
    }

    async fn stop(&self, wish: StopInvocation) {
        self.log
            .info("asked to stop", &[("grace_ms", &wish.grace_ms)]);
        self.stop_asked.cancel();
        self.shutdown.cancel();
        self.finished.cancelled().await;
    }
}

impl Handler {
    fn templates(&self) -> HealthCheck {
        let (status, message) = match (self.feed.trouble(), self.feed.height()) {
            (Some(trouble), Some(height)) => (
                HealthStatus::Degraded,
                format!("work for height {height} goes on without the node: {trouble}"),
            ),
            (Some(trouble), None) => (HealthStatus::Degraded, format!("no work yet: {trouble}")),
            (None, Some(height)) => (HealthStatus::Healthy, format!("work for height {height}")),
            (None, None) => (
                HealthStatus::Degraded,
                "no work yet: waiting for the first template".to_owned(),
            ),
        };
        HealthCheck {
            name: "templates".to_owned(),
            status: status.into(),
            message,
        }
    }

    fn ledger(&self) -> HealthCheck {
        let (status, message) = match self.accounts.ledger().disagreement() {
            None => (HealthStatus::Healthy, String::new()),
            Some(words) => (HealthStatus::Degraded, words.to_owned()),
        };
        HealthCheck {
            name: "ledger".to_owned(),
            status: status.into(),
            message,
        }
    }
}
