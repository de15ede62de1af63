//! A pool at a real port with books in memory, and a miner that hashes.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

#[path = "../../../wire/tests/support/mod.rs"]
pub mod peer;

mod ledger;
mod rig;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use pool::{Pool, PoolConfig};
use stratum_core::bitcoin::ScriptBuf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::{Authority, Counters, Limits, Listener};
use work::{NodeTemplate, NodeTip, WorkBook, WorkOptions};

pub use ledger::{Ledger, Mode};
pub use peer::{Dice, PATIENCE, Peer, raw, until};
pub use rig::{Job, Rig, extended, open_extended, open_standard, standard, verdict};
pub use words::{next_work, word, words};

/// Difficulty 1: no hash of these tests is a block.
pub const HARD: u32 = 0x1d00_ffff;
/// Regtest: every second hash is a block.
pub const EASY: u32 = 0x207f_ffff;

pub fn tip(number: u8, bits: u32) -> NodeTip {
    NodeTip {
        previous_hash: [number; 32],
        bits,
        height: 100 + u32::from(number),
        min_time_unix_s: 1_700_000_000,
        coinbase_value_sats: 5_000_000_000,
    }
}

/// A template of that tip that differs from others by its version.
pub fn template(number: u8, bits: u32, version: i32) -> NodeTemplate {
    NodeTemplate {
        tip: tip(number, bits),
        version,
        current_time_unix_s: 1_700_000_000,
        witness_commitment_script: vec![],
        transactions: vec![],
        weight_limit: 4_000_000,
        sigop_limit: 80_000,
    }
}

/// A pool and all around it.
pub struct House {
    pub pool: Pool,
    pub book: Arc<WorkBook>,
    pub ledger: Arc<Ledger>,
    pub payout: watch::Sender<ScriptBuf>,
    pub address: SocketAddr,
    pub authority: String,
    pub counters: Arc<Counters>,
    pub shutdown: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Every second hash is a share.
pub fn config() -> PoolConfig {
    PoolConfig {
        shares_per_minute: 60.0,
        min_hashrate: 1.0,
        ..PoolConfig::new("modhost", [9, 9, 9, 9])
    }
}

pub async fn house(config: PoolConfig) -> House {
    let limits = Limits {
        connections_per_ip: 1_000,
        ..config.limits()
    };
    house_with(config, limits).await
}

pub async fn house_with(config: PoolConfig, limits: Limits) -> House {
    let book = Arc::new(WorkBook::new(WorkOptions::default()));
    let ledger = Arc::new(Ledger::default());
    let payout = watch::Sender::new(ScriptBuf::from_bytes(vec![0x51]));
    let pool = Pool::new(book.watch(), payout.subscribe(), ledger.clone(), config).unwrap();
    let authority = Authority::generate();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), authority, limits)
        .await
        .unwrap();
    let (address, counters) = (listener.address(), listener.counters());
    let shutdown = CancellationToken::new();
    let served = tokio::spawn({
        let (pool, shutdown) = (pool.clone(), shutdown.clone());
        async move { pool.serve(listener, shutdown).await }
    });
    House {
        pool,
        book,
        ledger,
        payout,
        address,
        authority: authority.public_key(),
        counters,
        shutdown,
        served,
    }
}

impl House {
    pub fn tip(&self, number: u8, bits: u32) {
        self.book.on_tip(tip(number, bits), Instant::now()).unwrap();
    }

    pub fn template(&self, number: u8, bits: u32, version: i32) {
        self.book
            .on_template(template(number, bits, version), Instant::now())
            .unwrap();
    }

    pub async fn peer(&self) -> Peer {
        Peer::connect(self.address, &self.authority).await.unwrap()
    }

    /// A peer after SetupConnection.
    pub async fn miner(&self) -> Peer {
        self.miner_with(0).await
    }

    pub async fn miner_with(&self, flags: u32) -> Peer {
        let mut peer = self.peer().await;
        assert_eq!(peer.setup(|message| message.flags = flags).await, "ok 0");
        peer
    }
}
