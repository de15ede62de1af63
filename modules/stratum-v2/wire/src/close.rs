//! Why connections end, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $variant:ident => $word:literal,)*) => {
        /// Why a connection ended, or was not taken: a closed list, for people and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseReason { $($(#[$doc])* $variant,)* }

        impl CloseReason {
            /// All of them, in the order of [`Counters::snapshot`].
            pub const ALL: &'static [CloseReason] = &[$(CloseReason::$variant,)*];

            /// The word for it in metrics and events.
            pub fn as_str(self) -> &'static str {
                match self { $(CloseReason::$variant => $word,)* }
            }
        }
    };
}

close_reasons! {
    /// The peer closed it or its network did.
    PeerClosed => "peer-closed",
    /// As many connections as [`crate::Limits::connections`] were open.
    TooManyConnections => "too-many-connections",
    /// As many connections as [`crate::Limits::connections_per_ip`] were open from its address.
    TooManyFromPeer => "too-many-from-peer",
    /// It did not say its part of the handshake in time.
    HandshakeTimeout => "handshake-timeout",
    /// Its part of the handshake was none.
    HandshakeFailed => "handshake-failed",
    /// No SetupConnection in time.
    SetupTimeout => "setup-timeout",
    /// Its SetupConnection was answered with SetupConnection.Error.
    SetupRefused => "setup-refused",
    /// A frame did not decrypt: tampered with, or not encrypted at all.
    BadCiphertext => "bad-ciphertext",
    /// A header announced more than this role ever receives.
    FrameTooLarge => "frame-too-large",
    /// A frame was begun and not finished in time.
    FrameTimeout => "frame-timeout",
    /// A payload was not the message that its header named.
    MalformedFrame => "malformed-frame",
    /// A message type that the protocol does not have.
    UnknownMessage => "unknown-message",
    /// A message that this role never receives, or not now.
    UnexpectedMessage => "unexpected-message",
    /// It did not read what it was sent.
    SlowReader => "slow-reader",
    /// There was no work to give it in time.
    NoWork => "no-work",
    /// This server could not go on with it; no fault of the peer.
    Internal => "internal",
    /// This server is shutting down.
    Shutdown => "shutdown",
}

/// What has become of all connections of one listener.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    established: AtomicU64,
    open: AtomicU64,
    ignored_frames: AtomicU64,
    accept_errors: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
}

impl Counters {
    /// TCP connections taken so far, refused ones included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Handshakes that succeeded so far.
    pub fn established(&self) -> u64 {
        self.established.load(Ordering::Relaxed)
    }

    /// Connections open now, unfinished handshakes included.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Frames of extensions that were never agreed on; the specification wants them ignored.
    pub fn ignored_frames(&self) -> u64 {
        self.ignored_frames.load(Ordering::Relaxed)
    }

    /// How often the operating system had no connection to give (descriptors exhausted).
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections that ended for this reason so far.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].load(Ordering::Relaxed)
    }

    /// All reasons with their counts, zeros included.
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        CloseReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), self.closed(*reason)))
            .collect()
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_established(&self) {
        self.established.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_ignored_frame(&self) {
        self.ignored_frames.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_and_a_place_of_its_own() {
        let counters = Counters::default();
        for reason in CloseReason::ALL {
            counters.count_closed(*reason);
        }
        let words: std::collections::HashSet<_> = counters.snapshot().into_iter().collect();
        assert_eq!(words.len(), CloseReason::ALL.len());
        assert!(words.iter().all(|(_, count)| *count == 1));
    }
}
