//! The channels of one connection and the group they share: what work means for each of them. Sends nothing; messages go to
//! the caller's list in the order in which the miner must hear them.

use std::collections::BTreeMap;
use std::sync::Arc;

use stratum_core::bitcoin::{Amount, ScriptBuf, TxOut};
use stratum_core::channels_sv2::server::group::GroupChannel;
use stratum_core::channels_sv2::server::jobs::extended::ExtendedJob;
use stratum_core::mining_sv2::SetNewPrevHashOwned;
use stratum_core::parsers_sv2::MiningOwned;
use stratum_core::template_distribution_sv2::{
    NewTemplateOwned, SetNewPrevHashOwned as TipMessage,
};
use wire::CloseReason;
use work::{Template, Work};

use crate::channel::{Channel, internal};
use crate::config::EXTRANONCE_BYTES;
use crate::shared::Shared;

/// Channel id of the group; the connection's channels count on from it.
pub(crate) const GROUP_ID: u32 = 1;

/// What the channels mine on.
struct Applied {
    tip_number: u64,
    template_id: u64,
    payout: ScriptBuf,
}

pub(crate) struct Channels {
    pub(crate) shared: Arc<Shared>,
    /// The peer takes nothing but standard jobs: each channel gets jobs of its own.
    pub(crate) standard_only: bool,
    pub(crate) open: BTreeMap<u32, Channel>,
    group: GroupChannel,
    last_id: u32,
    applied: Option<Applied>,
}

impl Channels {
    pub(crate) fn new(shared: Arc<Shared>, standard_only: bool) -> Result<Self, CloseReason> {
        let tag = shared.config.coinbase_tag.clone();
        let group = GroupChannel::new_for_pool(GROUP_ID, EXTRANONCE_BYTES.into(), true, tag)
            .map_err(internal)?;
        Ok(Self {
            shared,
            standard_only,
            open: BTreeMap::new(),
            group,
            last_id: GROUP_ID,
            applied: None,
        })
    }

    /// An id that no channel of this connection has had.
    pub(crate) fn next_id(&mut self) -> Result<u32, CloseReason> {
        // four billion channels on one connection: not in anybody's lifetime
        self.last_id = self.last_id.checked_add(1).ok_or(CloseReason::Internal)?;
        Ok(self.last_id)
    }

    /// Brings all channels to the newest work. A new tip: its first template as future job and the message that activates it,
    /// before anything else is said of it.
    pub(crate) fn follow(
        &mut self,
        work: &Work,
        payout: &ScriptBuf,
        out: &mut Vec<MiningOwned>,
    ) -> Result<(), CloseReason> {
        if self.open.is_empty() {
            return Ok(());
        }
        if self
            .applied
            .as_ref()
            .is_none_or(|applied| applied.tip_number != work.tip_number)
        {
            self.begin_tip(work, payout, out)?;
        }
        let behind =
            |applied: &Applied| applied.template_id != work.latest.id || applied.payout != *payout;
        if self.applied.as_ref().is_some_and(behind) {
            self.renew(work, payout, out)?;
        }
        Ok(())
    }

    fn begin_tip(
        &mut self,
        work: &Work,
        payout: &ScriptBuf,
        out: &mut Vec<MiningOwned>,
    ) -> Result<(), CloseReason> {
        let template = message_of(&work.first, true);
        if self.standard_only {
            for channel in self.open.values_mut() {
                let job = channel.on_template(template.clone(), outputs(&template, payout))?;
                out.push(MiningOwned::NewMiningJob(job));
                let job_id = channel.on_new_prev_hash(work.new_prev_hash.clone())?;
                out.push(activation(channel.id(), job_id, &work.new_prev_hash));
            }
        } else {
            let job = self.future_group_job(template, payout)?;
            out.push(MiningOwned::NewExtendedMiningJob(
                job.get_job_message().clone(),
            ));
            self.group
                .on_set_new_prev_hash(work.new_prev_hash.clone())
                .map_err(internal)?;
            out.push(activation(GROUP_ID, job.get_job_id(), &work.new_prev_hash));
            for channel in self.open.values_mut() {
                channel.on_group_job(job.clone(), work.first.id)?;
                channel.on_new_prev_hash(work.new_prev_hash.clone())?;
            }
        }
        self.applied(work, &work.first, payout);
        Ok(())
    }

