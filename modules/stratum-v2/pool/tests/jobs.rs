//! The work that channels are given, and its order.

mod support;

use std::time::Duration;

use pool::PoolConfig;
use stratum_core::bitcoin::ScriptBuf;
use stratum_core::parsers_sv2::MiningOwned;
use support::{
    HARD, Job, config, extended, house, next_work, open_extended, standard, until, verdict, words,
};

#[tokio::test]
async fn gives_a_group_one_job_and_one_tip_in_the_order_that_it_needs() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let mut one = extended(&mut peer, "m").await;
    let two = standard(&mut peer, "m").await;
    assert_ne!(one.prefix, two.prefix[..7]);
    house.template(1, HARD, 0x2000_0002);
    assert_eq!(words(&mut peer, 1).await, ["extended-job 1 now"]);
    house.tip(2, HARD);
    house.template(2, HARD, 0x2000_0006);
    // the template may have come before the pool has looked: then it is a third message
    let old = one.share(1);
    next_work(&mut peer, &mut one).await;
    assert_eq!(
        (one.tip.channel_id, one.tip.prev_hash.to_array()[0]),
        (1, 2)
    );
    assert_eq!(words(&mut peer, 1).await, ["extended-job 1 now"]);
    peer.mining(old).await;
    assert_eq!(verdict(&mut peer).await, "error 1 stale-share");
    peer.mining(one.share(2)).await;
    assert_eq!(verdict(&mut peer).await, "ok 2 1 0");
    let ids: Vec<u64> = house
        .ledger
        .accepted
        .lock()
        .unwrap()
        .iter()
        .map(|share| share.template_id)
        .collect();
    assert_eq!(
        ids,
        [3],
        "the share is of the template with which the tip began"
    );
}

#[tokio::test]
async fn takes_late_shares_of_earlier_jobs_of_the_same_tip() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let mut rig = extended(&mut peer, "m").await;
    let late = rig.share(1);
    house.template(1, HARD, 0x2000_0002);
    next_work(&mut peer, &mut rig).await;
    peer.mining(late).await;
    assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    peer.mining(rig.share(2)).await;
    assert_eq!(verdict(&mut peer).await, "ok 2 1 0");
}

#[tokio::test]
async fn gives_each_channel_jobs_of_its_own_to_miners_of_standard_jobs() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner_with(1).await;
    let (mut one, mut two) = (
        standard(&mut peer, "a").await,
        standard(&mut peer, "b").await,
    );
    peer.mining(MiningOwned::OpenExtendedMiningChannel(open_extended("c")))
        .await;
    let refused = words(&mut peer, 1).await;
    assert_eq!(
        refused,
        ["open-error extended-channels-not-supported-for-standard-jobs"]
    );
    house.tip(2, HARD);
    next_work(&mut peer, &mut one).await;
    next_work(&mut peer, &mut two).await;
    assert_eq!((one.tip.channel_id, two.tip.channel_id), (one.id, two.id));
    for rig in [&one, &two] {
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    }
    house.template(2, HARD, 0x2000_0002);
    assert_eq!(
        words(&mut peer, 2).await,
        [format!("job {} now", one.id), format!("job {} now", two.id)]
    );
}

#[tokio::test]
async fn gives_a_newcomer_the_newest_template_alone() {
    let house = house(config()).await;
    house.tip(1, HARD);
    house.template(1, HARD, 0x2000_0002);
    let mut peer = house.miner().await;
    let one = extended(&mut peer, "a").await;
    let two = extended(&mut peer, "b").await;
    assert_ne!(one.job.id(), two.job.id());
    for rig in [&one, &two] {
        let Job::Extended(job) = &rig.job else {
            panic!()
        };
        assert_eq!(job.version, 0x2000_0002);
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    }
    assert!(house.ledger.heard("job 2 101") && !house.ledger.heard("job 1 101"));
    assert_eq!(house.pool.stats().jobs_created, 1);
}

#[tokio::test]
async fn waits_for_the_first_work_and_not_for_ever() {
    let impatient = PoolConfig {
        first_work_timeout: Duration::from_millis(100),
        ..config()
    };
    let idle = house(impatient).await;
    let mut peer = idle.miner().await;
    peer.mining(MiningOwned::OpenExtendedMiningChannel(open_extended("m")))
        .await;
    assert_eq!(words(&mut peer, 1).await, ["open-error no-work-available"]);
    assert!(peer.next().await.is_none());
    until("told", || idle.ledger.heard("disconnected no-work")).await;
    assert!(!idle.ledger.heard("channels m 1"));

    let house = house(config()).await;
    let mut peer = house.miner().await;
    let waiting = extended(&mut peer, "m");
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        house.tip(1, HARD);
    };
    let (rig, ()) = tokio::join!(waiting, later);
    peer.mining(rig.share(1)).await;
    assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
}

#[tokio::test]
async fn pays_a_new_script_from_the_next_job_on() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let mut rig = extended(&mut peer, "m").await;
    let script = [0x6a, 0x04, 0xca, 0xfe, 0xba, 0xbe];
    house
        .payout
        .send_replace(ScriptBuf::from_bytes(script.to_vec()));
    next_work(&mut peer, &mut rig).await;
    for rig in [rig, extended(&mut peer, "n").await] {
        let Job::Extended(job) = &rig.job else {
            panic!()
        };
        let suffix = job.coinbase_tx_suffix.to_owned_bytes();
        assert!(suffix.windows(script.len()).any(|window| window == script));
        peer.mining(rig.share(1)).await;
        assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    }
}
