//! One channel: the reference implementation's standard or extended channel, with what the pool knows beside it.

use std::collections::VecDeque;

use stratum_core::bitcoin::hashes::Hash;
use stratum_core::bitcoin::{Target, TxOut};
use stratum_core::channels_sv2::extranonce_manager::AllocatedExtranoncePrefix;
use stratum_core::channels_sv2::server::error::{ExtendedChannelError, StandardChannelError};
use stratum_core::channels_sv2::server::extended::ExtendedChannel;
use stratum_core::channels_sv2::server::jobs::extended::ExtendedJob;
use stratum_core::channels_sv2::server::share_accounting::{
    ShareValidationError, ShareValidationResult,
};
use stratum_core::channels_sv2::server::standard::StandardChannel;
use stratum_core::channels_sv2::{Vardiff, VardiffState};
use stratum_core::mining_sv2::{NewMiningJobOwned, SetTargetOwned};
use stratum_core::template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};
use wire::CloseReason;

use crate::PoolConfig;
use crate::acks::Acks;
use crate::config::{PAST_JOBS, ROLLABLE_BYTES};
use crate::share::{Refused, Share, Valid};
use crate::shared::Seat;
use crate::stats::ChannelKind;

/// Something that the reference implementation's bookkeeping refused although it came from here: the connection cannot go
/// on, the pool can.
pub(crate) fn internal<E: std::fmt::Debug>(_: E) -> CloseReason {
    CloseReason::Internal
}

pub(crate) enum Kind {
    Standard(Box<StandardChannel>),
    Extended(Box<ExtendedChannel>),
}

/// What is kept of a job beside the reference implementation's channel.
struct JobNote {
    job_id: u32,
    template_id: u64,
    work: f64,
}

pub(crate) struct Channel {
    kind: Kind,
    vardiff: VardiffState,
    /// Newest last; the active job and those whose late shares are still taken.
    jobs: VecDeque<JobNote>,
    pub(crate) acks: Acks,
    seat: Seat,
}

