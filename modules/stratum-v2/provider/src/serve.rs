//! The provider as a whole: takes connections and gives each a task.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Listener;
use work::WorkBook;

use crate::config::{ConfigError, ProviderConfig};
use crate::session;
use crate::solutions::{HandedOver, Solutions};
use crate::stats::{Registry, Stats};

/// What all clients' tasks share.
pub(crate) struct Shared {
    pub config: ProviderConfig,
    pub book: Arc<WorkBook>,
    pub solutions: Arc<dyn Solutions>,
    pub handed_over: HandedOver,
    pub registry: Registry,
    /// Solutions that are being handed over.
    pub handing_over: TaskTracker,
}

/// A template provider: serves clients on one listener or several, all from the same book. Cheap to clone.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

impl Provider {
    /// A provider that serves nobody yet. The book may be without work for now.
    pub fn new(
        book: Arc<WorkBook>,
        solutions: Arc<dyn Solutions>,
        config: ProviderConfig,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let shared = Shared {
            config,
            book,
            solutions,
            handed_over: HandedOver::default(),
            registry: Registry::default(),
            handing_over: TaskTracker::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Serves the clients of a listener (made with [`ProviderConfig::limits`]) until the token is cancelled; then waits for
    /// solutions that are being handed over, and closes all connections, each within [`ProviderConfig::drain`].
    pub async fn serve(&self, mut listener: Listener, shutdown: CancellationToken) {
        let sessions = TaskTracker::new();
        loop {
            let connection = tokio::select! {
                connection = listener.accept() => connection,
                () = shutdown.cancelled() => break,
            };
            let Some(connection) = connection else { break };
            sessions.spawn(session::serve(
                self.shared.clone(),
                connection,
                shutdown.clone(),
            ));
        }
        // the listener stays until here: dropping it cuts its connections
        sessions.close();
        let _ = timeout(self.shared.config.drain, sessions.wait()).await;
        self.shared.handing_over.close();
        let _ = timeout(self.shared.config.drain, self.shared.handing_over.wait()).await;
        self.shared.handing_over.reopen();
    }

    /// All clients as they are now.
    pub fn stats(&self) -> Stats {
        Stats {
            clients: self.shared.registry.snapshot(),
        }
    }
}
