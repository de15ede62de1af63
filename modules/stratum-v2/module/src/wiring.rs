//! The module as a whole, from its first call to its last.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use host::v1::ErrorReason;
use host::{Host, HostError, Log, ServeEnd, asked_to_end};
use pool::{Pool, PoolConfig};
use provider::{Provider, ProviderConfig};
use stratum_v2::accounts::{Accounts, Parts, PoolBooks, ProviderSolutions};
use stratum_v2::announce::Announcer;
use stratum_v2::api::{self, Api, Live};
use stratum_v2::config::{Config, ConfigError};
use stratum_v2::keys::{self, KeyError};
use stratum_v2::ledger::{Ledger, LedgerOptions, OpenError};
use stratum_v2::metrics::Metrics;
use stratum_v2::ports::{Fault, Store};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Authority, Limits, Listener};
use work::{WorkBook, WorkOptions};

use crate::adapters::{HostEvents, HostLog, HostNode, HostStore};
use crate::handler::Handler;
use crate::offers;
use crate::report::{self, Measured};
use crate::templates::{self, Feed};

/// Work that the host may have open here at a time: people and modules ask for what lies in memory.
const CONCURRENT: u32 = 16;
/// How long pool and provider wait for one kind of thing at the end; the pool has three of them.
const DRAIN: Duration = Duration::from_millis(1_500);
/// How long connections may take to end. With [`FLUSH`] less than six tenths of the 10 s that a host gives by default.
const CLOSING: Duration = Duration::from_millis(4_500);
/// How long the ledger may take to write what waits.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the host may take to hear that the module has stopped.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks whether the host has reached its node, when the configuration cannot be judged before.
const NETWORK_POLL: Duration = Duration::from_secs(2);
/// Word of the contract for a network that is not known yet.
const UNKNOWN_NETWORK: &str = "unknown";

