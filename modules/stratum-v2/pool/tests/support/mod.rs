//! A pool at a real port with books in memory, and a miner that hashes.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

#[path = "../../../wire/tests/support/mod.rs"]
pub mod peer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pool::{AcceptedShare, Books, BooksError, FoundBlock, Pool, PoolConfig};
use stratum_core::bitcoin::block::{Header, Version};
use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{BlockHash, CompactTarget, ScriptBuf, Target, TxMerkleNode};
use stratum_core::channels_sv2::merkle_root::merkle_root_from_path;
use stratum_core::mining_sv2::{
    NewExtendedMiningJobOwned, NewMiningJobOwned, OpenExtendedMiningChannelOwned,
    OpenStandardMiningChannelOwned, SetNewPrevHashOwned, SubmitSharesExtendedOwned,
    SubmitSharesStandardOwned,
};
use stratum_core::parsers_sv2::MiningOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::{Authority, Counters, Limits, Listener};
use work::{NodeTemplate, NodeTip, WorkBook, WorkOptions};

pub use peer::{Dice, PATIENCE, Peer, raw, until};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Write,
    Fail,
    Hold,
}

/// Books in memory.
pub struct Ledger {
    pub mode: watch::Sender<Mode>,
    pub begun: Mutex<u32>,
    pub accepted: Mutex<Vec<AcceptedShare>>,
    pub rejected: Mutex<Vec<(String, String)>>,
    pub found: Mutex<Vec<FoundBlock>>,
    /// `connected`, `disconnected REASON`, `channels MINER N`, `job TEMPLATE HEIGHT`.
    pub events: Mutex<Vec<String>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            mode: watch::Sender::new(Mode::Write),
            begun: Mutex::default(),
            accepted: Mutex::default(),
            rejected: Mutex::default(),
            found: Mutex::default(),
            events: Mutex::default(),
        }
    }
}

impl Ledger {
    fn event(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    pub fn begun(&self) -> u32 {
        *self.begun.lock().unwrap()
    }

    pub fn heard(&self, event: &str) -> bool {
        self.events
            .lock()
            .unwrap()
            .iter()
            .any(|heard| heard == event)
    }
}

#[async_trait::async_trait]
impl Books for Ledger {
    async fn accepted(&self, share: AcceptedShare) -> Result<(), BooksError> {
        *self.begun.lock().unwrap() += 1;
        let mut mode = self.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        if mode == Mode::Fail {
            return Err(BooksError("disk full".into()));
        }
        self.accepted.lock().unwrap().push(share);
        Ok(())
    }

    fn rejected(&self, miner: &str, code: &str) {
        self.rejected
            .lock()
            .unwrap()
            .push((miner.into(), code.into()));
    }

    async fn found(&self, block: FoundBlock) -> Result<(), BooksError> {
        self.found.lock().unwrap().push(block);
        Ok(())
    }

    fn connected(&self, _: SocketAddr) {
        self.event("connected".into());
    }

    fn disconnected(&self, _: SocketAddr, reason: &'static str) {
        self.event(format!("disconnected {reason}"));
    }

    fn channels(&self, miner: &str, open: u32) {
        self.event(format!("channels {miner} {open}"));
    }

