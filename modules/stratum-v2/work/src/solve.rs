//! From a solution back to a block.

use bytes::Bytes;
use stratum_core::bitcoin::block::{Header, Version};
use stratum_core::bitcoin::consensus::{deserialize, serialize};
use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{
    BlockHash, CompactTarget, OutPoint, Sequence, Transaction, TxMerkleNode, TxOut, Weight,
    Witness, absolute, transaction,
};

use crate::coinbase::{WITNESS_RESERVED_VALUE, compact_size_bytes, push_compact_size};
use crate::remembered::Entry;
use crate::{Solution, SolvedBlock, merkle};

/// Bits of the header's version that a miner may choose (BIP 323).
pub const ROLLABLE_VERSION_BITS: u32 = 0x1fff_e000;
/// Bytes that a coinbase script may have (consensus).
const COINBASE_SCRIPT_BYTES: std::ops::RangeInclusive<usize> = 2..=100;
/// Bytes of a header.
const HEADER_BYTES: usize = 80;

/// Why a solution is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// No template had this id.
    #[error("unknown-template")]
    UnknownTemplate,
    /// The template is of a tip before the last one, or too long ago.
    #[error("stale-template")]
    StaleTemplate,
    /// The coinbase is no transaction, or not one that this template allows; the text names what is wrong.
    #[error("bad-coinbase: {0}")]
    BadCoinbase(&'static str),
    /// The version differs from the template's in bits that are not the miner's to choose.
    #[error("bad-version")]
    BadVersion,
    /// The time is before the earliest that the block may carry.
    #[error("bad-time")]
    BadTime,
    /// The hash is above the target of the block.
    #[error("high-hash")]
    HighHash,
}

impl SolveError {
    /// One word for metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            SolveError::UnknownTemplate => "unknown-template",
            SolveError::StaleTemplate => "stale-template",
            SolveError::BadCoinbase(_) => "bad-coinbase",
            SolveError::BadVersion => "bad-version",
            SolveError::BadTime => "bad-time",
            SolveError::HighHash => "high-hash",
        }
    }
}

/// Checks the solution against its template and puts the block together. The merkle root follows from the coinbase; nothing that
/// a miner says of it is believed.
pub(crate) fn solve(entry: &Entry, solution: &Solution) -> Result<SolvedBlock, SolveError> {
    let message = &entry.template.message;
    let tip = &entry.base.tip;
    if (solution.version ^ message.version) & !ROLLABLE_VERSION_BITS != 0 {
        return Err(SolveError::BadVersion);
    }
    if solution.header_timestamp < tip.min_time_unix_s {
        return Err(SolveError::BadTime);
    }
    let coinbase = checked_coinbase(entry, &solution.coinbase_tx)?;
    let header = Header {
        version: Version::from_consensus(solution.version as i32),
        prev_blockhash: BlockHash::from_byte_array(tip.previous_hash),
        merkle_root: TxMerkleNode::from_byte_array(
            entry.root(coinbase.compute_txid().to_byte_array()),
        ),
        time: solution.header_timestamp,
        bits: CompactTarget::from_consensus(tip.bits),
        nonce: solution.header_nonce,
    };
    let hash = header
        .validate_pow(header.target())
        .map_err(|_| SolveError::HighHash)?;
    let coinbase_value_sats = coinbase
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .sum();
    let raw = assemble(entry, &header, &coinbase);
    Ok(SolvedBlock {
        hash: hash.to_byte_array(),
        height: entry.template.height,
        raw,
        coinbase_value_sats,
    })
}

