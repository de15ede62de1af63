//! A miner that hashes.

use stratum_core::bitcoin::block::{Header, Version};
use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode};
use stratum_core::channels_sv2::merkle_root::merkle_root_from_path;
use stratum_core::mining_sv2::{
    NewExtendedMiningJobOwned, NewMiningJobOwned, OpenExtendedMiningChannelOwned,
    OpenStandardMiningChannelOwned, SetNewPrevHashOwned, SubmitSharesExtendedOwned,
    SubmitSharesStandardOwned,
};
use stratum_core::parsers_sv2::MiningOwned;

use super::Peer;

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
