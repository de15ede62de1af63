//! What the operator may choose, and the bounds that nobody may exceed.

use std::time::Duration;

/// Longest coinbase tag, bytes. scriptSig holds at most 100: 8 of the template, 7 around the tag, 1 before the extranonce
/// and [`EXTRANONCE_BYTES`] leave 61; the rest is left for what templates of other nodes may need.
pub const MAX_TAG_BYTES: usize = 40;

/// Bytes of extranonce: the prefix that tells channels apart, and what an extended channel rolls.
pub const EXTRANONCE_BYTES: u8 = SERVER_PREFIX_BYTES + CHANNEL_INDEX_BYTES + ROLLABLE_BYTES;

/// Bytes that tell this process from the one before it: a share that was accepted once must not be valid again after a
/// restart, when nobody remembers it.
pub const SERVER_PREFIX_BYTES: u8 = 4;

/// Width of the number of a channel inside the extranonce.
const CHANNEL_INDEX_BYTES: u8 = 3;

/// What an extended channel rolls, as much as the reference pool gives.
pub(crate) const ROLLABLE_BYTES: u8 = 16;

/// Numbers of channels before the first one comes up again (2 MiB of bitmap). Far more than there may be channels, so that
/// opening and closing cannot bring a prefix back while its shares are still valid.
pub(crate) const CHANNEL_NUMBERS: u32 = 1 << 24;

/// Longest `user_identity`, bytes: it becomes part of keys in storage and of labels of metrics.
pub const MAX_MINER_BYTES: usize = 128;

/// Jobs of the present tip whose late shares are still taken.
pub(crate) const PAST_JOBS: usize = 16;

/// Shares per minute that may be asked of a channel.
const SHARES_PER_MINUTE: std::ops::RangeInclusive<f32> = 0.1..=120.0;

/// How the pool treats miners. [`PoolConfig::new`] gives what suits a small machine.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolConfig {
    /// Stands in every coinbase as `Sv2/TAG//`; printable ASCII without `/`, at most [`MAX_TAG_BYTES`].
    pub coinbase_tag: String,
    /// Shares per minute that each channel's target is set for, 0.1 to 120.
    pub shares_per_minute: f32,
    /// Hashes per second below which no channel's target is set, whatever a miner says of itself: the floor of what one
    /// share costs its sender, and so a bound on what shares cost us.
    pub min_hashrate: f32,
    /// Channels of one connection; a proxy may open one for each of its miners.
    pub channels_per_connection: usize,
    /// Channels of all connections.
    pub channels: usize,
    /// Shares of one connection that may await [`crate::Books::accepted`]; then reading from it pauses.
    pub pending_shares: usize,
    /// How long the opening of a channel may wait for the first work.
    pub first_work_timeout: Duration,
    /// How often targets are fitted to what miners do.
    pub retarget_interval: Duration,
    /// How long a shutdown waits for shares and blocks that are being written down.
    pub drain: Duration,
    /// Random bytes of this process, see [`SERVER_PREFIX_BYTES`].
    pub server_prefix: [u8; SERVER_PREFIX_BYTES as usize],
}

/// A choice that cannot be: what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// See [`PoolConfig::coinbase_tag`].
    #[error("coinbase tag: printable ASCII without a slash, at most {MAX_TAG_BYTES} bytes")]
    CoinbaseTag,
    /// See [`PoolConfig::shares_per_minute`].
    #[error("shares per minute: 0.1 to 120")]
    SharesPerMinute,
    /// See [`PoolConfig::min_hashrate`].
    #[error("least hashrate: 1 hash per second or more")]
    MinHashrate,
    /// A bound of zero would let nobody in.
    #[error("bounds of channels and shares: 1 or more")]
    Bounds,
}

impl PoolConfig {
    /// The usual choices.
    pub fn new(coinbase_tag: &str, server_prefix: [u8; SERVER_PREFIX_BYTES as usize]) -> Self {
        Self {
            coinbase_tag: coinbase_tag.to_string(),
            shares_per_minute: 6.0,
            min_hashrate: 10_000.0,
            channels_per_connection: 1_000,
            channels: 20_000,
            pending_shares: 256,
            first_work_timeout: Duration::from_secs(20),
            retarget_interval: Duration::from_secs(20),
            drain: Duration::from_secs(5),
            server_prefix,
        }
    }

    /// Bounds for the listener of this pool: some messages for each channel fit its queue.
    pub fn limits(&self) -> wire::Limits {
        let messages = self
            .channels_per_connection
            .saturating_mul(4)
            .saturating_add(512);
        // a job is some hundred bytes, more where many outputs stand in the coinbase
        wire::Limits {
            outgoing_messages: messages,
            outgoing_bytes: 4 * 1024 * 1024,
            ..wire::Limits::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let tag = &self.coinbase_tag;
        if tag.len() > MAX_TAG_BYTES
            || !tag
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'/')
        {
            return Err(ConfigError::CoinbaseTag);
        }
        if !SHARES_PER_MINUTE.contains(&self.shares_per_minute) {
            return Err(ConfigError::SharesPerMinute);
        }
        if !self.min_hashrate.is_finite() || self.min_hashrate < 1.0 {
            return Err(ConfigError::MinHashrate);
        }
        if [
            self.channels_per_connection,
            self.channels,
            self.pending_shares,
        ]
        .contains(&0)
        {
            return Err(ConfigError::Bounds);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_choices_that_cannot_be() {
        let usual = || PoolConfig::new("modhost", [0; 4]);
        assert_eq!(usual().check(), Ok(()));
        for tag in ["a/b", "ä", "line\n", &"x".repeat(MAX_TAG_BYTES + 1)] {
            assert_eq!(
                PoolConfig {
                    coinbase_tag: tag.into(),
                    ..usual()
                }
                .check(),
                Err(ConfigError::CoinbaseTag)
            );
        }
        for shares_per_minute in [0.0, -1.0, 121.0, f32::NAN, f32::INFINITY] {
            assert_eq!(
                PoolConfig {
                    shares_per_minute,
                    ..usual()
                }
                .check(),
                Err(ConfigError::SharesPerMinute)
            );
        }
        for min_hashrate in [0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(
                PoolConfig {
                    min_hashrate,
                    ..usual()
                }
                .check(),
                Err(ConfigError::MinHashrate)
            );
        }
        assert_eq!(
            PoolConfig {
                channels: 0,
                ..usual()
            }
            .check(),
            Err(ConfigError::Bounds)
        );
    }
}
