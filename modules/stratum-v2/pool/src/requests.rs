//! What a miner asks for: channels, other targets, and credit for shares.

use std::sync::Arc;

use stratum_core::bitcoin::Target;
use stratum_core::mining_sv2::{
    CloseChannelOwned, ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
    ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS,
    ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE,
    ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY,
    ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID,
    ERROR_CODE_UPDATE_CHANNEL_INVALID_NOMINAL_HASHRATE, OpenExtendedMiningChannelOwned,
    OpenExtendedMiningChannelSuccessOwned, OpenMiningChannelErrorOwned,
    OpenStandardMiningChannelOwned, OpenStandardMiningChannelSuccessOwned, UpdateChannelErrorOwned,
    UpdateChannelOwned,
};
use stratum_core::parsers_sv2::MiningOwned;
use tokio::time::timeout;
use wire::CloseReason;
use work::{Solution, Work};

use crate::acks::refusal;
use crate::channel::Channel;
use crate::channels::GROUP_ID;
use crate::config::{MAX_MINER_BYTES, ROLLABLE_BYTES};
use crate::session::{Session, Settled};
use crate::share::{Refused, Share, Valid};
use crate::shared::Seat;
use crate::stats::{ChannelStats, unix_ms};
use crate::{AcceptedShare, FoundBlock, INVALID_CHANNEL_ID};

/// Error code of an opening for which there was no work in time; the connection ends after it. The specification has none.
pub const NO_WORK: &str = "no-work-available";

/// Reason of a CloseChannel for a channel that sent more shares on one tip than duplicates can be told apart in.
pub const TOO_MANY_SHARES: &str = "too-many-shares";

/// What both kinds of opening ask.
struct Opening {
    miner: String,
    hashrate: f32,
    max_target: Target,
}