/// The coinbase with its witness, when it is one that the template allows.
fn checked_coinbase(entry: &Entry, raw: &[u8]) -> Result<Transaction, SolveError> {
    let message = &entry.template.message;
    let bad = |what: &'static str| Err(SolveError::BadCoinbase(what));
    let Ok(mut coinbase) = deserialize::<Transaction>(raw) else {
        return bad("no transaction");
    };
    let [input] = coinbase.input.as_mut_slice() else {
        return bad("not one input");
    };
    if input.previous_output != OutPoint::null() {
        return bad("spends an output");
    }
    let script = input.script_sig.as_bytes();
    if !COINBASE_SCRIPT_BYTES.contains(&script.len()) {
        return bad("length of the script");
    }
    if !script.starts_with(message.coinbase_prefix.as_bytes()) {
        return bad("height");
    }
    if input.sequence != Sequence(message.coinbase_tx_input_sequence)
        || coinbase.lock_time != absolute::LockTime::from_consensus(message.coinbase_tx_locktime)
        || coinbase.version != transaction::Version(message.coinbase_tx_version as i32)
    {
        return bad("version, sequence or lock time");
    }
    if input.witness.is_empty() {
        input.witness = Witness::from_slice(&[WITNESS_RESERVED_VALUE]);
    } else if input.witness.len() != 1
        || input.witness.nth(0) != Some(WITNESS_RESERVED_VALUE.as_slice())
    {
        return bad("witness");
    }
    let required: Vec<TxOut> = entry.outputs();
    if !coinbase.output.ends_with(&required) {
        return bad("outputs of the template");
    }
    let paid = coinbase
        .output
        .iter()
        .try_fold(0_u64, |sum, output| sum.checked_add(output.value.to_sat()));
    let template = required
        .iter()
        .map(|output| output.value.to_sat())
        .sum::<u64>();
    if paid.is_none_or(|paid| paid > message.coinbase_tx_value_remaining + template) {
        return bad("pays too much");
    }
    let weight = entry.weight_without_coinbase() + coinbase.weight();
    if weight > Weight::from_wu(u64::from(entry.base.weight_limit)) {
        return bad("too large for the block");
    }
    Ok(coinbase)
}

/// The block with witnesses (BIP 144).
fn assemble(entry: &Entry, header: &Header, coinbase: &Transaction) -> Bytes {
    let transactions = &entry.template.transactions;
    let coinbase = serialize(coinbase);
    let length = HEADER_BYTES
        + 5
        + coinbase.len()
        + transactions.iter().map(|one| one.raw.len()).sum::<usize>();
    let mut raw = Vec::with_capacity(length);
    raw.extend_from_slice(&serialize(header));
    push_compact_size(&mut raw, transactions.len() + 1);
    raw.extend_from_slice(&coinbase);
    for transaction in transactions.iter() {
        raw.extend_from_slice(&transaction.raw);
    }
    raw.into()
}

impl Entry {
    /// Merkle root of the block with this coinbase.
    fn root(&self, coinbase: [u8; 32]) -> [u8; 32] {
        let siblings = self.template.message.merkle_path.iter();
        merkle::root(
            coinbase,
            siblings.map(|sibling| sibling.as_bytes().try_into().expect("a hash has 32 bytes")),
        )
    }

    /// Outputs that the template wants at the end of the coinbase.
    fn outputs(&self) -> Vec<TxOut> {
        let mut rest = self.template.message.coinbase_tx_outputs.as_bytes();
        let mut outputs = Vec::new();
        while !rest.is_empty() {
            let (output, read) =
                stratum_core::bitcoin::consensus::deserialize_partial::<TxOut>(rest)
                    .expect("outputs of a template were serialised here");
            outputs.push(output);
            rest = &rest[read..];
        }
        outputs
    }

    /// Weight of the block but for its coinbase.
    fn weight_without_coinbase(&self) -> Weight {
        let transactions = &self.template.transactions;
        let fixed = 4 * (HEADER_BYTES + compact_size_bytes(transactions.len() + 1)) as u64;
        Weight::from_wu(
            fixed
                + transactions
                    .iter()
                    .map(|one| u64::from(one.weight))
                    .sum::<u64>(),
        )
    }
}
