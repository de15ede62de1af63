use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::v1::ErrorReason;

/// Trailer that carries the reason of a failed call; see `proto/modhost/v1/error.proto`.
const REASON: &str = "modhost-reason";
/// Trailer that tells when a retry may succeed, decimal milliseconds.
const RETRY_AFTER: &str = "modhost-retry-after-ms";
/// Longest wait that a trailer can ask for: what a host of ours never exceeds, so that a defect does not stop a module for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why a call failed; programs decide by this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A reason of the contract's closed list.
    Told(ErrorReason),
    /// Nobody answered: the connection is not there or broke.
    Unreachable,
    /// The host gave a reason of a newer contract, or none.
    Unknown(Code),
    /// The environment lacks what a host puts there: a person started the program.
    NotStartedByHost,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(reason) => {
                let name = reason.as_str_name();
                out.write_str(name.strip_prefix("ERROR_REASON_").unwrap_or(name))
            }
            Self::Unreachable => out.write_str("HOST_UNREACHABLE"),
            Self::Unknown(code) => write!(out, "UNKNOWN ({code:?})"),
            Self::NotStartedByHost => out.write_str("NOT_STARTED_BY_HOST"),
        }
    }
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct HostError {
    /// What programs look at.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// Wait that the host asks for before a retry.
    pub retry_after: Option<Duration>,
}

impl HostError {
    /// An error of this crate's own making.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The work was given up by the module itself.
    pub fn cancelled() -> Self {
        Self::new(Reason::Told(ErrorReason::Cancelled), "given up")
    }

    /// True when the host gave this reason of the contract.
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.reason == Reason::Told(reason)
    }

    /// True when the session has ended, which is how a module is stopped; no retry brings it back.
    ///
    /// HANDSHAKE_REQUIRED belongs here: a host that does not know this session any more has begun anew, and starts the
    /// module anew as well.
    pub fn is_session_over(&self) -> bool {
        use ErrorReason::{
            BadToken, HandshakeRequired, HostStopping, SessionClosed, StartupTimeout,
        };
        matches!(
            self.reason,
            Reason::Told(
                SessionClosed | HostStopping | HandshakeRequired | BadToken | StartupTimeout
            )
        )
    }

    /// True when the same call may succeed later: the contract says "retry", or the host could not be reached.
    pub fn is_retryable(&self) -> bool {
        use ErrorReason::{
            DeadlineExceeded, ModuleUnavailable, NodeBusy, NodeSyncing, NodeUnavailable,
            RateLimited, TipMoved, TooManyCalls,
        };
        match self.reason {
            Reason::Unreachable => true,
            Reason::Told(reason) => matches!(
                reason,
                DeadlineExceeded
                    | ModuleUnavailable
                    | NodeBusy
                    | NodeSyncing
                    | NodeUnavailable
                    | RateLimited
                    | TipMoved
                    | TooManyCalls
            ),
            Reason::Unknown(_) | Reason::NotStartedByHost => false,
        }
    }
}

impl From<Status> for HostError {
    fn from(status: Status) -> Self {
        let told = text(status.metadata(), REASON)
            .and_then(|name| ErrorReason::from_str_name(&format!("ERROR_REASON_{name}")))
            .map(Reason::Told);
        let retry_after = text(status.metadata(), RETRY_AFTER)
            .and_then(|value| value.parse().ok())
            .map(|wait| Duration::from_millis(wait).min(MAX_RETRY_AFTER));
        Self {
            reason: told.unwrap_or_else(|| without_reason(&status)),
            message: status.message().to_owned(),
            retry_after,
        }
    }
}

/// A status that no host of ours wrote: the library's own words on a broken connection or a passed deadline.
fn without_reason(status: &Status) -> Reason {
    match status.code() {
        Code::DeadlineExceeded => Reason::Told(ErrorReason::DeadlineExceeded),
        // what hyper and h2 make of a connection that is refused, reset, or closed in the middle of a call
        Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown => Reason::Unreachable,
        // tonic's word for a message over the receiving bound
        Code::OutOfRange => Reason::Told(ErrorReason::MessageTooLarge),
        code => Reason::Unknown(code),
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, trailers: &[(&'static str, &'static str)]) -> Status {
        let mut metadata = MetadataMap::new();
        for (key, value) in trailers {
            metadata.insert(*key, value.parse().unwrap());
        }
        Status::with_metadata(code, "words", metadata)
    }

    #[test]
    fn the_trailer_gives_reason_and_wait() {
        let error = HostError::from(status(
            Code::ResourceExhausted,
            &[(REASON, "RATE_LIMITED"), (RETRY_AFTER, "250")],
        ));
        assert!(error.is(ErrorReason::RateLimited));
        assert_eq!(error.retry_after, Some(Duration::from_millis(250)));
        assert!(error.is_retryable() && !error.is_session_over());
        assert_eq!(error.reason.to_string(), "RATE_LIMITED");
    }

    #[test]
    fn a_reason_of_a_newer_contract_falls_back_to_its_code() {
        let error = HostError::from(status(
            Code::FailedPrecondition,
            &[(REASON, "SOMETHING_NEW")],
        ));
        assert_eq!(error.reason, Reason::Unknown(Code::FailedPrecondition));
    }

    #[test]
    fn a_broken_connection_is_a_host_that_cannot_be_reached() {
        assert_eq!(
            HostError::from(status(Code::Unavailable, &[])).reason,
            Reason::Unreachable
        );
        assert!(HostError::from(status(Code::Internal, &[])).is_retryable());
    }

    #[test]
    fn a_nonsensical_wait_is_ignored_and_a_huge_one_cut() {
        let wait =
            |value| HostError::from(status(Code::Unavailable, &[(RETRY_AFTER, value)])).retry_after;
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("99999999999999"), Some(MAX_RETRY_AFTER));
    }
}
