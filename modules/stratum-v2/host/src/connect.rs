use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::call::{CALL_TIMEOUT, unary};
use crate::environment::Environment;
use crate::error::{HostError, Reason};
use crate::event::event_service_client::EventServiceClient;
use crate::storage::Storage;
use crate::v1::chain_service_client::ChainServiceClient;
use crate::v1::{
    GetContextRequest, HandshakeRequest, Limits, ReadyRequest, ReportHealthRequest, ReportRequest,
    SessionContext, StartingRequest, health_service_client::HealthServiceClient,
    invocation_service_client::InvocationServiceClient, log_service_client::LogServiceClient,
    metrics_service_client::MetricsServiceClient, mining_service_client::MiningServiceClient,
    module_service_client::ModuleServiceClient, rpc_service_client::RpcServiceClient,
    session_service_client::SessionServiceClient, storage_service_client::StorageServiceClient,
};

/// The one protocol version of this contract.
const PROTOCOL: u32 = 1;
/// The token is this long; what is longer is no token.
const TOKEN_BYTES: usize = 32;
/// Largest message before the handshake has told the bound, bytes: what every gRPC library receives by default.
const DEFAULT_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// HTTP/2 windows, bytes: a template of 4 MiB comes in one go instead of in pieces of 64 KiB, each waiting for the next.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Window of the connection: a template under way leaves room for the answers to everything else.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The session of this process with its host. Cheap to clone; every clone is the same session.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channel: Channel,
    max_message_bytes: usize,
    context: SessionContext,
    config_json: String,
    environment: Environment,
}

/// A client per service, with the session's bound on messages.
macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $client:ident;)*) => {
        impl Host {
            $($(#[$doc])*
            pub fn $name(&self) -> $client<Channel> {
                $client::new(self.shared.channel.clone())
                    .max_decoding_message_size(self.shared.max_message_bytes)
                    .max_encoding_message_size(self.shared.max_message_bytes)
            })*
        }
    };
}

clients! {
    /// Stubs of `SessionService`.
    session_client: SessionServiceClient;
    /// Stubs of `InvocationService`; one Serve stream per session.
    invocation_client: InvocationServiceClient;
    /// Stubs of `StorageService`.
    storage_client: StorageServiceClient;
    /// Stubs of `MetricsService`.
    metrics_client: MetricsServiceClient;
    /// Stubs of `HealthService`.
    health_client: HealthServiceClient;
    /// Stubs of `RpcService`.
    rpc_client: RpcServiceClient;
    /// Stubs of `ModuleService`.
    module_client: ModuleServiceClient;
    /// Stubs of `MiningService`.
    mining_client: MiningServiceClient;
    /// Stubs of `ChainService`.
    chain_client: ChainServiceClient;
    /// Stubs of `LogService`.
    log_client: LogServiceClient;
    /// Stubs of `EventService`.
    event_client: EventServiceClient;
}

impl Host {
    /// Dials the host that started this process, and shakes hands.
    ///
    /// `version` is that of the manifest. Fails with [`Reason::NotStartedByHost`] for a program that a person started,
    /// with the reasons of `SessionService.Handshake` otherwise.
    pub async fn connect(version: &str) -> Result<Self, HostError> {
        Self::connect_in(Environment::from_process()?, version).await
    }

    /// As [`Host::connect`], with an environment that is handed in.
    pub async fn connect_in(environment: Environment, version: &str) -> Result<Self, HostError> {
        let token = read_token(&environment).await?;
        let channel = dial(&environment).await?;
        let handshake = HandshakeRequest {
            token,
            module_name: environment.module_id.clone(),
            module_version: version.to_owned(),
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            sdk_name: "modhost-rust".to_owned(),
            sdk_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut session = SessionServiceClient::new(channel.clone());
        let answer = unary(handshake, CALL_TIMEOUT, |request| async move {
            session.handshake(request).await
        })
        .await?;
        let context = answer.context.unwrap_or_default();
        let bound = context
            .limits
            .as_ref()
            .map_or(0, |limits| limits.max_message_bytes);
        Ok(Self {
            shared: Arc::new(Shared {
                channel,
                max_message_bytes: usize::try_from(bound)
                    .unwrap_or(DEFAULT_MESSAGE_BYTES)
                    .max(DEFAULT_MESSAGE_BYTES),
                context,
                config_json: answer.config_json,
                environment,
            }),
        })
    }

    /// What the handshake told: grants, node, containment, services.
    pub fn context(&self) -> &SessionContext {
        &self.shared.context
    }

    /// The bounds of this session.
    pub fn limits(&self) -> Limits {
        self.shared.context.limits.unwrap_or_default()
    }

    /// The configuration at the handshake, one JSON object, secrets included.
    pub fn config_json(&self) -> &str {
        &self.shared.config_json
    }

    /// What the host put into the environment.
    pub fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// Makes one unary call with the default deadline; the way to every rpc that has no method of its own here.
    ///
    /// ```text
    /// let mut client = host.rpc_client();
    /// host.call(request, |request| async move { client.register_cli(request).await }).await?;
    /// ```
    pub async fn call<Q, A, F>(
        &self,
        message: Q,
        call: impl FnOnce(Request<Q>) -> F,
    ) -> Result<A, HostError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        unary(message, CALL_TIMEOUT, call).await
    }