    /// A job of the newest template on the tip that is known already.
    fn renew(
        &mut self,
        work: &Work,
        payout: &ScriptBuf,
        out: &mut Vec<MiningOwned>,
    ) -> Result<(), CloseReason> {
        let template = message_of(&work.latest, false);
        if self.standard_only {
            for channel in self.open.values_mut() {
                let job = channel.on_template(template.clone(), outputs(&template, payout))?;
                out.push(MiningOwned::NewMiningJob(job));
            }
        } else {
            let coinbase = outputs(&template, payout);
            self.group
                .on_new_template(template, coinbase)
                .map_err(internal)?;
            let job = self
                .group
                .get_active_job()
                .ok_or(CloseReason::Internal)?
                .clone();
            out.push(MiningOwned::NewExtendedMiningJob(
                job.get_job_message().clone(),
            ));
            for channel in self.open.values_mut() {
                channel.on_group_job(job.clone(), work.latest.id)?;
            }
        }
        self.applied(work, &work.latest, payout);
        Ok(())
    }

    /// Takes a channel in and gives it alone the newest template, as future job with the message that activates it. The others
    /// have been brought to the same work by [`Channels::follow`].
    pub(crate) fn admit(
        &mut self,
        mut channel: Channel,
        work: &Work,
        payout: &ScriptBuf,
        out: &mut Vec<MiningOwned>,
    ) -> Result<(), CloseReason> {
        let template = message_of(&work.latest, true);
        let id = channel.id();
        let tip = TipMessage {
            template_id: work.latest.id,
            ..work.new_prev_hash.clone()
        };
        if self.standard_only {
            let coinbase = outputs(&template, payout);
            out.push(MiningOwned::NewMiningJob(
                channel.on_template(template, coinbase)?,
            ));
        } else {
            let job = self.future_group_job(template, payout)?;
            // the group's own job is nobody's; it only has to know the tip on which it makes the next one
            self.group
                .on_set_new_prev_hash(tip.clone())
                .map_err(internal)?;
            channel.on_group_job(job.clone(), work.latest.id)?;
            out.push(match channel.future_message(job.get_job_id()) {
                Some(message) => MiningOwned::NewMiningJob(message),
                None => {
                    let mut message = job.get_job_message().clone();
                    message.channel_id = id;
                    MiningOwned::NewExtendedMiningJob(message)
                }
            });
            self.group
                .add_channel_id(id, channel.extranonce_size())
                .map_err(internal)?;
        }
        let job_id = channel.on_new_prev_hash(tip.clone())?;
        out.push(activation(id, job_id, &tip));
        self.open.insert(id, channel);
        self.applied(work, &work.latest, payout);
        Ok(())
    }

    /// Lets go of a channel, or of all when it is the group's id.
    pub(crate) fn close(&mut self, id: u32) -> Vec<Channel> {
        let ids: Vec<u32> = match id {
            GROUP_ID if !self.standard_only => self.open.keys().copied().collect(),
            id => vec![id],
        };
        ids.into_iter()
            .filter_map(|id| {
                self.group.remove_channel_id(id);
                self.open.remove(&id)
            })
            .collect()
    }

    fn future_group_job(
        &mut self,
        template: NewTemplateOwned,
        payout: &ScriptBuf,
    ) -> Result<ExtendedJob, CloseReason> {
        let template_id = template.template_id;
        let coinbase = outputs(&template, payout);
        self.group
            .on_new_template(template, coinbase)
            .map_err(internal)?;
        let job = self
            .group
            .get_future_job_id_from_template_id(template_id)
            .and_then(|id| self.group.get_future_job(id));
        Ok(job.ok_or(CloseReason::Internal)?.clone())
    }

    fn applied(&mut self, work: &Work, template: &Template, payout: &ScriptBuf) {
        let (tip_number, template_id, payout) = (work.tip_number, template.id, payout.clone());
        self.applied = Some(Applied {
            tip_number,
            template_id,
            payout,
        });
        self.shared.tell_job(template, work);
    }
}

fn message_of(template: &Template, future: bool) -> NewTemplateOwned {
    NewTemplateOwned {
        future_template: future,
        ..template.message.clone()
    }
}

/// The pool's own outputs: all that the template leaves goes to the payout script. What other modules add stands in the
/// template.
fn outputs(template: &NewTemplateOwned, payout: &ScriptBuf) -> Vec<TxOut> {
    vec![TxOut {
        value: Amount::from_sat(template.coinbase_tx_value_remaining),
        script_pubkey: payout.clone(),
    }]
}

fn activation(channel_id: u32, job_id: u32, tip: &TipMessage) -> MiningOwned {
    MiningOwned::SetNewPrevHash(SetNewPrevHashOwned {
        channel_id,
        job_id,
        prev_hash: tip.prev_hash.clone(),
        min_ntime: tip.header_timestamp,
        nbits: tip.n_bits,
    })
}