impl Channel {
    /// A standard channel; an error is the code for OpenMiningChannel.Error.
    pub(crate) fn standard(
        id: u32,
        miner: String,
        prefix: AllocatedExtranoncePrefix,
        max_target: Target,
        hashrate: f32,
        config: &PoolConfig,
        seat: Seat,
    ) -> Result<Self, Result<&'static str, CloseReason>> {
        let channel = StandardChannel::new_for_pool(
            id,
            miner,
            prefix,
            max_target,
            hashrate,
            1,
            config.shares_per_minute,
            config.coinbase_tag.clone(),
            Some(PAST_JOBS),
        )
        .map_err(|error| match error {
            StandardChannelError::OpenChannelInvalidNominalHashrate(code)
            | StandardChannelError::OpenChannelInvalidMaxTarget(code) => Ok(code),
            other => Err(internal(other)),
        })?;
        Self::new(Kind::Standard(Box::new(channel)), config, seat).map_err(Err)
    }

    /// An extended channel; an error is the code for OpenMiningChannel.Error.
    pub(crate) fn extended(
        id: u32,
        miner: String,
        prefix: AllocatedExtranoncePrefix,
        max_target: Target,
        hashrate: f32,
        config: &PoolConfig,
        seat: Seat,
    ) -> Result<Self, Result<&'static str, CloseReason>> {
        let channel = ExtendedChannel::new_for_pool(
            id,
            miner,
            prefix,
            max_target,
            hashrate,
            true,
            ROLLABLE_BYTES.into(),
            1,
            config.shares_per_minute,
            config.coinbase_tag.clone(),
            Some(PAST_JOBS),
        )
        .map_err(|error| match error {
            ExtendedChannelError::OpenChannelInvalidNominalHashrate(code)
            | ExtendedChannelError::OpenChannelInvalidMaxTarget(code)
            | ExtendedChannelError::RequestedMinExtranonceSizeTooLarge(code) => Ok(code),
            other => Err(internal(other)),
        })?;
        Self::new(Kind::Extended(Box::new(channel)), config, seat).map_err(Err)
    }

    fn new(kind: Kind, config: &PoolConfig, seat: Seat) -> Result<Self, CloseReason> {
        let vardiff = VardiffState::new_with_min(config.min_hashrate).map_err(internal)?;
        Ok(Self {
            kind,
            vardiff,
            jobs: VecDeque::new(),
            acks: Acks::default(),
            seat,
        })
    }

    /// It is open from now on.
    pub(crate) fn announce(&mut self) {
        let miner = self.miner().to_string();
        self.seat.announce(&miner);
    }

    pub(crate) fn kind(&self) -> ChannelKind {
        match self.kind {
            Kind::Standard(_) => ChannelKind::Standard,
            Kind::Extended(_) => ChannelKind::Extended,
        }
    }

    /// Whether the share is of this channel's kind.
    pub(crate) fn takes(&self, share: &Share) -> bool {
        matches!(
            (&self.kind, share),
            (Kind::Standard(_), Share::Standard(_)) | (Kind::Extended(_), Share::Extended(_))
        )
    }

    pub(crate) fn id(&self) -> u32 {
        match &self.kind {
            Kind::Standard(channel) => channel.get_channel_id(),
            Kind::Extended(channel) => channel.get_channel_id(),
        }
    }

    pub(crate) fn miner(&self) -> &str {
        match &self.kind {
            Kind::Standard(channel) => channel.get_user_identity(),
            Kind::Extended(channel) => channel.get_user_identity(),
        }
    }

    pub(crate) fn extranonce_prefix(&self) -> &[u8] {
        match &self.kind {
            Kind::Standard(channel) => channel.get_extranonce_prefix(),
            Kind::Extended(channel) => channel.get_extranonce_prefix(),
        }
    }

    pub(crate) fn target(&self) -> Target {
        match &self.kind {
            Kind::Standard(channel) => *channel.get_target(),
            Kind::Extended(channel) => *channel.get_target(),
        }
    }

    pub(crate) fn nominal_hashrate(&self) -> f32 {
        match &self.kind {
            Kind::Standard(channel) => channel.get_nominal_hashrate(),
            Kind::Extended(channel) => channel.get_nominal_hashrate(),
        }
    }

    /// Bytes of extranonce, rolled ones included.
    pub(crate) fn extranonce_size(&self) -> usize {
        match &self.kind {
            Kind::Standard(channel) => channel.get_extranonce_prefix().len(),
            Kind::Extended(channel) => channel.get_full_extranonce_size(),
        }
    }

    /// A job that its group was given, future or not.
    pub(crate) fn on_group_job(
        &mut self,
        job: ExtendedJob,
        template_id: u64,
    ) -> Result<(), CloseReason> {
        let (active, job_id) = (!job.is_future(), job.get_job_id());
        match &mut self.kind {
            Kind::Standard(channel) => channel.on_group_channel_job(job).map_err(internal)?,
            Kind::Extended(channel) => channel.on_group_channel_job(job).map_err(internal)?,
        }
        if active {
            self.note(job_id, template_id);
        }
        Ok(())
    }

    /// A template of which this channel makes a job of its own; gives the message. Standard channels only.
    pub(crate) fn on_template(
        &mut self,
        template: NewTemplateOwned,
        outputs: Vec<TxOut>,
    ) -> Result<NewMiningJobOwned, CloseReason> {
        let (future, template_id) = (template.future_template, template.template_id);
        let Kind::Standard(channel) = &mut self.kind else {
            return Err(CloseReason::Internal);
        };
        channel
            .on_new_template(template, outputs)
            .map_err(internal)?;
        let job = if future {
            channel
                .get_future_job_id_from_template_id(template_id)
                .and_then(|id| channel.get_future_job(id))
        } else {
            channel.get_active_job()
        };
        let message = job.ok_or(CloseReason::Internal)?.get_job_message().clone();
        if !future {
            self.note(message.job_id, template_id);
        }
        Ok(message)
    }

    /// The message of a future job of its group, for a standard channel that is told of it alone.
    pub(crate) fn future_message(&self, job_id: u32) -> Option<NewMiningJobOwned> {
        match &self.kind {
            Kind::Standard(channel) => channel
                .get_future_job(job_id)
                .map(|job| job.get_job_message().clone()),
            Kind::Extended(_) => None,
        }
    }

    /// A new tip: activates the future job of its template, all jobs before are stale. Gives the id of the active job.
    pub(crate) fn on_new_prev_hash(
        &mut self,
        message: SetNewPrevHashOwned,
    ) -> Result<u32, CloseReason> {
        let template_id = message.template_id;
        let job_id = match &mut self.kind {
            Kind::Standard(channel) => {
                channel.on_set_new_prev_hash(message).map_err(internal)?;
                channel.get_active_job().map(|job| job.get_job_id())
            }
            Kind::Extended(channel) => {
                channel.on_set_new_prev_hash(message).map_err(internal)?;
                channel.get_active_job().map(|job| job.get_job_id())
            }
        };
        let job_id = job_id.ok_or(CloseReason::Internal)?;
        self.jobs.clear();
        self.note(job_id, template_id);
        Ok(job_id)
    }

    /// The target with which a job begins holds for it to its end, as the specification has it for SetTarget.
    fn note(&mut self, job_id: u32, template_id: u64) {
        if self.jobs.len() > PAST_JOBS {
            self.jobs.pop_front();
        }
        self.jobs.push_back(JobNote {
            job_id,
            template_id,
            work: self.target().difficulty_float(),
        });
    }

    /// Judges a share by rebuilding its header from the job it names.
    pub(crate) fn submit(&mut self, share: Share) -> Result<Valid, Refused> {
        let job_id = share.job_id();
        let judged = match (&mut self.kind, share) {
            (Kind::Standard(channel), Share::Standard(share)) => channel.validate_share(share),
            (Kind::Extended(channel), Share::Extended(share)) => channel.validate_share(share),
            // the caller has matched them; a channel of the other kind does not exist under this id
            _ => Err(ShareValidationError::Invalid(crate::INVALID_CHANNEL_ID)),
        };
        let (hash, block) = match judged {
            Ok(ShareValidationResult::Valid(hash)) => (hash, None),
            Ok(ShareValidationResult::BlockFound(hash, _, coinbase)) => (hash, Some(coinbase)),
            Err(error) => return Err(error.into()),
        };
        self.vardiff.increment_shares_since_last_update();
        let job = self.jobs.iter().rev().find(|job| job.job_id == job_id);
        let job = job.ok_or(Refused::Close(CloseReason::Internal))?;
        let hash = hash.to_byte_array();
        Ok(Valid {
            hash,
            difficulty: Target::from_le_bytes(hash).difficulty_float(),
            work: job.work,
            template_id: job.template_id,
            job_id,
            block,
        })
    }

    /// Sets the target for what the miner says of itself; an error is the code for UpdateChannel.Error.
    pub(crate) fn update(
        &mut self,
        hashrate: f32,
        max_target: Option<Target>,
    ) -> Result<(), Result<&'static str, CloseReason>> {
        match &mut self.kind {
            Kind::Standard(channel) => {
                channel
                    .update_channel(hashrate, max_target)
                    .map_err(|error| match error {
                        StandardChannelError::UpdateChannelInvalidNominalHashrate(code)
                        | StandardChannelError::UpdateChannelInvalidMaxTarget(code) => Ok(code),
                        other => Err(internal(other)),
                    })
            }
            Kind::Extended(channel) => {
                channel
                    .update_channel(hashrate, max_target)
                    .map_err(|error| match error {
                        ExtendedChannelError::UpdateChannelInvalidNominalHashrate(code)
                        | ExtendedChannelError::UpdateChannelInvalidMaxTarget(code) => Ok(code),
                        other => Err(internal(other)),
                    })
            }
        }
    }

    /// Fits the target to the shares that came; `None` when it stays.
    pub(crate) fn retarget(&mut self, shares_per_minute: f32) -> Option<SetTargetOwned> {
        let before = self.target();
        let hashrate = self
            .vardiff
            .try_vardiff(self.nominal_hashrate(), &before, shares_per_minute)
            .ok()??;
        self.update(hashrate, None).ok()?;
        (self.target() != before).then(|| self.set_target())
    }

    /// SetTarget as it is now.
    pub(crate) fn set_target(&self) -> SetTargetOwned {
        SetTargetOwned {
            channel_id: self.id(),
            maximum_target: self.target().to_le_bytes().into(),
        }
    }
}

#[cfg(test)]
mod tests;
