//! Shares: as submitted, as judged.

use stratum_core::channels_sv2::server::share_accounting::ShareValidationError;
use stratum_core::mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use wire::CloseReason;

/// A share as submitted, by kind of channel.
pub(crate) enum Share {
    Standard(SubmitSharesStandardOwned),
    Extended(SubmitSharesExtendedOwned),
}

impl Share {
    pub(crate) fn channel_id(&self) -> u32 {
        match self {
            Share::Standard(share) => share.channel_id,
            Share::Extended(share) => share.channel_id,
        }
    }

    pub(crate) fn sequence_number(&self) -> u32 {
        match self {
            Share::Standard(share) => share.sequence_number,
            Share::Extended(share) => share.sequence_number,
        }
    }

    pub(crate) fn job_id(&self) -> u32 {
        match self {
            Share::Standard(share) => share.job_id,
            Share::Extended(share) => share.job_id,
        }
    }

    /// Version, time and nonce of the header.
    pub(crate) fn header(&self) -> (u32, u32, u32) {
        match self {
            Share::Standard(share) => (share.version, share.ntime, share.nonce),
            Share::Extended(share) => (share.version, share.ntime, share.nonce),
        }
    }
}

/// A share that met its target.
pub(crate) struct Valid {
    pub(crate) hash: [u8; 32],
    /// Difficulty of its own.
    pub(crate) difficulty: f64,
    /// Difficulty of the target it was asked to meet.
    pub(crate) work: f64,
    pub(crate) template_id: u64,
    pub(crate) job_id: u32,
    /// Serialised coinbase, when it is a block too.
    pub(crate) block: Option<Vec<u8>>,
}

/// Why a share is not taken.
pub(crate) enum Refused {
    /// The miner is told this code.
    Code(&'static str),
    /// No more duplicates can be told apart on this tip: the channel ends.
    Exhausted,
    /// The connection ends.
    Close(CloseReason),
}

impl From<ShareValidationError> for Refused {
    fn from(error: ShareValidationError) -> Self {
        match error {
            ShareValidationError::Invalid(code)
            | ShareValidationError::Stale(code)
            | ShareValidationError::InvalidJobId(code)
            | ShareValidationError::DoesNotMeetTarget(code)
            | ShareValidationError::VersionRollingNotAllowed(code)
            | ShareValidationError::DuplicateShare(code)
            | ShareValidationError::BadExtranonceSize(code) => Refused::Code(code),
            ShareValidationError::SeenSharesBudgetExhausted => Refused::Exhausted,
            ShareValidationError::InvalidCoinbase | ShareValidationError::NoChainTip => {
                Refused::Close(CloseReason::Internal)
            }
        }
    }
}
