//! Job vectors of `channels_sv2` 8.0.0 (tests of src/server/jobs/factory.rs, standard.rs and extended.rs): the node's template that
//! stands behind each of them goes through the work book into the channel, and job, share and block must come out the same.
//!
//! All its vectors rest on two templates of a regtest node, both without transactions: height 2 with a final coinbase, and height
//! 159 with the lock of BIP 54. Not reachable from a node's template, and so not here: coinbase prefixes that are empty or stuffed
//! with 0xab (they push no height, BIP 34), and vectors about custom jobs beyond the first (they take no template).

mod support;

use std::time::Instant;

use stratum_core::binary_sv2::Sv2OptionOwned;
use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{Amount, Block, ScriptBuf, Target, TxOut, consensus::deserialize};
use stratum_core::channels_sv2::chain_tip::ChainTip;
use stratum_core::channels_sv2::extranonce_manager::ExtranonceAllocator;
use stratum_core::channels_sv2::server::extended::ExtendedChannel;
use stratum_core::channels_sv2::server::jobs::factory::JobFactory;
use stratum_core::channels_sv2::server::share_accounting::ShareValidationResult;
use stratum_core::channels_sv2::server::standard::StandardChannel;
use stratum_core::mining_sv2::{
    NewExtendedMiningJobOwned, NewMiningJobOwned, SubmitSharesExtendedOwned,
    SubmitSharesStandardOwned,
};
use stratum_core::template_distribution_sv2::NewTemplateOwned;
use support::{SUBSIDY, template, tip};
use work::{CoinbaseLock, NodeTemplate, NodeTip, Solution, Work, WorkBook, WorkOptions};

const PREVIOUS: [u8; 32] = [
    200, 53, 253, 129, 214, 31, 43, 84, 179, 58, 58, 76, 128, 213, 24, 53, 38, 144, 205, 88, 172,
    20, 251, 22, 217, 141, 21, 221, 21, 0, 0, 0,
];
const PREVIOUS_BITS: u32 = 503_543_726;
/// Witness commitment of a block without transactions, as `coinbase_tx_outputs` carries it.
const COMMITMENT_OUTPUT: &str = "0000000000000000266a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
const PAYOUT_SCRIPT: &str = "0014ebe1b7dcc293ccaa0ee743a86f89df8258c208fc";
const SUFFIX_FINAL: &str = concat!(
    "ffffffff0200f2052a01000000160014ebe1b7dcc293ccaa0ee743a86f89df8258c208fc",
    "0000000000000000266a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf900000000"
);
const NULL_INPUT: &str =
    "02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff";
const MAX_TARGET: [u8; 32] = [0xff; 32];

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn node_template(height: u32, previous_hash: [u8; 32], bits: u32, time: u32) -> NodeTemplate {
    NodeTemplate {
        current_time_unix_s: time,
        ..template(NodeTip {
            previous_hash,
            bits,
            min_time_unix_s: time - 3600,
            ..tip(0, height)
        })
    }
}

/// A book that has heard this template.
fn book(lock: CoinbaseLock, template: NodeTemplate) -> WorkBook {
    let book = WorkBook::new(WorkOptions {
        coinbase_lock: lock,
        ..WorkOptions::default()
    });
    assert_eq!(book.on_template(template, Instant::now()), Ok(true));
    book
}

fn work(book: &WorkBook) -> Work {
    book.watch().borrow().as_deref().cloned().unwrap()
}

fn payout() -> Vec<TxOut> {
    vec![TxOut {
        value: Amount::from_sat(SUBSIDY),
        script_pubkey: ScriptBuf::from_bytes(unhex(PAYOUT_SCRIPT)),
    }]
}

fn as_future(work: &Work) -> NewTemplateOwned {
    NewTemplateOwned {
        future_template: true,
        ..work.first.message.clone()
    }
}

