//! Share vectors of `channels_sv2` 8.0.0 (see vectors.rs): a share that the channel takes for a block goes back through the book.

mod support;

use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{Block, consensus::deserialize};
use stratum_core::channels_sv2::server::share_accounting::ShareValidationResult;
use stratum_core::mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use support::SUBSIDY;
use support::vectors::*;
use work::{CoinbaseLock, Solution, WorkBook};

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
