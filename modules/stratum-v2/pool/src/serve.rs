//! The pool as a whole: takes connections and gives each a task.

use std::sync::Arc;

use stratum_core::bitcoin::ScriptBuf;
use stratum_core::channels_sv2::extranonce_manager::ExtranonceAllocator;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Listener;
use work::Work;

use crate::config::{CHANNEL_NUMBERS, ConfigError, EXTRANONCE_BYTES, PoolConfig};
use crate::session;
use crate::shared::Shared;
use crate::{Books, Stats};

/// A pool: serves miners on one listener or several, all from the same work into the same books. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool that serves nobody yet.
    ///
    /// `work`: what is to be mined, followed to its newest value; none for now is fine. `payout`: the scriptPubKey that gets
    /// all that a coinbase may pay; a new one holds from the next job on, which it brings about.
    pub fn new(
        work: watch::Receiver<Option<Arc<Work>>>,
        payout: watch::Receiver<ScriptBuf>,
        books: Arc<dyn Books>,
        config: PoolConfig,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let extranonces = ExtranonceAllocator::new(
            config.server_prefix.to_vec(),
            EXTRANONCE_BYTES,
            CHANNEL_NUMBERS,
        )
        .expect("the widths are constants that fit each other");
        Ok(Self {
            shared: Arc::new(Shared::new(config, books, work, payout, extranonces)),
        })
    }

    /// Serves the peers of a listener (made with [`PoolConfig::limits`]) until the token is cancelled; then answers for shares
    /// that are being written down, waits for blocks that are being handed over, and closes all connections, each within
    /// [`PoolConfig::drain`].
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
        let patience = self.shared.config.drain * 2;
        let _ = timeout(patience, sessions.wait()).await;
        self.shared.tasks.close();
        let _ = timeout(self.shared.config.drain, self.shared.tasks.wait()).await;
        self.shared.tasks.reopen();
    }

    /// All connections and channels as they are now.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.shared.registry.snapshot(),
            jobs_created: self.shared.jobs_created(),
            blocks_found: self.shared.blocks_found(),
        }
    }
}
