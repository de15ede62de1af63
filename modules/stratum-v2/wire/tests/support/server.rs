//! A role that lets peers through SetupConnection, at a real port.

use std::sync::Arc;

use stratum_core::common_messages_sv2::Protocol;
use wire::{Authority, CloseReason, Connection, Counters, Limits, Listener, SetupPolicy};

use super::{Peer, until};

/// What the role of these tests lets through.
const POLICY: SetupPolicy = SetupPolicy {
    protocol: Protocol::MiningProtocol,
    supported_flags: 0b101,
    success_flags: 0,
};

pub struct Server {
    pub address: std::net::SocketAddr,
    pub authority: String,
    pub counters: Arc<Counters>,
    pub task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A role that lets peers through SetupConnection, and then does with them as told.
pub async fn serve<F>(
    limits: Limits,
    role: impl Fn(Connection) -> F + Send + Sync + 'static,
) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::generate();
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap(), authority, limits)
        .await
        .unwrap();
    let (address, counters) = (listener.address(), listener.counters());
    let role = Arc::new(role);
    let task = tokio::spawn(async move {
        while let Some(mut connection) = listener.accept().await {
            let role = role.clone();
            tokio::spawn(async move {
                match connection.setup(POLICY).await {
                    Ok(_) => role(connection).await,
                    Err(reason) => {
                        connection.close(reason).await;
                    }
                }
            });
        }
    });
    Server {
        address,
        authority: authority.public_key(),
        counters,
        task,
    }
}

/// Reads until the connection ends.
pub async fn listen(mut connection: Connection) {
    loop {
        if let Err(reason) = connection.next().await {
            connection.close(reason).await;
            return;
        }
    }
}

impl Server {
    pub async fn peer(&self) -> Peer {
        Peer::connect(self.address, &self.authority).await.unwrap()
    }

    pub async fn ready(&self) -> Peer {
        let mut peer = self.peer().await;
        assert_eq!(peer.setup(|_| ()).await, "ok 0");
        peer
    }

    /// One connection ended for this reason, and no other one.
    pub async fn ended(&self, reason: CloseReason) {
        until(reason.as_str(), || {
            self.counters.closed(reason) == 1 && self.counters.open() == 0
        })
        .await;
        let total: u64 = self
            .counters
            .snapshot()
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!(total, 1, "{:?}", self.counters.snapshot());
    }
}
