//! Shares: what counts, what does not, and what the miner is told of it.

mod support;

use std::time::Duration;

use pool::PoolConfig;
use stratum_core::bitcoin::Target;
use stratum_core::parsers_sv2::MiningOwned;
use support::{EASY, HARD, Mode, Rig, config, extended, house, standard, until, verdict};

/// Changes a share in one way.
fn changed(
    share: MiningOwned,
    change: impl Fn(&mut u32, &mut u32, &mut u32, &mut u32),
) -> MiningOwned {
    match share {
        MiningOwned::SubmitSharesExtended(mut s) => {
            change(
                &mut s.channel_id,
                &mut s.job_id,
                &mut s.version,
                &mut s.ntime,
            );
            MiningOwned::SubmitSharesExtended(s)
        }
        MiningOwned::SubmitSharesStandard(mut s) => {
            change(
                &mut s.channel_id,
                &mut s.job_id,
                &mut s.version,
                &mut s.ntime,
            );
            MiningOwned::SubmitSharesStandard(s)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn writes_a_share_down_before_it_acknowledges_it() {
    let house = house(config()).await;
    house.tip(1, HARD);
    for kind in ["extended", "standard"] {
        let mut peer = house.miner().await;
        let rig = if kind == "extended" {
            extended(&mut peer, kind).await
        } else {
            standard(&mut peer, kind).await
        };
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
        let accepted = house
            .ledger
            .accepted
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap();
        assert_eq!(
            (
                accepted.miner.as_str(),
                accepted.channel_id,
                accepted.sequence_number
            ),
            (kind, rig.id, 1)
        );
        assert_eq!(accepted.job_id, rig.job.id());
        assert_eq!(accepted.work, rig.target.difficulty_float());
        assert!(Target::from_le_bytes(accepted.hash) <= rig.target);
        assert!(accepted.time_unix_ms > 1_700_000_000_000);
    }
    assert!(house.ledger.found.lock().unwrap().is_empty());
}

#[tokio::test]
async fn names_what_is_wrong_with_a_share() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    for rig in [
        extended(&mut peer, "m").await,
        standard(&mut peer, "m").await,
    ] {
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "error 1 duplicate-share");
        peer.mining(rig.share_where(2, |hash| hash > rig.target))
            .await;
        assert_eq!(verdict(&mut peer).await, "error 2 difficulty-too-low");
        peer.mining(changed(rig.share(3), |_, job_id, _, _| *job_id += 100))
            .await;
        assert_eq!(verdict(&mut peer).await, "error 3 invalid-job-id");
        peer.mining(changed(rig.share(4), |channel_id, _, _, _| {
            *channel_id += 100
        }))
        .await;
        assert_eq!(verdict(&mut peer).await, "error 4 invalid-channel-id");
        peer.mining(changed(rig.share(5), |_, _, _, ntime| *ntime -= 1))
            .await;
        assert_eq!(verdict(&mut peer).await, "error 5 invalid-share");
        peer.mining(changed(rig.share(6), |_, _, version, _| *version ^= 1))
            .await;
        assert_eq!(
            verdict(&mut peer).await,
            "error 6 invalid-non-rollable-version-bit"
        );
    }
    let rejected = house.ledger.rejected.lock().unwrap().clone();
    assert!(rejected.contains(&("m".into(), "duplicate-share".into())));
    assert!(rejected.contains(&(String::new(), "invalid-channel-id".into())));
    assert_eq!(rejected.len(), 12);
    assert_eq!(house.ledger.accepted.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn takes_no_share_of_the_other_kind_or_of_another_extranonce_size() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let (one, two) = (
        extended(&mut peer, "m").await,
        standard(&mut peer, "m").await,
    );
    peer.mining(changed(one.share(1), |channel_id, _, _, _| {
        *channel_id = two.id
    }))
    .await;
    assert_eq!(verdict(&mut peer).await, "error 1 invalid-channel-id");
    peer.mining(changed(two.share(2), |channel_id, _, _, _| {
        *channel_id = one.id
    }))
    .await;
    assert_eq!(verdict(&mut peer).await, "error 2 invalid-channel-id");
    peer.mining(one.share_of(3, 1, vec![0; 15])).await;
    assert_eq!(verdict(&mut peer).await, "error 3 bad-extranonce-size");
}

#[tokio::test]
async fn rebuilds_the_header_whatever_the_miner_hashed() {
    // one hash in 200 is a share: of another merkle root it cannot be one by chance, because the search says so
    let house = house(PoolConfig {
        min_hashrate: 200.0,
        ..config()
    })
    .await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let rig = standard(&mut peer, "m").await;
    let support::Job::Standard(job) = &rig.job else {
        panic!()
    };
    let (truth, forged) = (job.merkle_root.to_array(), [0x42; 32]);
    let nonce = (0..)
        .find(|nonce| {
            rig.hash(forged, *nonce) <= rig.target && rig.hash(truth, *nonce) > rig.target
        })
        .unwrap();
    peer.mining(rig.share_of(1, nonce, vec![])).await;
    assert_eq!(verdict(&mut peer).await, "error 1 difficulty-too-low");
}

#[tokio::test]
async fn tells_a_miner_when_a_share_could_not_be_written_down() {
    let house = house(config()).await;
    house.tip(1, HARD);
    house.ledger.mode.send_replace(Mode::Fail);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    peer.mining(rig.share(1)).await;
    assert_eq!(verdict(&mut peer).await, "error 1 share-not-recorded");
    house.ledger.mode.send_replace(Mode::Write);
    peer.mining(rig.share(2)).await;
    assert_eq!(verdict(&mut peer).await, "ok 2 1 0");
    assert_eq!(
        house.ledger.rejected.lock().unwrap().as_slice(),
        [("m".to_string(), "share-not-recorded".to_string())]
    );
    let stats = house.pool.stats();
    let channel = &stats.connections[0].channels[&rig.id];
    assert_eq!(
        (
            channel.shares_accepted,
            channel.shares_rejected["share-not-recorded"],
            channel.shares_pending
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn lets_the_miner_wait_for_slow_books_and_loses_nothing() {
    let house = house(PoolConfig {
        pending_shares: 4,
        ..config()
    })
    .await;
    house.tip(1, HARD);
    house.ledger.mode.send_replace(Mode::Hold);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    for sequence in 1..=200 {
        peer.mining(rig.share(sequence)).await;
    }
    until("four begun", || house.ledger.begun() == 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.ledger.begun(), 4);
    assert_eq!(
        house.pool.stats().connections[0].channels[&rig.id].shares_pending,
        4
    );
    // jobs still go out
    house.template(1, HARD, 0x2000_0004);
    assert!(matches!(
        peer.next_mining().await,
        MiningOwned::NewExtendedMiningJob(_)
    ));
    house.ledger.mode.send_replace(Mode::Write);
    let (mut count, mut last) = (0, 0);
    while count < 200 {
        let answer = verdict(&mut peer).await;
        let numbers: Vec<u32> = answer
            .split(' ')
            .skip(1)
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(
            answer.starts_with("ok") && numbers[0] > last,
            "{answer} after {last}"
        );
        (last, count) = (numbers[0], count + numbers[1]);
    }
    assert_eq!((last, count), (200, 200));
    assert_eq!(house.ledger.accepted.lock().unwrap().len(), 200);
}

#[tokio::test]
async fn hands_a_block_over_before_anything_is_written_down() {
    for flags in [0, 1] {
        let house = house(config()).await;
        house.tip(1, EASY);
        house.ledger.mode.send_replace(Mode::Hold);
        let mut peer = house.miner_with(flags).await;
        let rig: Rig = if flags == 0 {
            extended(&mut peer, "m").await
        } else {
            standard(&mut peer, "m").await
        };
        peer.mining(rig.share(1)).await;
        until("found", || house.ledger.found.lock().unwrap().len() == 1).await;
        assert!(house.ledger.accepted.lock().unwrap().is_empty());
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "error 1 duplicate-share");
        house.ledger.mode.send_replace(Mode::Write);
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
        let found = house.ledger.found.lock().unwrap().clone();
        assert_eq!((found.len(), found[0].miner.as_str()), (1, "m"));
        let block = house.book.solve(&found[0].solution).expect("a block");
        assert_eq!(block.hash, house.ledger.accepted.lock().unwrap()[0].hash);
        let tag = b"Sv2/modhost//";
        assert!(block.raw.windows(tag.len()).any(|window| window == tag));
        let stats = house.pool.stats();
        assert_eq!(
            (
                stats.blocks_found,
                stats.connections[0].channels[&rig.id].blocks_found
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn answers_for_shares_under_way_before_it_shuts_down() {
    let mut house = house(config()).await;
    house.tip(1, HARD);
    house.ledger.mode.send_replace(Mode::Hold);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    peer.mining(rig.share(1)).await;
    until("begun", || house.ledger.begun() == 1).await;
    house.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.ledger.mode.send_replace(Mode::Write);
    assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    assert!(peer.next().await.is_none());
    (&mut house.served).await.unwrap();
    assert!(house.ledger.heard("disconnected shutdown"));
    assert!(house.ledger.heard("channels m 0"));
}

#[tokio::test]
async fn finishes_what_it_began_to_write_for_a_miner_that_left() {
    let house = house(config()).await;
    house.tip(1, HARD);
    house.ledger.mode.send_replace(Mode::Hold);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    peer.mining(rig.share(1)).await;
    until("begun", || house.ledger.begun() == 1).await;
    drop(peer);
    until("left", || house.ledger.heard("disconnected peer-closed")).await;
    house.ledger.mode.send_replace(Mode::Write);
    until("written", || {
        house.ledger.accepted.lock().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn closes_a_channel_in_which_duplicates_can_no_longer_be_told_apart() {
    // what channels_sv2 remembers at least, and a miner that never gets a new tip
    const REMEMBERED: u32 = 4_096;
    let house = house(PoolConfig {
        shares_per_minute: 3.0,
        ..config()
    })
    .await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    let mut shares = (0..).map(|nonce| (nonce, rig.share_of(nonce, nonce, vec![3; 16])));
    let mut submitted = 0;
    let closed = loop {
        while submitted <= REMEMBERED {
            let (nonce, share) = shares.next().unwrap();
            if rig.meets(nonce) {
                peer.mining(share).await;
                submitted += 1;
            }
        }
        match peer.next_mining().await {
            MiningOwned::SubmitSharesSuccess(_) => {}
            other => break other,
        }
    };
    let MiningOwned::CloseChannel(closed) = closed else {
        panic!("{closed}")
    };
    assert_eq!(
        (
            closed.channel_id,
            closed.reason_code.as_utf8_or_hex().as_str()
        ),
        (rig.id, "too-many-shares")
    );
    until("all written", || {
        house.ledger.accepted.lock().unwrap().len() == REMEMBERED as usize
    })
    .await;
    // a channel of its own begins anew, with another extranonce
    let again = extended(&mut peer, "m").await;
    assert_ne!(again.prefix, rig.prefix);
}