/// Why the module ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("authority key: {0}")]
    Key(#[from] KeyError),
    #[error("ledger: {0}")]
    Ledger(#[from] OpenError),
    #[error("storage: {0}")]
    Storage(#[from] Fault),
    #[error("pool: {0}")]
    Pool(#[from] pool::ConfigError),
    #[error("template provider: {0}")]
    Provider(#[from] provider::ConfigError),
    #[error(
        "port {port} cannot be opened ({error}): grant the module `inbound = [{port}]`, or configure another port"
    )]
    Port { port: u16, error: io::Error },
    #[error("signals: {0}")]
    Signals(io::Error),
}

/// Runs until the host or the system asks for the end, or the session is over.
pub async fn run() -> Result<(), Failure> {
    let shutdown = CancellationToken::new();
    // before anything else, so that no wish to end comes too early
    let asked = asked_to_end().map_err(Failure::Signals)?;
    let ending = shutdown.clone();
    tokio::spawn(async move {
        asked.await;
        ending.cancel();
    });
    let host = Host::connect(env!("CARGO_PKG_VERSION")).await?;
    let (log, pump) = host.open_log();
    let outcome = tokio::select! {
        module = Module::start(&host, &log, shutdown.clone()) => match module {
            Ok(module) => module.live(&host, &log).await,
            Err(failure) => Err(failure),
        },
        // what has begun so far is undone by the end of the process
        () = shutdown.cancelled() => Ok(()),
    };
    pump.close().await;
    outcome
}

/// All that works between start and end.
struct Module {
    handler: Arc<Handler>,
    tasks: TaskTracker,
}

impl Module {
    /// Brings everything up to the point where miners are served; the host does not know it yet.
    async fn start(host: &Host, log: &Log, shutdown: CancellationToken) -> Result<Self, Failure> {
        let (config, network) = configure(host, log).await?;
        let store: Arc<dyn Store> = Arc::new(HostStore(host.storage()));
        let authority = keys::load_or_make(&*store).await?;
        let metrics = Arc::new(Metrics::default());
        let options = LedgerOptions {
            log_length: config.share_log,
            max_value_bytes: usize::try_from(host.limits().max_value_bytes).unwrap_or(usize::MAX),
        };
        let ledger = Ledger::open(store, options, metrics.clone()).await?;
        if let Some(words) = ledger.disagreement() {
            log.error(
                "the ledger does not agree with itself; the module goes on",
                &[("what", &words)],
            );
        }
        let epoch = ledger.epoch();
        let book = Arc::new(WorkBook::new(WorkOptions {
            max_additional_value_sats: config.max_output_value_sats,
            ..WorkOptions::default()
        }));
        let publisher = host.open_publisher(log.child("events"), shutdown.clone());
        let per_second = host.limits().published_events_per_second;
        let accounts = Accounts::new(Parts {
            ledger,
            work: book.clone(),
            node: Arc::new(HostNode(host.clone())),
            announcer: Announcer::new(Arc::new(HostEvents(publisher)), metrics.clone(), per_second),
            metrics: metrics.clone(),
            log: Arc::new(HostLog(log.child("accounts"))),
        });

        let tasks = TaskTracker::new();
        let feed = Arc::new(Feed::default());
        tasks.spawn(feed_until(
            host.clone(),
            book.clone(),
            feed.clone(),
            log.child("templates"),
            shutdown.clone(),
        ));

        let (payout, paid) = watch::channel(config.payout.clone());
        let pool_config = PoolConfig {
            shares_per_minute: config.shares_per_minute as f32,
            min_hashrate: config.min_hashrate as f32,
            drain: DRAIN,
            // no two starts share a prefix, so no share of an earlier one can come again
            ..PoolConfig::new(&config.coinbase_tag, epoch.to_be_bytes())
        };
        let limits = Limits {
            connections: config.max_connections,
            connections_per_ip: config.max_connections_per_ip,
            ..pool_config.limits()
        };
        let pool = Pool::new(
            book.watch(),
            paid,
            Arc::new(PoolBooks(accounts.clone())),
            pool_config,
        )?;
        let listener = listen(config.pool_port, authority, limits).await?;
        let (serving, until) = (pool.clone(), shutdown.clone());
        tasks.spawn(async move { serving.serve(listener, until).await });

        let provider = match config.template_port {
            0 => None,
            port => {
                let provider_config = ProviderConfig {
                    drain: DRAIN,
                    ..ProviderConfig::default()
                };
                let solutions = Arc::new(ProviderSolutions(accounts.clone()));
                let provider = Provider::new(book.clone(), solutions, provider_config)?;
                let listener = listen(port, authority, provider_config.limits()).await?;
                let (serving, until) = (provider.clone(), shutdown.clone());
                tasks.spawn(async move { serving.serve(listener, until).await });
                Some(provider)
            }
        };

        let left = accounts.resume().await?;
        if left > 0 {
            log.info(
                "blocks of an earlier start await their verdict",
                &[("blocks", &left)],
            );
        }
        let measured = Measured {
            metrics,
            accounts: accounts.clone(),
            pool: pool.clone(),
            provider: provider.clone(),
        };
        tasks.spawn(report::report(
            host.clone(),
            measured,
            log.child("metrics"),
            shutdown.clone(),
        ));
        log.info(
            "serving",
            &[
                ("pool_port", &config.pool_port),
                ("template_port", &config.template_port),
                ("authority_public_key", &authority.public_key()),
                ("payout", &config.payout_text),
                ("start", &epoch),
            ],
        );
        let (changed, in_force) = watch::channel(Arc::new(config));
        let (mining, templates) = (pool, provider);
        let waiting = feed.clone();
        let api = Arc::new(Api::new(api::Parts {
            accounts: accounts.clone(),
            work: book,
            live: Arc::new(move || Live {
                pool: mining.stats(),
                provider: templates.as_ref().map(Provider::stats),
                waiting: waiting.trouble(),
            }),
            config: in_force,
            network: network.clone(),
            authority_public_key: authority.public_key(),
            version: env!("CARGO_PKG_VERSION"),
        }));
        let handler = Handler {
            feed,
            accounts,
            api,
            config: changed,
            network,
            payout,
            log: log.clone(),
            shutdown,
            stop_asked: CancellationToken::new(),
            finished: CancellationToken::new(),
        };
        Ok(Self {
            handler: Arc::new(handler),
            tasks,
        })
    }

    /// Works until the end, and closes in order: connections, ledger, the answer to the host.
    async fn live(self, host: &Host, log: &Log) -> Result<(), Failure> {
        let Self { handler, tasks } = self;
        let quit = CancellationToken::new();
        let serving = host.serve(handler.clone(), CONCURRENT, quit.clone());
        tokio::pin!(serving);
        let mut over = None;
        let working = async {
            offers::register(host, log).await?;
            host.ready().await?;
            handler.shutdown.cancelled().await;
            Ok::<(), HostError>(())
        };
        let outcome = tokio::select! {
            end = &mut serving => {
                over = Some(end);
                Ok(())
            }
            outcome = working => outcome,
        };
        handler.shutdown.cancel();
        tasks.close();
        let closing = async {
            let connections = timeout(CLOSING, tasks.wait()).await;
            let ledger = timeout(FLUSH, handler.accounts.close()).await;
            if connections.is_err() || ledger.is_err() {
                log.warn(
                    "not all that was under way is finished; storage has what was acknowledged",
                    &[],
                );
            }
            handler.finished.cancel();
            if !handler.stop_asked.is_cancelled() {
                quit.cancel();
            }
        };
        if over.is_none() {
            // health is answered meanwhile, and the wish to stop that began this
            over = tokio::select! {
                end = &mut serving => Some(end),
                () = async { closing.await; tokio::time::sleep(FAREWELL).await } => None,
            };
        } else {
            closing.await;
        }
        outcome?;
        match over {
            // code 0 says that nobody need start this module again; the host has asked for that, or it has not
            Some(ServeEnd::Over(error)) if !ended_by_host(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn ended_by_host(error: &HostError) -> bool {
    error.is(ErrorReason::SessionClosed) || error.is(ErrorReason::HostStopping)
}

async fn feed_until(
    host: Host,
    book: Arc<WorkBook>,
    feed: Arc<Feed>,
    log: Log,
    cancel: CancellationToken,
) {
    let why = templates::feed(&host, book, feed, log.clone(), cancel.clone()).await;
    if !cancel.is_cancelled() {
        log.info("no more templates", &[("why", &why)]);
    }
}

/// The configuration, once it can be judged: an address is of one network, and the host may not have reached its node yet.
async fn configure(host: &Host, log: &Log) -> Result<(Config, String), Failure> {
    let mut network = host.context().network.clone();
    let mut told = false;
    loop {
        match Config::parse(host.config_json(), &network) {
            Ok(config) => return Ok((config, network)),
            Err(error) if network != UNKNOWN_NETWORK => return Err(error.into()),
            // what is wrong on every network is wrong now
            Err(error)
                if ["main", "test", "regtest"]
                    .iter()
                    .all(|known| Config::parse(host.config_json(), known).is_err()) =>
            {
                return Err(error.into());
            }
            Err(_) => {}
        }
        if !told {
            log.info(
                "waiting for the node: its network decides whether the payout address is right",
                &[],
            );
            told = true;
        }
        host.starting(
            0,
            "waiting for the node, whose network the payout address must belong to",
        )
        .await?;
        tokio::time::sleep(NETWORK_POLL).await;
        network = host.present_context().await?.network;
    }
}

/// Listens on all addresses of both families, IPv4 alone where there is no IPv6.
async fn listen(port: u16, authority: Authority, limits: Limits) -> Result<Listener, Failure> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match Listener::bind(both, authority, limits).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(Failure::Port { port, error })
        }
        Err(_) => {
            let one = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            Listener::bind(one, authority, limits)
                .await
                .map_err(|error| Failure::Port { port, error })
        }
    }
}
