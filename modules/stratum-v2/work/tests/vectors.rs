//! Job vectors of `channels_sv2` 8.0.0 (tests of src/server/jobs/factory.rs, standard.rs and extended.rs): the node's template that
//! stands behind each of them goes through the work book into the channel, and job, share and block must come out the same.
//!
//! All its vectors rest on two templates of a regtest node, both without transactions: height 2 with a final coinbase, and height
//! 159 with the lock of BIP 54. Not reachable from a node's template, and so not here: coinbase prefixes that are empty or stuffed
//! with 0xab (they push no height, BIP 34), and vectors about custom jobs beyond the first (they take no template).

mod support;

use stratum_core::binary_sv2::Sv2OptionOwned;
use stratum_core::channels_sv2::chain_tip::ChainTip;
use stratum_core::channels_sv2::server::jobs::factory::JobFactory;
use stratum_core::mining_sv2::{NewExtendedMiningJobOwned, NewMiningJobOwned};
use stratum_core::template_distribution_sv2::NewTemplateOwned;
use support::vectors::*;
use work::CoinbaseLock;

#[test]
fn templates_are_those_of_the_vectors() {
    let expected = |height_prefix: Vec<u8>, sequence, locktime| NewTemplateOwned {
        template_id: 1,
        future_template: false,
        version: 536_870_912,
        coinbase_tx_version: 2,
        coinbase_prefix: height_prefix.try_into().unwrap(),
        coinbase_tx_input_sequence: sequence,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: unhex(COMMITMENT_OUTPUT).try_into().unwrap(),
        coinbase_tx_locktime: locktime,
        merkle_path: vec![].try_into().unwrap(),
    };
    let low = book(
        CoinbaseLock::None,
        node_template(2, PREVIOUS, PREVIOUS_BITS, 1_746_839_905),
    );
    assert_eq!(
        work(&low).first.message,
        expected(vec![82, 0], 4_294_967_295, 0)
    );
    let high = book(
        CoinbaseLock::PreviousHeight,
        node_template(159, PREVIOUS, PREVIOUS_BITS, 1_747_092_633),
    );
    assert_eq!(
        work(&high).first.message,
        expected(vec![2, 159, 0, 0], 4_294_967_294, 158)
    );
    let told = work(&high).new_prev_hash;
    assert_eq!(
        (told.template_id, told.header_timestamp, told.n_bits),
        (1, 1_747_092_633, PREVIOUS_BITS)
    );
    assert_eq!(told.prev_hash.as_bytes(), PREVIOUS);
    let mut target = [0_u8; 32];
    target[27..30].copy_from_slice(&[174, 119, 3]);
    assert_eq!(told.target.as_bytes(), target);
}

#[test]
fn test_new_pool_job() {
    let book = book(
        CoinbaseLock::None,
        node_template(2, PREVIOUS, PREVIOUS_BITS, 1_746_839_905),
    );
    let mut factory = JobFactory::new(true, Some("Stratum V2 SRI Pool".into()), None);
    let job = factory
        .new_extended_job(
            1,
            None,
            sri_pool_prefix(),
            as_future(&work(&book)),
            payout(),
            32,
        )
        .unwrap();
    let prefix = format!(
        "{NULL_INPUT}3d5200195376322f{}2f2f20",
        hex(b"Stratum V2 SRI Pool")
    );
    assert_eq!(job.get_job_message(), &extended_job(None, &prefix));
}

