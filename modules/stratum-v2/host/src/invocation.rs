use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::v1::{
    ApiInvocation, CliInvocation, CliResult, ConfigInvocation, HealthReport, HealthStatus,
    InvocationFailure, InvocationFailureKind, MigrateInvocation, RpcInvocation, StopInvocation,
    TaskInvocation, TimerInvocation,
};

/// Circumstances of one invocation.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its id, for `CallRequest.for_invocation`.
    pub id: u64,
    /// When the caller gives up; the handler's future is dropped then.
    pub deadline: Instant,
    /// Fires when the caller has gone. The handler's future is dropped then: what must not be left half done belongs into
    /// a task of its own.
    pub cancelled: CancellationToken,
    /// W3C trace context; empty when there is none.
    pub trace_parent: String,
}

/// Why an invocation could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the caller's side is told.
    pub kind: InvocationFailureKind,
    /// The module's own code; for `rpc` the JSON-RPC error code, 0 = the host's choice.
    pub code: i32,
    /// For people.
    pub message: String,
    /// For [`InvocationFailureKind::Busy`].
    pub retry_after: Duration,
}

impl Failure {
    /// The module tried and could not.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::of(InvocationFailureKind::Failed, message)
    }

    /// The caller's parameters are wrong.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::of(InvocationFailureKind::InvalidParams, message)
    }

    /// No such method or command.
    pub fn method_not_found(name: &str) -> Self {
        Self::of(
            InvocationFailureKind::MethodNotFound,
            format!("there is no '{name}'"),
        )
    }

    /// The module does not serve this caller.
    pub fn caller_not_allowed(message: impl Into<String>) -> Self {
        Self::of(InvocationFailureKind::CallerNotAllowed, message)
    }

    /// Too much to do: the caller may come back.
    pub fn busy(retry_after: Duration) -> Self {
        Self {
            retry_after,
            ..Self::of(InvocationFailureKind::Busy, "too much to do")
        }
    }

    /// This module does not know this kind of work.
    pub fn unsupported() -> Self {
        Self::of(
            InvocationFailureKind::Unsupported,
            "this module does no such work",
        )
    }

    fn of(kind: InvocationFailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: 0,
            message: message.into(),
            retry_after: Duration::ZERO,
        }
    }
}

impl From<Failure> for InvocationFailure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind.into(),
            code: failure.code,
            message: failure.message,
            data_json: String::new(),
            retry_after_ms: u32::try_from(failure.retry_after.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

/// A module's answers to what the host asks. Every kind that a module does not take is answered UNSUPPORTED.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// How the module is. Asked every few seconds on the task that reads the stream: never waits.
    fn health(&self) -> HealthReport {
        HealthReport {
            status: HealthStatus::Healthy.into(),
            ..HealthReport::default()
        }
    }

    /// A JSON-RPC request to a registered endpoint; gives any JSON value as text.
    async fn rpc(&self, _call: RpcInvocation, _context: Context) -> Result<String, Failure> {
        Err(Failure::unsupported())
    }

    /// A command of the registered set.
    async fn cli(&self, _command: CliInvocation, _context: Context) -> Result<CliResult, Failure> {
        Err(Failure::unsupported())
    }

    /// A call of the module's API by another module.
    async fn api(&self, _call: ApiInvocation, _context: Context) -> Result<Bytes, Failure> {
        Err(Failure::unsupported())
    }

    /// A changed configuration; after a failure the old one stays in force.
    async fn config_change(
        &self,
        _change: ConfigInvocation,
        _context: Context,
    ) -> Result<(), Failure> {
        Err(Failure::unsupported())
    }

    /// A tick of a timer.
    async fn timer(&self, _tick: TimerInvocation, _context: Context) -> Result<(), Failure> {
        Err(Failure::unsupported())
    }

    /// A task that is due.
    async fn task(&self, _task: TaskInvocation, _context: Context) -> Result<(), Failure> {
        Err(Failure::unsupported())
    }

    /// Data of an older version.
    async fn migrate(
        &self,
        _migration: MigrateInvocation,
        _context: Context,
    ) -> Result<(), Failure> {
        Err(Failure::unsupported())
    }

    /// The wish to stop: finishes what must be finished. Answered when it returns, at the latest after
    /// six tenths of the grace; [`crate::Host::serve`] then returns and the program ends.
    async fn stop(&self, _wish: StopInvocation) {}
}
