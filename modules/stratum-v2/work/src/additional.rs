//! Outputs that other modules want in every coinbase: commitments of merge-mined chains, shares of a pool.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::coinbase::{is_commitment, output_bytes, push_output, sigop_cost};
use crate::pace::Paces;

/// Owners at a time: every one of them costs each block a little.
pub const MAX_ADDITIONAL_OWNERS: usize = 16;
/// Outputs of one owner.
pub const MAX_ADDITIONAL_OUTPUTS_PER_OWNER: usize = 8;
/// Serialised bytes of the outputs of one owner.
pub const MAX_ADDITIONAL_BYTES_PER_OWNER: usize = 1_024;
/// Serialised bytes of all owners' outputs: with the witness commitment they must fit into a miner's job message of 64 KiB and
/// leave the block to transactions.
pub const MAX_ADDITIONAL_BYTES: usize = 4_096;
/// Signature operation cost of all owners' outputs, of the 80,000 of a block; what Bitcoin Core reserves by default.
pub const MAX_ADDITIONAL_SIGOP_COST: u64 = 400;

/// One more output of the coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalOutput {
    /// scriptPubKey.
    pub script: Vec<u8>,
    /// Satoshis, taken from what the coinbase may pay.
    pub value_sats: u64,
}

/// Why outputs were not taken; what the owner had before stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdditionalError {
    /// Over [`MAX_ADDITIONAL_OWNERS`].
    #[error("too-many-owners")]
    TooManyOwners,
    /// Over [`MAX_ADDITIONAL_OUTPUTS_PER_OWNER`].
    #[error("too-many-outputs")]
    TooManyOutputs,
    /// Over [`MAX_ADDITIONAL_BYTES_PER_OWNER`] or, together, [`MAX_ADDITIONAL_BYTES`].
    #[error("too-many-bytes")]
    TooManyBytes,
    /// Over [`MAX_ADDITIONAL_SIGOP_COST`] together.
    #[error("too-many-sigops")]
    TooManySigops,
    /// The values of all owners' outputs would exceed what the configuration allows.
    #[error("value-not-allowed")]
    ValueNotAllowed,
    /// The script looks like a witness commitment (BIP 141): consensus would take the block's last such output for it.
    #[error("witness-commitment")]
    WitnessCommitment,
    /// More than [`crate::ADDITIONAL_CHANGES_BURST`] changes in a row; one more every [`crate::ADDITIONAL_CHANGE_INTERVAL`].
    #[error("too-often")]
    TooOften,
}

/// Additional outputs by owner, within the bounds.
#[derive(Debug, Default)]
pub(crate) struct Additional {
    owners: BTreeMap<String, Vec<AdditionalOutput>>,
    paces: Paces,
}

/// What the outputs together cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AdditionalTotal {
    /// Serialised one after the other, in the order of the owners' names.
    pub bytes: Vec<u8>,
    pub count: u32,
    pub value_sats: u64,
    pub sigop_cost: u64,
}

impl Additional {
    /// Replaces the outputs of one owner; none removes it. Tells whether anything changed.
    pub fn set(
        &mut self,
        owner: &str,
        outputs: Vec<AdditionalOutput>,
        max_value_sats: u64,
        now: Instant,
    ) -> Result<bool, AdditionalError> {
        if outputs.is_empty() {
            return Ok(self.owners.remove(owner).is_some());
        }
        if self.owners.get(owner) == Some(&outputs) {
            return Ok(false);
        }
        if !self.owners.contains_key(owner) && self.owners.len() >= MAX_ADDITIONAL_OWNERS {
            return Err(AdditionalError::TooManyOwners);
        }
        if outputs.len() > MAX_ADDITIONAL_OUTPUTS_PER_OWNER {
            return Err(AdditionalError::TooManyOutputs);
        }
        if outputs.iter().any(|output| is_commitment(&output.script)) {
            return Err(AdditionalError::WitnessCommitment);
        }
        let own: usize = outputs
            .iter()
            .map(|output| output_bytes(&output.script))
            .sum();
        let others = || {
            self.owners
                .iter()
                .filter(|(name, _)| *name != owner)
                .flat_map(|(_, outputs)| outputs)
        };
        let all: usize = own
            + others()
                .map(|output| output_bytes(&output.script))
                .sum::<usize>();
        if own > MAX_ADDITIONAL_BYTES_PER_OWNER || all > MAX_ADDITIONAL_BYTES {
            return Err(AdditionalError::TooManyBytes);
        }
        if others()
            .chain(&outputs)
            .map(|output| sigop_cost(&output.script))
            .sum::<u64>()
            > MAX_ADDITIONAL_SIGOP_COST
        {
            return Err(AdditionalError::TooManySigops);
        }
        let value = others()
            .chain(&outputs)
            .try_fold(0_u64, |sum, output| sum.checked_add(output.value_sats));
        if value.is_none_or(|value| value > max_value_sats) {
            return Err(AdditionalError::ValueNotAllowed);
        }
        // a removal is never refused, and there is none without something set before
        if !self.paces.take(owner, now) {
            return Err(AdditionalError::TooOften);
        }
        self.owners.insert(owner.to_owned(), outputs);
        Ok(true)
    }

