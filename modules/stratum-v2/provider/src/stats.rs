//! Who is connected, for people and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use work::Constraints;

/// One client as it is now. Texts are its own words, at most 255 bytes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStats {
    pub peer: SocketAddr,
    pub vendor: String,
    pub hardware_version: String,
    pub firmware: String,
    pub device_id: String,
    pub connected_unix_ms: u64,
    /// What its coinbase outputs need; none before it said so.
    pub constraints: Option<Constraints>,
    pub templates_sent: u64,
    /// Requests for transactions that were answered with them.
    pub transactions_sent: u64,
    /// Solutions that were blocks.
    pub blocks: u64,
    /// Solutions that were not.
    pub rejected: u64,
}

/// All clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// In the order in which they came.
    pub clients: Vec<ClientStats>,
}

/// Clients by number; no more than there may be connections.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: Mutex<(u64, BTreeMap<u64, ClientStats>)>,
}

impl Registry {
    pub fn enter(&self, peer: SocketAddr, setup: wire::Setup) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let client = ClientStats {
            peer,
            vendor: setup.vendor,
            hardware_version: setup.hardware_version,
            firmware: setup.firmware,
            device_id: setup.device_id,
            connected_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            constraints: None,
            templates_sent: 0,
            transactions_sent: 0,
            blocks: 0,
            rejected: 0,
        };
        let (last, clients) = &mut *self.lock();
        *last += 1;
        clients.insert(*last, client);
        *last
    }

    pub fn change(&self, number: u64, change: impl FnOnce(&mut ClientStats)) {
        if let Some(client) = self.lock().1.get_mut(&number) {
            change(client);
        }
    }

    pub fn leave(&self, number: u64) {
        self.lock().1.remove(&number);
    }

    pub fn snapshot(&self) -> Vec<ClientStats> {
        self.lock().1.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, ClientStats>)> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
