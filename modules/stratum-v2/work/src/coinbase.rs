//! What a template says of the coinbase: height, lock, outputs.

use stratum_core::bitcoin::Script;
use stratum_core::bitcoin::hashes::{Hash, HashEngine, sha256d};

/// Outputs that commit to witnesses begin so (BIP 141): OP_RETURN, a push of 36 bytes, four bytes of header.
pub(crate) const WITNESS_COMMITMENT_HEADER: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// Bytes of such a script without anything after the commitment.
pub(crate) const WITNESS_COMMITMENT_BYTES: usize = 38;
/// What stands in the witness of the coinbase, and in the commitment behind the root (BIP 141). `channels_sv2` and Bitcoin
/// Core use zeros.
pub(crate) const WITNESS_RESERVED_VALUE: [u8; 32] = [0; 32];
/// Version of the coinbase transaction, as Bitcoin Core makes it.
pub(crate) const COINBASE_VERSION: u32 = 2;
/// Sequence that leaves the lock time in force.
const SEQUENCE_NONFINAL: u32 = 0xffff_fffe;
/// Sequence that makes the lock time void.
const SEQUENCE_FINAL: u32 = 0xffff_ffff;
/// Opcodes that push 1 to 16 are this and the following.
const OP_1: u8 = 0x51;
/// Up to here a number has an opcode of its own.
const OPCODE_NUMBERS: u32 = 16;
/// Least bytes of a coinbase script are 2 (consensus); one more opcode than the height makes it valid whatever else is added.
const OP_0: u8 = 0x00;

/// Lock time and sequence of coinbases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoinbaseLock {
    /// Lock time = height - 1 with a sequence that leaves it in force (BIP 54), as Bitcoin Core does since version 30.
    #[default]
    PreviousHeight,
    /// No lock time and a final sequence, as before.
    None,
}

impl CoinbaseLock {
    /// Lock time and input sequence for a block of this height.
    pub(crate) fn fields(self, height: u32) -> (u32, u32) {
        match self {
            CoinbaseLock::PreviousHeight => (height.saturating_sub(1), SEQUENCE_NONFINAL),
            CoinbaseLock::None => (0, SEQUENCE_FINAL),
        }
    }
}

/// The push of the height with which a coinbase script begins (BIP 34): the opcode of the number up to 16, else the smallest
/// little endian number whose top bit is clear.
pub(crate) fn height_push(height: u32) -> Vec<u8> {
    match height {
        0 => vec![OP_0],
        1..=OPCODE_NUMBERS => vec![OP_1 + (height as u8 - 1)],
        _ => {
            let mut number: Vec<u8> = height.to_le_bytes().to_vec();
            while number.last() == Some(&0) {
                number.pop();
            }
            if number.last().is_some_and(|top| top & 0x80 != 0) {
                number.push(0);
            }
            let mut push = vec![number.len() as u8];
            push.append(&mut number);
            push
        }
    }
}

/// `coinbase_prefix` of a template: the height and OP_0, as Bitcoin Core's templates give it; at most 7 bytes of the 8 allowed.
pub(crate) fn script_prefix(height: u32) -> Vec<u8> {
    let mut prefix = height_push(height);
    prefix.push(OP_0);
    prefix
}

/// Script that commits to a witness merkle root (BIP 141).
pub(crate) fn commitment_script(witness_root: [u8; 32]) -> Vec<u8> {
    let mut engine = sha256d::Hash::engine();
    engine.input(&witness_root);
    engine.input(&WITNESS_RESERVED_VALUE);
    let mut script = WITNESS_COMMITMENT_HEADER.to_vec();
    script.extend_from_slice(sha256d::Hash::from_engine(engine).as_byte_array());
    script
}

/// Whether consensus would take an output with this script for the witness commitment.
pub(crate) fn is_commitment(script: &[u8]) -> bool {
    script.len() >= WITNESS_COMMITMENT_BYTES && script.starts_with(&WITNESS_COMMITMENT_HEADER)
}

/// Appends one serialised output.
pub(crate) fn push_output(outputs: &mut Vec<u8>, value_sats: u64, script: &[u8]) {
    outputs.extend_from_slice(&value_sats.to_le_bytes());
    push_compact_size(outputs, script.len());
    outputs.extend_from_slice(script);
}

/// Bytes of one serialised output.
pub(crate) fn output_bytes(script: &[u8]) -> usize {
    8 + compact_size_bytes(script.len()) + script.len()
}

/// Cost of the signature operations of an output script: those of a coinbase count four times (BIP 141).
pub(crate) fn sigop_cost(script: &[u8]) -> u64 {
    4 * Script::from_bytes(script).count_sigops_legacy() as u64
}

/// Appends a compact size.
pub(crate) fn push_compact_size(bytes: &mut Vec<u8>, value: usize) {
    match value {
        0..=0xfc => bytes.push(value as u8),
        0xfd..=0xffff => {
            bytes.push(0xfd);
            bytes.extend_from_slice(&(value as u16).to_le_bytes());
        }
        _ => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(value as u32).to_le_bytes());
        }
    }
}

/// Bytes of a compact size.
pub(crate) fn compact_size_bytes(value: usize) -> usize {
    match value {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stratum_core::bitcoin::script::Builder;

    #[test]
    fn heights_are_pushed_as_scripts_push_numbers() {
        for height in (0..70_000).chain([
            0x7f_ffff,
            0x80_0000,
            0xff_ffff,
            0x100_0000,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
        ]) {
            let expected = Builder::new().push_int(i64::from(height)).into_bytes();
            assert_eq!(height_push(height), expected, "height {height}");
            assert!(script_prefix(height).len() <= 8);
        }
    }

    #[test]
    fn an_empty_block_has_the_commitment_that_all_empty_blocks_have() {
        let script = commitment_script([0; 32]);
        assert!(is_commitment(&script));
        assert_eq!(script.len(), WITNESS_COMMITMENT_BYTES);
        assert_eq!(script[6..10], [0xe2, 0xf6, 0x1c, 0x3f]);
    }

    #[test]
    fn lock_of_the_first_blocks_does_not_underflow() {
        assert_eq!(
            CoinbaseLock::PreviousHeight.fields(0),
            (0, SEQUENCE_NONFINAL)
        );
        assert_eq!(
            CoinbaseLock::PreviousHeight.fields(159),
            (158, SEQUENCE_NONFINAL)
        );
        assert_eq!(CoinbaseLock::None.fields(159), (0, SEQUENCE_FINAL));
    }
}