    /// All outputs in one piece, as long as they pay no more than `available_sats`; those that would are left out.
    pub fn total(&self, available_sats: u64) -> AdditionalTotal {
        let mut total = AdditionalTotal::default();
        for output in self.owners.values().flatten() {
            if output.value_sats > available_sats - total.value_sats {
                continue;
            }
            push_output(&mut total.bytes, output.value_sats, &output.script);
            total.count += 1;
            total.value_sats += output.value_sats;
            total.sigop_cost += sigop_cost(&output.script);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coinbase::commitment_script;

    /// Additional outputs, set now.
    #[derive(Default)]
    struct Fixed(Additional);

    impl Fixed {
        fn set(
            &mut self,
            owner: &str,
            outputs: Vec<AdditionalOutput>,
            max_value_sats: u64,
        ) -> Result<bool, AdditionalError> {
            self.0.set(owner, outputs, max_value_sats, Instant::now())
        }

        fn total(&self, available_sats: u64) -> AdditionalTotal {
            self.0.total(available_sats)
        }
    }

    fn note(bytes: usize) -> AdditionalOutput {
        AdditionalOutput {
            script: [vec![0x6a], vec![0x51; bytes]].concat(),
            value_sats: 0,
        }
    }

    #[test]
    fn bounds_hold_per_owner_and_together() {
        let mut additional = Fixed::default();
        assert_eq!(
            additional.set("a", vec![note(1); 9], 0),
            Err(AdditionalError::TooManyOutputs)
        );
        assert_eq!(
            additional.set("a", vec![note(600); 2], 0),
            Err(AdditionalError::TooManyBytes)
        );
        for owner in ["a", "b", "c", "d"] {
            assert_eq!(additional.set(owner, vec![note(1_000)], 0), Ok(true));
        }
        assert_eq!(
            additional.set("e", vec![note(1_000)], 0),
            Err(AdditionalError::TooManyBytes)
        );
        assert_eq!(
            additional.set("a", vec![note(990)], 0),
            Ok(true),
            "an owner's own outputs make room for their successors"
        );
        for owner in ["b", "c", "d"] {
            assert_eq!(additional.set(owner, vec![note(100)], 0), Ok(true));
        }
        for owner in 0..12 {
            let owner = format!("n{owner:02}");
            assert_eq!(additional.set(&owner, vec![note(1)], 0), Ok(true));
        }
        assert_eq!(
            additional.set("z", vec![note(1)], 0),
            Err(AdditionalError::TooManyOwners)
        );
        assert_eq!(additional.set("a", vec![], 0), Ok(true));
        assert_eq!(additional.set("a", vec![], 0), Ok(false));
        assert_eq!(additional.set("z", vec![note(1)], 0), Ok(true));
    }

    #[test]
    fn value_sigops_and_commitments_are_refused() {
        let mut additional = Fixed::default();
        let pays = |value_sats| AdditionalOutput {
            script: vec![0x51],
            value_sats,
        };
        assert_eq!(
            additional.set("a", vec![pays(1)], 0),
            Err(AdditionalError::ValueNotAllowed)
        );
        assert_eq!(
            additional.set("a", vec![pays(u64::MAX), pays(2)], u64::MAX),
            Err(AdditionalError::ValueNotAllowed)
        );
        assert_eq!(additional.set("a", vec![pays(60)], 100), Ok(true));
        assert_eq!(
            additional.set("b", vec![pays(60)], 100),
            Err(AdditionalError::ValueNotAllowed)
        );
        let checks = AdditionalOutput {
            script: vec![0xac; 101],
            value_sats: 0,
        };
        assert_eq!(
            additional.set("b", vec![checks], 100),
            Err(AdditionalError::TooManySigops)
        );
        let commitment = AdditionalOutput {
            script: commitment_script([1; 32]),
            value_sats: 0,
        };
        assert_eq!(
            additional.set("b", vec![commitment], 100),
            Err(AdditionalError::WitnessCommitment)
        );
        assert_eq!(additional.total(60).value_sats, 60);
        assert_eq!(
            additional.total(59),
            AdditionalTotal::default(),
            "no more is paid out than there is"
        );
    }
}
