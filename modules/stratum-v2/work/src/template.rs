//! From what the node says to a template of the Template Distribution Protocol.

use std::sync::Arc;

use stratum_core::bitcoin::{CompactTarget, Target};
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use crate::additional::Additional;
use crate::coinbase::{
    COINBASE_VERSION, CoinbaseLock, commitment_script, is_commitment, output_bytes, push_output,
    script_prefix,
};
use crate::merkle;
use crate::select::{Constraints, ConstraintsError, MAX_BLOCK_SIGOP_COST, MAX_BLOCK_WEIGHT, Room};
use crate::{NodeTemplate, NodeTip, NodeTransaction, Template};

/// Most transactions of a template: the list of `RequestTransactionData.Success` counts them in two bytes. A block has room for
/// some 16,000 of the smallest.
pub(crate) const MAX_TRANSACTIONS: usize = 65_535;
/// Most bytes of one transaction: those of a block.
const MAX_TRANSACTION_BYTES: usize = 4_000_000;
/// All satoshis that there will ever be; more is an error of the node, and less cannot overflow.
const MAX_MONEY_SATS: u64 = 21_000_000 * 100_000_000;
/// Longest script of the node's witness commitment that is taken over; a signet's carries more than the commitment.
const MAX_COMMITMENT_BYTES: usize = 256;

/// Why a template or tip of the node cannot be mined on; the work before stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `bits` names no target that a hash could meet.
    #[error("bad-target")]
    Target,
    /// Subsidy and fees exceed all money.
    #[error("bad-value")]
    Value,
    /// A transaction depends on one that does not stand before it.
    #[error("bad-order")]
    Order,
    /// Over 65,535 transactions, or one without bytes or of more than 4,000,000.
    #[error("bad-transactions")]
    Transactions,
    /// Limits of the block leave no room for a coinbase.
    #[error("no-room")]
    NoRoom,
}

/// What all templates of one answer of the node are made from.
#[derive(Debug)]
pub(crate) struct Base {
    pub tip: NodeTip,
    pub version: u32,
    /// The node's commitment to the witnesses of all transactions.
    commitment: Option<Vec<u8>>,
    pub transactions: Arc<[Arc<NodeTransaction>]>,
    pub weight_limit: u32,
    sigop_limit: u32,
}

impl Base {
    /// An empty block on this tip.
    pub fn empty(tip: NodeTip, version: u32) -> Result<Self, TemplateError> {
        Self::checked(Base {
            tip,
            version,
            commitment: None,
            transactions: Arc::new([]),
            weight_limit: MAX_BLOCK_WEIGHT,
            sigop_limit: MAX_BLOCK_SIGOP_COST,
        })
    }

    /// The node's template, whose transactions are handed over as `transactions`.
    pub fn filled(
        template: NodeTemplate,
        transactions: Arc<[Arc<NodeTransaction>]>,
    ) -> Result<Self, TemplateError> {
        let script = template.witness_commitment_script;
        Self::checked(Base {
            tip: template.tip,
            version: template.version as u32,
            commitment: (is_commitment(&script) && script.len() <= MAX_COMMITMENT_BYTES)
                .then_some(script),
            transactions,
            weight_limit: template.weight_limit,
            sigop_limit: template.sigop_limit,
        })
    }

    fn checked(base: Self) -> Result<Self, TemplateError> {
        let value = base
            .transactions
            .iter()
            .try_fold(base.tip.coinbase_value_sats, |sum, one| {
                sum.checked_add(one.fee_sats)
            });
        if value.is_none_or(|value| value > MAX_MONEY_SATS) {
            return Err(TemplateError::Value);
        }
        if base.target() == Target::ZERO {
            return Err(TemplateError::Target);
        }
        Ok(base)
    }

    /// Whether a miner would notice a difference.
    pub fn same_work(&self, other: &Base) -> bool {
        self.tip == other.tip
            && self.version == other.version
            && self.commitment == other.commitment
            && (self.weight_limit, self.sigop_limit) == (other.weight_limit, other.sigop_limit)
            && self.transactions.len() == other.transactions.len()
            && self
                .transactions
                .iter()
                .zip(other.transactions.iter())
                .all(|(one, two)| {
                    Arc::ptr_eq(one, two)
                        || (one.wtxid == two.wtxid && one.fee_sats == two.fee_sats)
                })
    }

