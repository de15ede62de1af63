//! What is to be mined on a channel, and the grinding itself.

use stratum_core::bitcoin::hashes::{Hash, sha256d};

use crate::bytes::{Reader, Short};

/// Where the merkle root of a job comes from.
#[derive(Debug, Clone)]
pub enum Root {
    /// Standard channels are given it.
    Given([u8; 32]),
    /// Extended channels make it from the coinbase.
    Made {
        path: Vec<[u8; 32]>,
        prefix: Vec<u8>,
        suffix: Vec<u8>,
    },
}

/// A job as the pool sent it.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: u32,
    /// Absent for a job that waits for its tip.
    pub min_ntime: Option<u32>,
    pub version: u32,
    pub root: Root,
}

impl Job {
    /// Channel and job of a NewExtendedMiningJob.
    pub fn extended(payload: &[u8]) -> Result<(u32, Self), Short> {
        let mut from = Reader::new(payload);
        let (channel, id, min_ntime, version) =
            (from.u32()?, from.u32()?, from.optional_u32()?, from.u32()?);
        let _version_rolling_allowed = from.u8()?;
        let steps = from.u8()?;
        let path = (0..steps).map(|_| from.hash()).collect::<Result<_, _>>()?;
        let root = Root::Made {
            path,
            prefix: from.long()?.to_vec(),
            suffix: from.long()?.to_vec(),
        };
        Ok((
            channel,
            Self {
                id,
                min_ntime,
                version,
                root,
            },
        ))
    }

    /// Channel and job of a NewMiningJob.
    pub fn standard(payload: &[u8]) -> Result<(u32, Self), Short> {
        let mut from = Reader::new(payload);
        let (channel, id, min_ntime, version) =
            (from.u32()?, from.u32()?, from.optional_u32()?, from.u32()?);
        Ok((
            channel,
            Self {
                id,
                min_ntime,
                version,
                root: Root::Given(from.hash()?),
            },
        ))
    }

    fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        match &self.root {
            Root::Given(root) => *root,
            Root::Made {
                path,
                prefix,
                suffix,
            } => {
                let coinbase = [prefix.as_slice(), extranonce, suffix.as_slice()].concat();
                let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
                path.iter().fold(txid, |left, right| {
                    sha256d::Hash::hash(&[left, *right].concat()).to_byte_array()
                })
            }
        }
    }
}

/// The block that work stands on.
#[derive(Debug, Clone)]
pub struct Tip {
    pub previous_hash: [u8; 32],
    pub min_ntime: u32,
    pub bits: u32,
}

/// A header whose hash meets the target.
#[derive(Debug, Clone)]
pub struct Found {
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    /// Internal byte order.
    pub hash: [u8; 32],
}

/// Tries nonces from `first` on, `tries` of them; the target is little-endian, as hashes are.
pub fn grind(
    job: &Job,
    tip: &Tip,
    extranonce: &[u8],
    target: &[u8; 32],
    first: u32,
    tries: u32,
) -> Option<Found> {
    let ntime = tip.min_ntime.max(job.min_ntime.unwrap_or(0));
    let mut header = [0_u8; 80];
    header[..4].copy_from_slice(&job.version.to_le_bytes());
    header[4..36].copy_from_slice(&tip.previous_hash);
    header[36..68].copy_from_slice(&job.merkle_root(extranonce));
    header[68..72].copy_from_slice(&ntime.to_le_bytes());
    header[72..76].copy_from_slice(&tip.bits.to_le_bytes());
    (0..tries)
        .map(|step| first.wrapping_add(step))
        .find_map(|nonce| {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            let hash = sha256d::Hash::hash(&header).to_byte_array();
            meets(&hash, target).then_some(Found {
                job_id: job.id,
                nonce,
                ntime,
                version: job.version,
                hash,
            })
        })
}

/// Whether a hash is at most the target, both little-endian.
pub fn meets(hash: &[u8; 32], target: &[u8; 32]) -> bool {
    hash.iter().rev().le(target.iter().rev())
}

/// Hex in display order, the reverse of what headers hold.
pub fn display(hash: &[u8; 32]) -> String {
    hash.iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_as_little_endian_numbers() {
        let mut small = [0xff; 32];
        small[31] = 0;
        let mut large = [0; 32];
        large[31] = 1;
        assert!(meets(&small, &large) && !meets(&large, &small) && meets(&large, &large));
    }

    #[test]
    fn makes_the_genesis_block_of_regtest() {
        // Header of regtest's genesis block: merkle root in internal order, nonce 2.
        let root: [u8; 32] = [
            0x3b, 0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76,
            0x8f, 0x61, 0x7f, 0xc8, 0x1b, 0xc3, 0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa,
            0x4b, 0x1e, 0x5e, 0x4a,
        ];
        let job = Job {
            id: 1,
            min_ntime: None,
            version: 1,
            root: Root::Given(root),
        };
        let tip = Tip {
            previous_hash: [0; 32],
            min_ntime: 1_296_688_602,
            bits: 0x207f_ffff,
        };
        let mut target = [0xff; 32];
        target[31] = 0x7f;
        let found = grind(&job, &tip, &[], &target, 2, 1).expect("nonce 2 solves it");
        assert_eq!(
            display(&found.hash),
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
        );
    }
}