/// An allocator whose second prefix (its index is 1) is the vectors'; the first one is kept.
fn allocator(prefix: &[u8], total: u8) -> ExtranonceAllocator {
    ExtranonceAllocator::new(prefix[..prefix.len() - 1].to_vec(), total, 256).unwrap()
}

fn standard(hashrate: f32) -> (StandardChannel, ExtranonceAllocator) {
    let mut allocator = allocator(
        &[b"Stratum V2 SRI Pool".as_slice(), &[0; 12], &[1]].concat(),
        32,
    );
    let first = allocator.allocate_standard().unwrap();
    let prefix = allocator.allocate_standard().unwrap();
    drop(first);
    let max = Target::from_le_bytes(MAX_TARGET);
    let channel = StandardChannel::new_for_pool(
        1,
        "user_identity".into(),
        prefix,
        max,
        hashrate,
        100,
        1.0,
        String::new(),
        None,
    );
    let channel = channel.unwrap();
    assert_eq!(
        channel.get_extranonce_prefix(),
        [b"Stratum V2 SRI Pool".as_slice(), &[0; 12], &[1]].concat()
    );
    (channel, allocator)
}

fn extended(prefix: &[u8], rollable: u16, hashrate: f32) -> (ExtendedChannel, ExtranonceAllocator) {
    let mut allocator = allocator(prefix, (prefix.len() + usize::from(rollable)) as u8);
    let first = allocator.allocate_extended(usize::from(rollable)).unwrap();
    let allocated = allocator.allocate_extended(usize::from(rollable)).unwrap();
    drop(first);
    let max = Target::from_le_bytes(MAX_TARGET);
    let channel = ExtendedChannel::new_for_pool(
        1,
        "user_identity".into(),
        allocated,
        max,
        hashrate,
        true,
        rollable,
        100,
        1.0,
        String::new(),
        None,
    );
    let channel = channel.unwrap();
    assert_eq!(channel.get_extranonce_prefix(), prefix);
    (channel, allocator)
}

fn sri_pool_prefix() -> Vec<u8> {
    [b"Stratum V2 SRI Pool".as_slice(), &[0; 7], &[1]].concat()
}

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

/// The previous hash of the share vectors that meet the target of a block.
const SOLVED_PREVIOUS: [u8; 32] = [
    251, 175, 106, 40, 35, 87, 122, 90, 58, 51, 78, 32, 202, 236, 228, 36, 154, 174, 206, 144, 147,
    195, 21, 224, 195, 103, 214, 189, 51, 190, 24, 98,
];

#[test]
fn standard_channel_test_share_validation_block_found() {
    let template = node_template(159, SOLVED_PREVIOUS, 545_259_519, 1_745_596_910);
    let book = book(CoinbaseLock::PreviousHeight, template);
    let (mut channel, _allocator) = standard(1.0);
    let work = work(&book);
    channel.on_new_template(as_future(&work), payout()).unwrap();
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    let share = SubmitSharesStandardOwned {
        channel_id: 1,
        sequence_number: 0,
        job_id: 1,
        nonce: 0,
        ntime: 1_745_596_932,
        version: 536_870_912,
    };
    let found = channel.validate_share(share).unwrap();
    check_block(&book, found, (536_870_912, 1_745_596_932, 0));
}

#[test]
fn extended_channel_test_share_validation_block_found() {
    let book = book(
        CoinbaseLock::None,
        node_template(2, SOLVED_PREVIOUS, 545_259_519, 1_745_596_910),
    );
    let (mut channel, _allocator) = extended(&[[0; 23].as_slice(), &[1]].concat(), 8, 1.0);
    let work = work(&book);
    channel.on_new_template(as_future(&work), payout()).unwrap();
    channel
        .on_set_new_prev_hash(work.new_prev_hash.clone())
        .unwrap();
    let share = SubmitSharesExtendedOwned {
        channel_id: 1,
        sequence_number: 0,
        job_id: 1,
        nonce: 0,
        ntime: 1_745_596_971,
        version: 536_870_912,
        extranonce: vec![1, 0, 0, 0, 0, 0, 0, 0].try_into().unwrap(),
    };
    let found = channel.validate_share(share).unwrap();
    let hash = check_block(&book, found, (536_870_912, 1_745_596_971, 0));
    assert_eq!(
        hash,
        "6b356f9f445f4cdfab140f69ff66803f8f98a0d8bcd089dc7d2bdeeee74a5f83"
    );
}

