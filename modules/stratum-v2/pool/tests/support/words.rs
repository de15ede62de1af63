//! What a miner hears, in few words.

use stratum_core::parsers_sv2::MiningOwned;

use super::{Job, Peer, Rig};

/// A message in few words: `job CHANNEL future|now`, `tip CHANNEL`, or its name.
pub fn word(message: &MiningOwned) -> String {
    match message {
        MiningOwned::NewMiningJob(job) => {
            format!("job {} {}", job.channel_id, when(&job.min_ntime))
        }
        MiningOwned::NewExtendedMiningJob(job) => {
            format!("extended-job {} {}", job.channel_id, when(&job.min_ntime))
        }
        MiningOwned::SetNewPrevHash(tip) => {
            format!("tip {} {}", tip.channel_id, tip.prev_hash.to_array()[0])
        }
        MiningOwned::OpenMiningChannelError(error) => {
            format!("open-error {}", error.error_code.as_utf8_or_hex())
        }
        MiningOwned::UpdateChannelError(error) => {
            format!("update-error {}", error.error_code.as_utf8_or_hex())
        }
        MiningOwned::SetTarget(message) => format!("target {}", message.channel_id),
        MiningOwned::SetCustomMiningJobError(error) => {
            format!("custom-error {}", error.error_code.as_utf8_or_hex())
        }
        other => other.to_string(),
    }
}

fn when(min_ntime: &stratum_core::binary_sv2::Sv2OptionOwned<u32>) -> &'static str {
    if min_ntime.clone().into_inner().is_none() {
        "future"
    } else {
        "now"
    }
}

pub async fn words(peer: &mut Peer, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(word(&peer.next_mining().await));
    }
    words
}

/// Reads a job and, when it is a future one, the tip that activates it.
pub async fn next_work(peer: &mut Peer, rig: &mut Rig) {
    rig.job = match peer.next_mining().await {
        MiningOwned::NewExtendedMiningJob(job) => Job::Extended(job),
        MiningOwned::NewMiningJob(job) => Job::Standard(job),
        other => panic!("{other}"),
    };
    let future = match &rig.job {
        Job::Extended(job) => when(&job.min_ntime) == "future",
        Job::Standard(job) => when(&job.min_ntime) == "future",
    };
    if future {
        let MiningOwned::SetNewPrevHash(tip) = peer.next_mining().await else {
            panic!("no tip")
        };
        assert_eq!(tip.job_id, rig.job.id());
        rig.tip = tip;
    }
}