    fn target(&self) -> Target {
        Target::from_compact(CompactTarget::from_consensus(self.tip.bits))
    }

    /// The message that activates a template on this tip; miners begin at `header_timestamp`, Unix seconds.
    pub fn new_prev_hash(&self, template_id: u64, header_timestamp: u32) -> SetNewPrevHashOwned {
        SetNewPrevHashOwned {
            template_id,
            prev_hash: self.tip.previous_hash.into(),
            header_timestamp,
            n_bits: self.tip.bits,
            target: self.target().to_le_bytes().into(),
        }
    }

    /// How many of the transactions a template for these constraints has.
    pub fn fits(
        &self,
        additional: &Additional,
        constraints: Constraints,
    ) -> Result<usize, ConstraintsError> {
        let commitment = output_bytes(
            self.commitment
                .as_deref()
                .unwrap_or(&commitment_script([0; 32])),
        );
        // the value left for additional outputs shrinks with the transactions, the room that they may take does not grow
        let additional = additional.total(MAX_MONEY_SATS);
        let room = Room::beside(
            (self.weight_limit, self.sigop_limit),
            constraints,
            commitment,
            &additional,
        )?;
        Ok(room.fits(self.transactions.iter().map(AsRef::as_ref)))
    }

    /// The template with the first `count` transactions.
    pub fn template(
        &self,
        id: u64,
        count: usize,
        additional: &Additional,
        lock: CoinbaseLock,
    ) -> Template {
        let all = count >= self.transactions.len();
        let transactions: Arc<[Arc<NodeTransaction>]> = match all {
            true => Arc::clone(&self.transactions),
            false => self.transactions.iter().take(count).cloned().collect(),
        };
        let value =
            self.tip.coinbase_value_sats + transactions.iter().map(|one| one.fee_sats).sum::<u64>();
        let additional = additional.total(value);
        let commitment = match &self.commitment {
            Some(script) if all => script.clone(),
            _ => commit_to(&transactions),
        };
        let mut outputs = additional.bytes;
        // the last one that looks like a commitment is the one that counts (BIP 141)
        push_output(&mut outputs, 0, &commitment);
        let (locktime, sequence) = lock.fields(self.tip.height);
        let siblings = merkle::path(transactions.iter().map(|one| one.txid));
        let message = NewTemplateOwned {
            template_id: id,
            future_template: false,
            version: self.version,
            coinbase_tx_version: COINBASE_VERSION,
            coinbase_prefix: script_prefix(self.tip.height)
                .try_into()
                .expect("a height is pushed by 7 bytes at most"),
            coinbase_tx_input_sequence: sequence,
            coinbase_tx_value_remaining: value - additional.value_sats,
            coinbase_tx_outputs_count: additional.count + 1,
            coinbase_tx_outputs: outputs
                .try_into()
                .expect("additional outputs and commitment are bounded far below 64 KiB"),
            coinbase_tx_locktime: locktime,
            merkle_path: siblings
                .into_iter()
                .map(Into::into)
                .collect::<Vec<_>>()
                .try_into()
                .expect("65,535 transactions have a path of 16"),
        };
        Template {
            id,
            height: self.tip.height,
            message,
            transactions,
        }
    }
}

/// Commitment to the witnesses of these transactions; the coinbase stands for 32 zero bytes (BIP 141).
fn commit_to(transactions: &[Arc<NodeTransaction>]) -> Vec<u8> {
    let path = merkle::path(transactions.iter().map(|one| one.wtxid));
    commitment_script(merkle::root([0; 32], path.iter()))
}

/// Checks what the node's transactions say of each other.
pub(crate) fn check_transactions(transactions: &[NodeTransaction]) -> Result<(), TemplateError> {
    if transactions.len() > MAX_TRANSACTIONS {
        return Err(TemplateError::Transactions);
    }
    for (position, transaction) in transactions.iter().enumerate() {
        if transaction.raw.is_empty() || transaction.raw.len() > MAX_TRANSACTION_BYTES {
            return Err(TemplateError::Transactions);
        }
        if transaction
            .depends
            .iter()
            .any(|needed| *needed as usize >= position)
        {
            return Err(TemplateError::Order);
        }
    }
    Ok(())
}
