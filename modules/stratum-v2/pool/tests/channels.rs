//! Channels from open to close.

mod support;

use pool::PoolConfig;
use stratum_core::extensions_sv2::RequestExtensionsOwned;
use stratum_core::mining_sv2::{CloseChannelOwned, SetCustomMiningJobOwned, UpdateChannelOwned};
use stratum_core::parsers_sv2::{
    AnyMessageOwned, ExtensionsNegotiationOwned, ExtensionsOwned, MiningOwned,
};
use support::{
    HARD, config, extended, house, next_work, open_extended, open_standard, standard, until,
    verdict, words,
};

#[tokio::test]
async fn refuses_channels_that_cannot_be() {
    let house = house(PoolConfig {
        channels_per_connection: 2,
        channels: 3,
        ..config()
    })
    .await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let asked = [
        ("line\nbreak", 1.0, 0xff, 8, "invalid-user-identity"),
        (&"x".repeat(129), 1.0, 0xff, 8, "invalid-user-identity"),
        ("m", f32::NAN, 0xff, 8, "invalid-nominal-hashrate"),
        ("m", f32::INFINITY, 0xff, 8, "invalid-nominal-hashrate"),
        ("m", -1.0, 0xff, 8, "invalid-nominal-hashrate"),
        ("m", 1.0, 0, 8, "max-target-out-of-range"),
        ("m", 1.0, 0xff, 17, "min-extranonce-size-too-large"),
    ];
    for (name, nominal_hash_rate, target, min_extranonce_size, code) in asked {
        let mut message = open_extended(name);
        (message.nominal_hash_rate, message.min_extranonce_size) =
            (nominal_hash_rate, min_extranonce_size);
        message.max_target = [target; 32].into();
        peer.mining(MiningOwned::OpenExtendedMiningChannel(message))
            .await;
        assert_eq!(words(&mut peer, 1).await, [format!("open-error {code}")]);
    }
    extended(&mut peer, "m").await;
    standard(&mut peer, "m").await;
    peer.mining(MiningOwned::OpenStandardMiningChannel(open_standard("m")))
        .await;
    assert_eq!(
        words(&mut peer, 1).await,
        ["open-error channel-capacity-exhausted"]
    );
    let mut other = house.miner().await;
    let last = extended(&mut other, "m").await;
    other
        .mining(MiningOwned::OpenStandardMiningChannel(open_standard("m")))
        .await;
    assert_eq!(
        words(&mut other, 1).await,
        ["open-error channel-capacity-exhausted"]
    );
    let reason_code = "bye".to_string().try_into().unwrap();
    other
        .mining(MiningOwned::CloseChannel(CloseChannelOwned {
            channel_id: last.id,
            reason_code,
        }))
        .await;
    standard(&mut other, "m").await;
    assert!(house.ledger.heard("channels m 3") && !house.ledger.heard("channels m 4"));
}

#[tokio::test]
async fn sets_targets_for_what_miners_say_of_themselves() {
    let house = house(PoolConfig {
        min_hashrate: 10.0,
        ..config()
    })
    .await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m").await;
    let update = |channel_id, nominal_hash_rate, target: u8| {
        MiningOwned::UpdateChannel(UpdateChannelOwned {
            channel_id,
            nominal_hash_rate,
            maximum_target: [target; 32].into(),
        })
    };
    peer.mining(update(rig.id, 1e12, 0xff)).await;
    let MiningOwned::SetTarget(message) = peer.next_mining().await else {
        panic!()
    };
    let target = stratum_core::bitcoin::Target::from_le_bytes(message.maximum_target.to_array());
    assert!(
        (200.0..270.0).contains(&target.difficulty_float()),
        "{}",
        target.difficulty_float()
    );
    assert_eq!(
        house.pool.stats().connections[0].channels[&rig.id].nominal_hashrate,
        f64::from(1e12_f32)
    );
    // a job that is there keeps the target with which it came; the next one has the new one
    peer.mining(rig.share(1)).await;
    assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
    let mut later = rig.clone();
    house.template(1, HARD, 0x2000_0002);
    next_work(&mut peer, &mut later).await;
    peer.mining(later.share(2)).await;
    assert_eq!(verdict(&mut peer).await, "error 2 difficulty-too-low");
    // never easier than the floor
    peer.mining(update(rig.id, 0.0, 0xff)).await;
    let MiningOwned::SetTarget(message) = peer.next_mining().await else {
        panic!()
    };
    assert_eq!(message.maximum_target.to_array(), rig.target.to_le_bytes());
    for (channel_id, hashrate, target, code) in [
        (99, 1.0, 0xff, "invalid-channel-id"),
        (rig.id, f32::NAN, 0xff, "invalid-nominal-hashrate"),
        (rig.id, 1.0, 0, "max-target-out-of-range"),
    ] {
        peer.mining(update(channel_id, hashrate, target)).await;
        assert_eq!(words(&mut peer, 1).await, [format!("update-error {code}")]);
    }
}

