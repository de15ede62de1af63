//! Targets follow shares.

use std::sync::Arc;

use stratum_core::bitcoin::ScriptBuf;
use stratum_core::channels_sv2::extranonce_manager::ExtranonceAllocator;
use tokio::sync::watch;

use super::*;
use crate::config::EXTRANONCE_BYTES;
use crate::shared::Shared;
use crate::{AcceptedShare, Books, BooksError, FoundBlock};

struct NoBooks;

#[async_trait::async_trait]
impl Books for NoBooks {
    async fn accepted(&self, _: AcceptedShare) -> Result<(), BooksError> {
        Ok(())
    }
    fn rejected(&self, _: &str, _: &str) {}
    async fn found(&self, _: FoundBlock) -> Result<(), BooksError> {
        Ok(())
    }
    fn connected(&self, _: std::net::SocketAddr) {}
    fn disconnected(&self, _: std::net::SocketAddr, _: &'static str) {}
    fn channels(&self, _: &str, _: u32) {}
    fn job_created(&self, _: u64, _: [u8; 32], _: u32) {}
}

fn channel(hashrate: f32) -> Channel {
    let config = PoolConfig::new("t", [0; 4]);
    let allocator = ExtranonceAllocator::new(vec![0; 4], EXTRANONCE_BYTES, 1 << 24).unwrap();
    let (work, payout) = (watch::channel(None).1, watch::channel(ScriptBuf::new()).1);
    let shared = Arc::new(Shared::new(
        config.clone(),
        Arc::new(NoBooks),
        work,
        payout,
        allocator,
    ));
    let prefix = shared.extended_prefix(16).unwrap();
    let seat = Seat::take(&shared).unwrap();
    Channel::extended(2, "m".into(), prefix, Target::MAX, hashrate, &config, seat)
        .unwrap_or_else(|_| panic!())
}

impl Channel {
    fn pretend_last_retarget_was(&mut self, seconds_ago: u64) {
        let before = self.vardiff.last_update_timestamp() - seconds_ago;
        self.vardiff.set_timestamp_of_last_update(before);
    }
}

#[test]
fn fits_the_target_to_the_shares_that_come() {
    let mut channel = channel(1e9);
    let before = channel.target();
    assert!(channel.retarget(6.0).is_none(), "nothing is known yet");
    for _ in 0..60 {
        channel.vardiff.increment_shares_since_last_update();
    }
    channel.pretend_last_retarget_was(60);
    let harder = channel
        .retarget(6.0)
        .expect("ten times the shares that were asked for");
    assert_eq!(
        (harder.channel_id, harder.maximum_target.to_array()),
        (2, channel.target().to_le_bytes())
    );
    assert!(channel.target() < before);
    let before = channel.target();
    channel.pretend_last_retarget_was(60);
    channel.retarget(6.0).expect("no share at all");
    assert!(channel.target() > before);
}

#[test]
fn never_sets_a_target_below_the_floor() {
    let mut channel = channel(20_000.0);
    for _ in 0..20 {
        channel.pretend_last_retarget_was(90);
        channel.retarget(6.0);
    }
    assert_eq!(channel.nominal_hashrate(), 10_000.0);
}