#[test]
fn test_new_extended_job_from_custom_job() {
    let book = book(
        CoinbaseLock::None,
        node_template(2, PREVIOUS, PREVIOUS_BITS, 1_746_839_905),
    );
    let work = work(&book);
    let client = JobFactory::new(
        true,
        Some("Stratum V2 SRI Pool".into()),
        Some("Stratum V2 SRI Miner".into()),
    );
    let custom = client
        .new_custom_job(
            1,
            1,
            vec![0].try_into().unwrap(),
            ChainTip::from(work.new_prev_hash.clone()),
            work.latest.message.clone(),
            payout(),
            32,
        )
        .unwrap();
    let mut pool = JobFactory::new(true, Some("Stratum V2 SRI Pool".into()), None);
    let job = pool
        .new_extended_job_from_custom_job(custom, sri_pool_prefix(), 32)
        .unwrap();
    let tag = format!(
        "{}2f{}",
        hex(b"Stratum V2 SRI Pool"),
        hex(b"Stratum V2 SRI Miner")
    );
    let prefix = format!("{NULL_INPUT}5152002d5376322f{tag}2f20");
    assert_eq!(
        job.get_job_message(),
        &extended_job(Some(1_746_839_905), &prefix)
    );
}

#[test]
fn extended_channel_future_and_non_future_jobs() {
    let time = 1_746_839_905;
    let book = book(
        CoinbaseLock::None,
        node_template(2, PREVIOUS, PREVIOUS_BITS, time),
    );
    let work = work(&book);
    let prefix = format!("{NULL_INPUT}295200065376322f2f2f1f");

    let (mut channel, _allocator) = extended(&sri_pool_prefix(), 4, 1.0);
    channel.on_new_template(as_future(&work), payout()).unwrap();
    let future = channel
        .get_future_job_id_from_template_id(work.first.id)
        .unwrap();
    assert_eq!(
        channel.get_future_job(future).unwrap().get_job_message(),
        &extended_job(None, &prefix)
    );
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    assert_eq!(
        channel.get_active_job().unwrap().get_job_message(),
        &extended_job(Some(time), &prefix)
    );

    let (mut channel, _allocator) = extended(&sri_pool_prefix(), 4, 1.0);
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    channel
        .on_new_template(work.latest.message.clone(), payout())
        .unwrap();
    assert_eq!(
        channel.get_active_job().unwrap().get_job_message(),
        &extended_job(Some(time), &prefix)
    );
}

#[test]
fn standard_channel_future_and_non_future_jobs() {
    let time = 1_747_092_633;
    let book = book(
        CoinbaseLock::PreviousHeight,
        node_template(159, PREVIOUS, PREVIOUS_BITS, time),
    );
    let work = work(&book);
    let job = |min_ntime| NewMiningJobOwned {
        channel_id: 1,
        job_id: 1,
        merkle_root: [
            244, 175, 251, 103, 170, 111, 89, 111, 245, 253, 167, 99, 126, 231, 170, 153, 174, 69,
            251, 243, 5, 119, 145, 76, 19, 107, 215, 155, 166, 36, 228, 210,
        ]
        .into(),
        version: 536_870_912,
        min_ntime: Sv2OptionOwned::new(min_ntime),
    };

    let (mut channel, _allocator) = standard(10.0);
    channel.on_new_template(as_future(&work), payout()).unwrap();
    assert_eq!(
        channel.get_future_job(1).unwrap().get_job_message(),
        &job(None)
    );
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    assert_eq!(
        channel.get_active_job().unwrap().get_job_message(),
        &job(Some(time))
    );

    let (mut channel, _allocator) = standard(10.0);
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    channel
        .on_new_template(work.latest.message.clone(), payout())
        .unwrap();
    assert_eq!(
        channel.get_active_job().unwrap().get_job_message(),
        &job(Some(time))
    );
}

fn extended_job(min_ntime: Option<u32>, prefix: &str) -> NewExtendedMiningJobOwned {
    NewExtendedMiningJobOwned {
        channel_id: 1,
        job_id: 1,
        min_ntime: Sv2OptionOwned::new(min_ntime),
        version: 536_870_912,
        version_rolling_allowed: true,
        coinbase_tx_prefix: unhex(prefix).try_into().unwrap(),
        coinbase_tx_suffix: unhex(SUFFIX_FINAL).try_into().unwrap(),
        merkle_path: vec![].try_into().unwrap(),
    }
}
