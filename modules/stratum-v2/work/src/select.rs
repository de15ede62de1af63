//! Which transactions a block has room for beside a coinbase that others make.

use crate::NodeTransaction;
use crate::additional::AdditionalTotal;

/// Most weight units of a block (BIP 141), where the node has not told its own limit yet.
pub(crate) const MAX_BLOCK_WEIGHT: u32 = 4_000_000;
/// Most signature operation cost of a block (BIP 141), likewise.
pub(crate) const MAX_BLOCK_SIGOP_COST: u32 = 80_000;
/// Weight units of a header and of the count of transactions at its longest for [`crate::template::MAX_TRANSACTIONS`].
const HEADER_WEIGHT: u64 = 4 * (80 + 3);
/// Bytes of a coinbase without its outputs: version, input with a script of 100 bytes (the most that consensus takes, and what
/// the Template Distribution Protocol asks to reckon with), longest count of outputs, lock time.
const COINBASE_FIXED_BYTES: u64 = 4 + (1 + 36 + 1 + 100 + 4) + 5 + 4;
/// Weight units of its witness: marker, flag, one item of 32 bytes.
const COINBASE_WITNESS_WEIGHT: u64 = 2 + 1 + 1 + 32;

/// Room that whoever makes the coinbase wants for outputs of its own (`CoinbaseOutputConstraints`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Constraints {
    /// Serialised bytes of its outputs.
    pub output_bytes: u32,
    /// Signature operation cost of its outputs; as Bitcoin Core and SRI's pool understand the protocol's word "sigops".
    pub sigop_cost: u32,
}

impl Default for Constraints {
    /// Room for some 20 payouts, and the signature operations that Bitcoin Core reserves.
    fn default() -> Self {
        Constraints {
            output_bytes: 1_000,
            sigop_cost: 400,
        }
    }
}

/// Why there can be no template for such constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintsError {
    /// Not even an empty block would be valid.
    #[error("constraints-too-large")]
    TooLarge,
}

/// Weight and signature operations that transactions may have in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    weight: u64,
    sigop_cost: u64,
}

impl Room {
    /// What is left of a block beside header and coinbase.
    pub fn beside(
        limits: (u32, u32),
        constraints: Constraints,
        commitment: usize,
        additional: &AdditionalTotal,
    ) -> Result<Self, ConstraintsError> {
        let (weight_limit, sigop_limit) = limits;
        let outputs =
            u64::from(constraints.output_bytes) + commitment as u64 + additional.bytes.len() as u64;
        let taken = HEADER_WEIGHT + 4 * (COINBASE_FIXED_BYTES + outputs) + COINBASE_WITNESS_WEIGHT;
        let sigops = u64::from(constraints.sigop_cost) + additional.sigop_cost;
        let weight = u64::from(weight_limit).checked_sub(taken);
        let sigop_cost = u64::from(sigop_limit).checked_sub(sigops);
        match (weight, sigop_cost) {
            (Some(weight), Some(sigop_cost)) => Ok(Room { weight, sigop_cost }),
            _ => Err(ConstraintsError::TooLarge),
        }
    }

    /// How many transactions fit, from the first. Those that depend on a transaction stand behind it, so whatever needs one
    /// that is left out is left out with it.
    pub fn fits<'a>(&self, transactions: impl Iterator<Item = &'a NodeTransaction>) -> usize {
        let (mut weight, mut sigop_cost) = (0_u64, 0_u64);
        transactions
            .take_while(|transaction| {
                weight += u64::from(transaction.weight);
                sigop_cost += u64::from(transaction.sigops);
                weight <= self.weight && sigop_cost <= self.sigop_cost
            })
            .count()
    }
}