#[tokio::test]
async fn closes_one_channel_or_the_whole_group() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let mut peer = house.miner().await;
    let rigs = [
        extended(&mut peer, "a").await,
        standard(&mut peer, "b").await,
        extended(&mut peer, "b").await,
    ];
    let close = |channel_id| {
        let reason_code = "bye".to_string().try_into().unwrap();
        MiningOwned::CloseChannel(CloseChannelOwned {
            channel_id,
            reason_code,
        })
    };
    peer.mining(close(rigs[0].id)).await;
    peer.mining(close(77)).await;
    peer.mining(rigs[0].share(1)).await;
    assert_eq!(verdict(&mut peer).await, "error 1 invalid-channel-id");
    peer.mining(rigs[1].share(2)).await;
    assert_eq!(verdict(&mut peer).await, "ok 2 1 0");
    // id of the group
    peer.mining(close(1)).await;
    peer.mining(rigs[2].share(3)).await;
    assert_eq!(verdict(&mut peer).await, "error 3 invalid-channel-id");
    assert!(house.ledger.heard("channels a 0") && house.ledger.heard("channels b 0"));
    assert!(house.pool.stats().connections[0].channels.is_empty());
    // nobody is told of work that nobody mines
    house.tip(2, HARD);
    let rig = extended(&mut peer, "a").await;
    assert_eq!(rig.tip.prev_hash.to_array(), [2; 32]);
}

#[tokio::test]
async fn answers_for_what_it_does_not_do() {
    let house = house(config()).await;
    house.tip(1, HARD);
    assert_eq!(
        house.peer().await.setup(|message| message.flags = 2).await,
        "error unsupported-feature-flags 2"
    );
    let mut peer = house.miner_with(4).await;
    let request = RequestExtensionsOwned {
        request_id: 5,
        requested_extensions: vec![2_u16, 9].try_into().unwrap(),
    };
    let request = ExtensionsOwned::ExtensionsNegotiation(
        ExtensionsNegotiationOwned::RequestExtensions(request),
    );
    peer.send(AnyMessageOwned::Extensions(request)).await;
    let Some(AnyMessageOwned::Extensions(ExtensionsOwned::ExtensionsNegotiation(
        ExtensionsNegotiationOwned::RequestExtensionsError(error),
    ))) = peer.next().await
    else {
        panic!()
    };
    assert_eq!(
        (error.request_id, error.unsupported_extensions.into_inner()),
        (5, vec![2, 9])
    );
    let rig = extended(&mut peer, "m").await;
    let custom = SetCustomMiningJobOwned {
        channel_id: rig.id,
        request_id: 1,
        token: vec![1].try_into().unwrap(),
        version: 1,
        prev_hash: [0; 32].into(),
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 1,
        coinbase_prefix: vec![].try_into().unwrap(),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: vec![].try_into().unwrap(),
        coinbase_tx_locktime: 0,
        merkle_path: vec![].try_into().unwrap(),
    };
    peer.mining(MiningOwned::SetCustomMiningJob(custom)).await;
    assert_eq!(words(&mut peer, 1).await, ["custom-error jd-not-supported"]);
    peer.mining(rig.share(1)).await;
    assert_eq!(verdict(&mut peer).await, "ok 1 1 0");
}

#[tokio::test]
async fn shows_who_mines_and_how() {
    let house = house(config()).await;
    house.tip(1, HARD);
    assert!(house.pool.stats().connections.is_empty());
    let mut peer = house.miner().await;
    let rig = extended(&mut peer, "m.worker").await;
    for sequence in 1..=3 {
        peer.mining(rig.share(sequence)).await;
        verdict(&mut peer).await;
    }
    let stats = house.pool.stats();
    let connection = &stats.connections[0];
    assert_eq!(
        (connection.vendor.as_str(), connection.firmware.as_str()),
        ("tester", "f1")
    );
    let channel = &connection.channels[&rig.id];
    assert_eq!(
        (
            channel.miner.as_str(),
            channel.shares_accepted,
            channel.shares_pending
        ),
        ("m.worker", 3, 0)
    );
    assert!(channel.observed_hashrate > 0.0 && channel.best_difficulty >= channel.difficulty);
    assert!((channel.work_accepted - 3.0 * channel.difficulty).abs() < 1e-12);
    assert!(channel.last_share_unix_ms.is_some());
    drop(peer);
    until("gone", || house.pool.stats().connections.is_empty()).await;
    assert!(house.ledger.heard("channels m.worker 0"));
}