impl Session {
    pub(crate) async fn open_standard(
        &mut self,
        message: OpenStandardMiningChannelOwned,
    ) -> Result<(), CloseReason> {
        let request_id = message.request_id;
        let opening = Opening {
            miner: message.user_identity.as_utf8_or_hex(),
            hashrate: message.nominal_hash_rate,
            max_target: Target::from_le_bytes(message.max_target.to_array()),
        };
        let made = self.channel(opening, |session, opening, seat, id| {
            let prefix = session.shared.standard_prefix().map_err(Ok)?;
            let Opening {
                miner,
                hashrate,
                max_target,
            } = opening;
            Channel::standard(
                id,
                miner,
                prefix,
                max_target,
                hashrate,
                &session.shared.config,
                seat,
            )
        });
        let channel = match made {
            Ok(channel) => channel,
            Err(Ok(code)) => return self.refuse_opening(request_id, code),
            Err(Err(reason)) => return Err(reason),
        };
        let success =
            MiningOwned::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccessOwned {
                request_id,
                channel_id: channel.id(),
                target: channel.target().to_le_bytes().into(),
                extranonce_prefix: channel
                    .extranonce_prefix()
                    .to_vec()
                    .try_into()
                    .map_err(|_| CloseReason::Internal)?,
                group_channel_id: GROUP_ID,
            });
        self.opened(channel, request_id, success).await
    }

    pub(crate) async fn open_extended(
        &mut self,
        message: OpenExtendedMiningChannelOwned,
    ) -> Result<(), CloseReason> {
        let request_id = message.request_id;
        if self.channels.standard_only {
            let code =
                ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS;
            return self.refuse_opening(request_id, code);
        }
        let opening = Opening {
            miner: message.user_identity.as_utf8_or_hex(),
            hashrate: message.nominal_hash_rate,
            max_target: Target::from_le_bytes(message.max_target.to_array()),
        };
        let made = self.channel(opening, |session, opening, seat, id| {
            let prefix = session
                .shared
                .extended_prefix(message.min_extranonce_size.into())
                .map_err(Ok)?;
            let Opening {
                miner,
                hashrate,
                max_target,
            } = opening;
            Channel::extended(
                id,
                miner,
                prefix,
                max_target,
                hashrate,
                &session.shared.config,
                seat,
            )
        });
        let channel = match made {
            Ok(channel) => channel,
            Err(Ok(code)) => return self.refuse_opening(request_id, code),
            Err(Err(reason)) => return Err(reason),
        };
        let success =
            MiningOwned::OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccessOwned {
                request_id,
                channel_id: channel.id(),
                target: channel.target().to_le_bytes().into(),
                extranonce_size: ROLLABLE_BYTES.into(),
                extranonce_prefix: channel
                    .extranonce_prefix()
                    .to_vec()
                    .try_into()
                    .map_err(|_| CloseReason::Internal)?,
                group_channel_id: GROUP_ID,
            });
        self.opened(channel, request_id, success).await
    }

    /// Makes a channel within all bounds; the inner `Ok` of an error is the code for the miner.
    fn channel(
        &mut self,
        mut opening: Opening,
        make: impl FnOnce(
            &mut Self,
            Opening,
            Seat,
            u32,
        ) -> Result<Channel, Result<&'static str, CloseReason>>,
    ) -> Result<Channel, Result<&'static str, CloseReason>> {
        if !is_name(&opening.miner) {
            return Err(Ok(ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY));
        }
        let floor = self.shared.config.min_hashrate;
        opening.hashrate = credible(opening.hashrate, floor)
            .ok_or(Ok(ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE))?;
        if self.channels.open.len() >= self.shared.config.channels_per_connection {
            return Err(Ok(
                ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
            ));
        }
        let seat = Seat::take(&self.shared).ok_or(Ok(
            ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
        ))?;
        let id = self.channels.next_id().map_err(Err)?;
        make(self, opening, seat, id)
    }

    /// Answers an opening and gives the channel its first job.
    async fn opened(
        &mut self,
        mut channel: Channel,
        request_id: u32,
        success: MiningOwned,
    ) -> Result<(), CloseReason> {
        let Some(work) = self.first_work().await else {
            self.refuse_opening(request_id, NO_WORK)?;
            self.flush()?;
            return Err(CloseReason::NoWork);
        };
        let payout = self.shared.payout.borrow().clone();
        self.channels.follow(&work, &payout, &mut self.out)?;
        self.out.push(success);
        channel.announce();
        self.show(ChannelStats::new(
            channel.id(),
            channel.kind(),
            channel.miner().to_string(),
            channel.target().difficulty_float(),
            channel.nominal_hashrate().into(),
        ));
        self.channels.admit(channel, &work, &payout, &mut self.out)
    }

    async fn first_work(&self) -> Option<Arc<Work>> {
        let mut work = self.shared.work.clone();
        let patience = self.shared.config.first_work_timeout;
        let present = timeout(patience, work.wait_for(Option::is_some))
            .await
            .ok()?
            .ok()?;
        present.clone()
    }

    fn refuse_opening(&mut self, request_id: u32, code: &'static str) -> Result<(), CloseReason> {
        let error_code = code
            .to_string()
            .try_into()
            .map_err(|_| CloseReason::Internal)?;
        self.out.push(MiningOwned::OpenMiningChannelError(
            OpenMiningChannelErrorOwned {
                request_id,
                error_code,
            },
        ));
        Ok(())
    }

    pub(crate) fn update_channel(
        &mut self,
        message: &UpdateChannelOwned,
    ) -> Result<(), CloseReason> {
        let id = message.channel_id;
        let floor = self.shared.config.min_hashrate;
        let max_target = Target::from_le_bytes(message.maximum_target.to_array());
        let updated = match (
            self.channels.open.get_mut(&id),
            credible(message.nominal_hash_rate, floor),
        ) {
            (None, _) => Err(Ok(ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID)),
            (_, None) => Err(Ok(ERROR_CODE_UPDATE_CHANNEL_INVALID_NOMINAL_HASHRATE)),
            (Some(channel), Some(hashrate)) => {
                channel.update(hashrate, Some(max_target)).map(|()| {
                    (
                        channel.set_target(),
                        channel.target().difficulty_float(),
                        channel.nominal_hashrate(),
                    )
                })
            }
        };
        match updated {
            Ok((message, difficulty, hashrate)) => {
                self.count(id, |stats| {
                    stats.difficulty = difficulty;
                    stats.nominal_hashrate = hashrate.into();
                });
                self.out.push(MiningOwned::SetTarget(message));
                Ok(())
            }
            Err(Ok(code)) => {
                let error_code = code
                    .to_string()
                    .try_into()
                    .map_err(|_| CloseReason::Internal)?;
                self.out
                    .push(MiningOwned::UpdateChannelError(UpdateChannelErrorOwned {
                        channel_id: id,
                        error_code,
                    }));
                Ok(())
            }
            Err(Err(reason)) => Err(reason),
        }
    }

    pub(crate) fn submit(&mut self, share: Share) -> Result<(), CloseReason> {
        let (id, sequence, header) = (share.channel_id(), share.sequence_number(), share.header());
        let Some(channel) = self
            .channels
            .open
            .get_mut(&id)
            .filter(|channel| channel.takes(&share))
        else {
            // whose share it would be is not known
            self.shared.books.rejected("", INVALID_CHANNEL_ID);
            self.out.push(refusal(id, sequence, INVALID_CHANNEL_ID)?);
            return Ok(());
        };
        match channel.submit(share) {
            Ok(valid) => {
                self.accept(id, sequence, header, valid);
                Ok(())
            }
            Err(Refused::Code(code)) => {
                self.shared.books.rejected(channel.miner(), code);
                self.out.push(refusal(id, sequence, code)?);
                self.count(id, |stats| {
                    *stats.shares_rejected.entry(code).or_default() += 1
                });
                Ok(())
            }
            Err(Refused::Exhausted) => {
                let reason_code = TOO_MANY_SHARES
                    .to_string()
                    .try_into()
                    .map_err(|_| CloseReason::Internal)?;
                self.out.push(MiningOwned::CloseChannel(CloseChannelOwned {
                    channel_id: id,
                    reason_code,
                }));
                self.forget(id);
                Ok(())
            }
            Err(Refused::Close(reason)) => Err(reason),
        }
    }

    /// Hands a block over first of all, then has the share written down.
    fn accept(&mut self, id: u32, sequence: u32, header: (u32, u32, u32), valid: Valid) {
        let Some(channel) = self.channels.open.get_mut(&id) else {
            return;
        };
        let miner = channel.miner().to_string();
        let Valid {
            hash,
            difficulty,
            work,
            template_id,
            job_id,
            block,
        } = valid;
        let found = block.is_some();
        if let Some(coinbase_tx) = block {
            let (version, header_timestamp, header_nonce) = header;
            let solution = Solution {
                template_id,
                version,
                header_timestamp,
                header_nonce,
                coinbase_tx,
            };
            self.shared.hand_over(
                hash,
                FoundBlock {
                    miner: miner.clone(),
                    solution,
                },
            );
        }
        let ticket = channel.acks.push(sequence, work);
        self.pending += 1;
        self.count(id, |stats| {
            stats.shares_pending += 1;
            stats.blocks_found += u64::from(found);
        });
        let share = AcceptedShare {
            miner,
            channel_id: id,
            sequence_number: sequence,
            template_id,
            job_id,
            hash,
            work,
            time_unix_ms: unix_ms(),
        };
        let (books, settled) = (self.shared.books.clone(), self.settled.clone());
        // a task of its own: what was begun is finished even when the connection ends
        let written = self
            .shared
            .tasks
            .spawn(async move { books.accepted(share).await.is_ok() });
        self.shared.tasks.spawn(async move {
            // books that panic have not written
            let durable = written.await.unwrap_or(false);
            let _ = settled
                .send(Settled {
                    channel_id: id,
                    ticket,
                    durable,
                    work,
                    difficulty,
                })
                .await;
        });
    }
}

/// Whether a name can stand in keys and labels.
fn is_name(miner: &str) -> bool {
    miner.len() <= MAX_MINER_BYTES && !miner.chars().any(char::is_control)
}

/// A hashrate that a target can be set for, raised to the floor.
fn credible(hashrate: f32, floor: f32) -> Option<f32> {
    (hashrate.is_finite() && hashrate >= 0.0).then(|| hashrate.max(floor))
}