    fn job_created(&self, template_id: u64, _: [u8; 32], height: u32) {
        self.event(format!("job {template_id} {height}"));
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

/// An open channel as its miner knows it.
#[derive(Clone)]
pub struct Rig {
    pub id: u32,
    pub prefix: Vec<u8>,
    pub rolled: usize,
    pub target: Target,
    pub job: Job,
    pub tip: SetNewPrevHashOwned,
}

#[derive(Clone, Debug)]
pub enum Job {
    Standard(NewMiningJobOwned),
    Extended(NewExtendedMiningJobOwned),
}

impl Job {
    pub fn id(&self) -> u32 {
        match self {
            Job::Standard(job) => job.job_id,
            Job::Extended(job) => job.job_id,
        }
    }
}

pub fn open_extended(name: &str) -> OpenExtendedMiningChannelOwned {
    OpenExtendedMiningChannelOwned {
        request_id: 7,
        user_identity: name.to_string().try_into().unwrap(),
        nominal_hash_rate: 1.0,
        max_target: [0xff; 32].into(),
        min_extranonce_size: 8,
    }
}

pub fn open_standard(name: &str) -> OpenStandardMiningChannelOwned {
    OpenStandardMiningChannelOwned {
        request_id: 7,
        user_identity: name.to_string().try_into().unwrap(),
        nominal_hash_rate: 1.0,
        max_target: [0xff; 32].into(),
    }
}

/// Opens an extended channel and reads its first job and tip.
pub async fn extended(peer: &mut Peer, name: &str) -> Rig {
    peer.mining(MiningOwned::OpenExtendedMiningChannel(open_extended(name)))
        .await;
    let MiningOwned::OpenExtendedMiningChannelSuccess(opened) = peer.next_mining().await else {
        panic!("not opened")
    };
    assert_eq!((opened.request_id, opened.extranonce_size), (7, 16));
    let target = Target::from_le_bytes(opened.target.to_array());
    let (job, tip) = first_job(peer, opened.channel_id).await;
    let prefix = opened.extranonce_prefix.to_owned_bytes();
    Rig {
        id: opened.channel_id,
        prefix,
        rolled: 16,
        target,
        job,
        tip,
    }
}

/// Opens a standard channel and reads its first job and tip.
pub async fn standard(peer: &mut Peer, name: &str) -> Rig {
    peer.mining(MiningOwned::OpenStandardMiningChannel(open_standard(name)))
        .await;
    let MiningOwned::OpenStandardMiningChannelSuccess(opened) = peer.next_mining().await else {
        panic!("not opened")
    };
    let target = Target::from_le_bytes(opened.target.to_array());
    let (job, tip) = first_job(peer, opened.channel_id).await;
    let prefix = opened.extranonce_prefix.to_owned_bytes();
    Rig {
        id: opened.channel_id,
        prefix,
        rolled: 0,
        target,
        job,
        tip,
    }
}

async fn first_job(peer: &mut Peer, channel_id: u32) -> (Job, SetNewPrevHashOwned) {
    let (job, addressee, future) = match peer.next_mining().await {
        MiningOwned::NewMiningJob(job) => (
            Job::Standard(job.clone()),
            job.channel_id,
            job.min_ntime.clone().into_inner().is_none(),
        ),
        MiningOwned::NewExtendedMiningJob(job) => (
            Job::Extended(job.clone()),
            job.channel_id,
            job.min_ntime.clone().into_inner().is_none(),
        ),
        other => panic!("{other}"),
    };
    let MiningOwned::SetNewPrevHash(tip) = peer.next_mining().await else {
        panic!("no tip")
    };
    assert_eq!(
        (addressee, future, tip.channel_id, tip.job_id),
        (channel_id, true, channel_id, job.id())
    );
    (job, tip)
}

impl Rig {
    fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        match &self.job {
            Job::Standard(job) => job.merkle_root.to_array(),
            Job::Extended(job) => {
                let all = [self.prefix.as_slice(), extranonce].concat();
                let (prefix, suffix) = (
                    job.coinbase_tx_prefix.to_owned_bytes(),
                    job.coinbase_tx_suffix.to_owned_bytes(),
                );
                merkle_root_from_path(&prefix, &suffix, &all, job.merkle_path.as_slice()).unwrap()
            }
        }
    }

    fn version(&self) -> u32 {
        match &self.job {
            Job::Standard(job) => job.version,
            Job::Extended(job) => job.version,
        }
    }

    pub fn hash(&self, merkle_root: [u8; 32], nonce: u32) -> Target {
        let header = Header {
            version: Version::from_consensus(self.version() as i32),
            prev_blockhash: BlockHash::from_byte_array(self.tip.prev_hash.to_array()),
            merkle_root: TxMerkleNode::from_byte_array(merkle_root),
            time: self.tip.min_ntime,
            bits: CompactTarget::from_consensus(self.tip.nbits),
            nonce,
        };
        Target::from_le_bytes(header.block_hash().to_byte_array())
    }

    /// Whether the share of [`Rig::share_of`] with this nonce and an extranonce of threes meets the target.
    pub fn meets(&self, nonce: u32) -> bool {
        self.hash(self.merkle_root(&vec![3; self.rolled]), nonce) <= self.target
    }

    /// A share whose hash is as wanted; different sequence numbers make different shares.
    pub fn share_where(
        &self,
        sequence_number: u32,
        wanted: impl Fn(Target) -> bool,
    ) -> MiningOwned {
        let extranonce = vec![3; self.rolled];
        let root = self.merkle_root(&extranonce);
        let start = sequence_number.wrapping_mul(100_000);
        let nonce = (start..=u32::MAX)
            .find(|nonce| wanted(self.hash(root, *nonce)))
            .unwrap();
        self.share_of(sequence_number, nonce, extranonce)
    }

    pub fn share_of(&self, sequence_number: u32, nonce: u32, extranonce: Vec<u8>) -> MiningOwned {
        let (channel_id, job_id, ntime, version) =
            (self.id, self.job.id(), self.tip.min_ntime, self.version());
        match &self.job {
            Job::Standard(_) => MiningOwned::SubmitSharesStandard(SubmitSharesStandardOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Job::Extended(_) => MiningOwned::SubmitSharesExtended(SubmitSharesExtendedOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.try_into().unwrap(),
            }),
        }
    }

    /// A share that meets the channel's target.
    pub fn share(&self, sequence_number: u32) -> MiningOwned {
        self.share_where(sequence_number, |hash| hash <= self.target)
    }
}

/// The answer to a share as text: `ok LAST COUNT SUM` or `error SEQUENCE CODE`.
pub async fn verdict(peer: &mut Peer) -> String {
    loop {
        match peer.next_mining().await {
            MiningOwned::SubmitSharesSuccess(ok) => {
                return format!(
                    "ok {} {} {}",
                    ok.last_sequence_number, ok.new_submits_accepted_count, ok.new_shares_sum
                );
            }
            MiningOwned::SubmitSharesError(error) => {
                return format!(
                    "error {} {}",
                    error.sequence_number,
                    error.error_code.as_utf8_or_hex()
                );
            }
            MiningOwned::SetTarget(_) => {}
            // a better template: late shares of the one before still count
            MiningOwned::NewExtendedMiningJob(job)
                if job.min_ntime.clone().into_inner().is_some() => {}
            other => panic!("{other}"),
        }
    }
}
