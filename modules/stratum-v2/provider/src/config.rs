//! What the operator may choose.

use std::time::Duration;

/// How the provider treats its clients. [`ProviderConfig::default`] suits a node at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Clients at a time. They are pools and job declarators, not miners, and each may have a block's worth of transactions
    /// under way to it.
    pub clients: usize,
    /// A better template of the same tip goes out when its coinbase pays this much more than the last one sent, satoshis.
    pub fee_delta_sats: u64,
    /// And when the last one went out at least this long ago.
    pub min_interval: Duration,
    /// A template that differs at all goes out when the last one went out this long ago, whatever it pays: transactions in the
    /// old one may have been replaced.
    pub max_interval: Duration,
    /// How long a client may take to say what its coinbase outputs need; it is sent nothing before.
    pub constraints_timeout: Duration,
    /// Solutions of one client that may await [`crate::Solutions::found`]; then reading from it pauses.
    pub pending_solutions: usize,
    /// How long a shutdown waits for solutions that are being handed over.
    pub drain: Duration,
}

/// A choice that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A bound of zero would let nobody in.
    #[error("bounds of clients and solutions: 1 or more")]
    Bounds,
    /// The longest interval is shorter than the shortest.
    #[error("intervals between templates: the longest is no shorter than the shortest")]
    Intervals,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            clients: 16,
            // what SRI's and Bitcoin Core's template providers wait for
            fee_delta_sats: 1_000,
            min_interval: Duration::from_secs(5),
            max_interval: Duration::from_secs(60),
            constraints_timeout: Duration::from_secs(30),
            pending_solutions: 8,
            drain: Duration::from_secs(5),
        }
    }
}

/// Longest message of a client: a solution whose coinbase has 65,535 bytes.
const LONGEST_SOLUTION_BYTES: usize = 22 + 65_535;
/// Messages of a client per second for good. It asks once per template and seldom finds a block.
const FRAMES_PER_SECOND: u32 = 20;
/// Those that may come at once: a client that reconnects asks for what it missed.
const FRAMES_BURST: u32 = 100;
/// Messages under way to a client: two per tip, one per template, and answers that reading waits for.
const OUTGOING_MESSAGES: usize = 64;
/// Bytes under way to a client, beside which one message of any size passes.
const OUTGOING_BYTES: usize = 12 * 1024 * 1024;

impl ProviderConfig {
    /// Bounds for the listener of this provider.
    pub fn limits(&self) -> wire::Limits {
        wire::Limits {
            connections: self.clients,
            connections_per_ip: self.clients,
            payload_bytes: LONGEST_SOLUTION_BYTES,
            incoming_frames: 4,
            outgoing_messages: OUTGOING_MESSAGES,
            outgoing_bytes: OUTGOING_BYTES,
            frames_per_second: FRAMES_PER_SECOND,
            frames_burst: FRAMES_BURST,
            ..wire::Limits::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.clients == 0 || self.pending_solutions == 0 {
            return Err(ConfigError::Bounds);
        }
        if self.max_interval < self.min_interval {
            return Err(ConfigError::Intervals);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_choices_that_cannot_be() {
        let usual = ProviderConfig::default();
        assert_eq!(usual.check(), Ok(()));
        let nobody = ProviderConfig {
            clients: 0,
            ..usual
        };
        assert_eq!(nobody.check(), Err(ConfigError::Bounds));
        let crossed = ProviderConfig {
            max_interval: Duration::from_secs(1),
            ..usual
        };
        assert_eq!(crossed.check(), Err(ConfigError::Intervals));
    }
}