    /// As [`Host::call`] with a deadline of the caller's.
    pub async fn call_within<Q, A, F>(
        &self,
        timeout: Duration,
        message: Q,
        call: impl FnOnce(Request<Q>) -> F,
    ) -> Result<A, HostError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        unary(message, timeout, call).await
    }

    /// Tells that the start goes on, and moves its deadline.
    pub async fn starting(&self, progress_percent: u32, message: &str) -> Result<(), HostError> {
        let mut client = self.session_client();
        let request = StartingRequest {
            progress_percent,
            message: message.to_owned(),
        };
        self.call(
            request,
            |request| async move { client.starting(request).await },
        )
        .await
        .map(drop)
    }

    /// Tells that the module works; only from here on does it count as running.
    pub async fn ready(&self) -> Result<(), HostError> {
        let mut client = self.session_client();
        self.call(ReadyRequest {}, |request| async move {
            client.ready(request).await
        })
        .await
        .map(drop)
    }

    /// The facts of the session as they are now, for those that change: grants and node.
    pub async fn present_context(&self) -> Result<SessionContext, HostError> {
        let mut client = self.session_client();
        let answer = self
            .call(GetContextRequest {}, |request| async move {
                client.get_context(request).await
            })
            .await?;
        Ok(answer.context.unwrap_or_default())
    }

    /// The module's own trees of keys and values.
    pub fn storage(&self) -> Storage {
        Storage::new(self.clone())
    }

    /// Sets series to their present values.
    pub async fn report_metrics(&self, metrics: Vec<crate::v1::Metric>) -> Result<(), HostError> {
        let mut client = self.metrics_client();
        self.call(ReportRequest { metrics }, |request| async move {
            client.report(request).await
        })
        .await
        .map(drop)
    }

    /// Tells the host unasked how the module is.
    pub async fn report_health(&self, report: crate::v1::HealthReport) -> Result<(), HostError> {
        let mut client = self.health_client();
        let request = ReportHealthRequest {
            report: Some(report),
        };
        self.call(request, |request| async move {
            client.report_health(request).await
        })
        .await
        .map(drop)
    }
}

async fn read_token(environment: &Environment) -> Result<Bytes, HostError> {
    let path = &environment.token_file;
    let token = tokio::fs::read(path).await.map_err(|error| {
        let message = format!(
            "the token of this spawn cannot be read at {}: {error}",
            path.display()
        );
        HostError::new(Reason::NotStartedByHost, message)
    })?;
    if token.len() != TOKEN_BYTES {
        let message = format!(
            "the token file has {} bytes and not {TOKEN_BYTES}",
            token.len()
        );
        return Err(HostError::new(Reason::NotStartedByHost, message));
    }
    Ok(token.into())
}

/// One channel, which connects again by itself for as long as the socket is there.
async fn dial(environment: &Environment) -> Result<Channel, HostError> {
    let unreachable =
        |error: tonic::transport::Error| HostError::new(Reason::Unreachable, chain(&error));
    Endpoint::from_shared(format!("unix:{}", environment.socket.display()))
        .map_err(unreachable)?
        // HTTP/2 servers refuse a socket's path as authority
        .origin(http_localhost())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect()
        .await
        .map_err(unreachable)
}

fn http_localhost() -> tonic::transport::Uri {
    tonic::transport::Uri::from_static("http://localhost")
}

/// The words of an error and all its causes: tonic's own say "transport error" alone.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}