#[test]
fn test_share_validation_valid_share() {
    let previous = unhex("9a7cefe7dd7aa0ada4af57214ad6bf6b492200a2e3102c282149000000000000")
        .try_into()
        .unwrap();
    let standard_book = book(
        CoinbaseLock::PreviousHeight,
        node_template(159, previous, 453_040_064, 1_745_611_045),
    );
    let (mut channel, _allocator) = standard(1_000.0);
    channel
        .on_new_template(as_future(&work(&standard_book)), payout())
        .unwrap();
    channel
        .on_set_new_prev_hash(work(&standard_book).new_prev_hash)
        .unwrap();
    let share = SubmitSharesStandardOwned {
        channel_id: 1,
        sequence_number: 1,
        job_id: 1,
        nonce: 92_092,
        ntime: 1_745_611_105,
        version: 536_870_912,
    };
    let ShareValidationResult::Valid(hash) = channel.validate_share(share).unwrap() else {
        panic!("no share")
    };
    assert_eq!(
        hash.to_string(),
        "0000545efd44aa70bc49d037df93ba3e51ec5937f72a28f9d3c15d8f17c1194e"
    );

    let previous = unhex("17cd48869956dc99e01cd892e478e39dd563a0a3803b8bbe9e3e000000000000")
        .try_into()
        .unwrap();
    let extended_book = book(
        CoinbaseLock::None,
        node_template(2, previous, 453_040_064, 1_745_611_105),
    );
    let (mut channel, _allocator) = extended(&[[0; 23].as_slice(), &[1]].concat(), 8, 1_000.0);
    channel
        .on_new_template(as_future(&work(&extended_book)), payout())
        .unwrap();
    channel
        .on_set_new_prev_hash(work(&extended_book).new_prev_hash)
        .unwrap();
    let share = SubmitSharesExtendedOwned {
        channel_id: 1,
        sequence_number: 1,
        job_id: 1,
        nonce: 16_647,
        ntime: 1_745_611_105,
        version: 536_870_912,
        extranonce: vec![1, 0, 0, 0, 0, 0, 0, 0].try_into().unwrap(),
    };
    let ShareValidationResult::Valid(hash) = channel.validate_share(share).unwrap() else {
        panic!("no share")
    };
    assert_eq!(
        hash.to_string(),
        "000054cc966c174fc21b056b994c0aa265c40126222040984f571230b9adde1f"
    );
}

/// What the channel found goes back through the book and is a block with the channel's hash, which is given in display order. (For
/// the standard channel the vector's text names another hash, which its template does not have; its code asserts none.)
fn check_block(book: &WorkBook, found: ShareValidationResult, header: (u32, u32, u32)) -> String {
    let ShareValidationResult::BlockFound(hash, template_id, coinbase_tx) = found else {
        panic!("no block")
    };
    let (version, header_timestamp, header_nonce) = header;
    let template_id = template_id.unwrap();
    let block = book
        .solve(&Solution {
            template_id,
            version,
            header_timestamp,
            header_nonce,
            coinbase_tx,
        })
        .unwrap();
    assert_eq!(block.hash, hash.to_byte_array());
    let parsed: Block = deserialize(&block.raw).unwrap();
    assert!(parsed.check_merkle_root() && parsed.check_witness_commitment());
    assert_eq!(block.coinbase_value_sats, SUBSIDY);
    hash.to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
