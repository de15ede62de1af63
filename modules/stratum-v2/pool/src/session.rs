//! One connection from SetupConnection to its end: a single task that owns all of its state.

use std::sync::{Arc, Mutex};

use stratum_core::common_messages_sv2::{Protocol, has_requires_std_job};
use stratum_core::extensions_sv2::RequestExtensionsOwned;
use stratum_core::mining_sv2::{
    ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED, SetCustomMiningJobErrorOwned,
    SetCustomMiningJobOwned,
};
use stratum_core::parsers_sv2::{ExtensionsNegotiationOwned, ExtensionsOwned, MiningOwned};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use wire::{CloseReason, Connection, Frame, Setup, SetupPolicy};

use crate::channels::Channels;
use crate::share::Share;
use crate::shared::Shared;
use crate::stats::{ChannelStats, ConnectionStats, Record, lock, unix_ms};

/// Flags of SetupConnection that are served: REQUIRES_STANDARD_JOBS (bit 0) and REQUIRES_VERSION_ROLLING (bit 2), which every
/// job allows. Not REQUIRES_WORK_SELECTION (bit 1): the work is the node's.
const SUPPORTED_FLAGS: u32 = 0b101;

/// What the end of a share's writing says.
pub(crate) struct Settled {
    pub(crate) channel_id: u32,
    pub(crate) ticket: u64,
    pub(crate) durable: bool,
    pub(crate) work: f64,
    pub(crate) difficulty: f64,
}

pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) channels: Channels,
    /// Messages made by one step, sent after it.
    pub(crate) out: Vec<MiningOwned>,
    /// Shares that are being written down.
    pub(crate) pending: usize,
    pub(crate) settled: mpsc::Sender<Settled>,
    settlements: mpsc::Receiver<Settled>,
    record: Record,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    shutdown: CancellationToken,
) {
    let policy = SetupPolicy {
        protocol: Protocol::MiningProtocol,
        supported_flags: SUPPORTED_FLAGS,
        success_flags: 0,
    };
    let setup = tokio::select! {
        setup = connection.setup(policy) => setup,
        () = shutdown.cancelled() => Err(CloseReason::Shutdown),
    };
    let setup = match setup {
        Ok(setup) => setup,
        Err(reason) => {
            connection.close(reason).await;
            return;
        }
    };
    let peer = connection.peer();
    shared.books.connected(peer);
    let number = shared.next_connection();
    let standard_only = has_requires_std_job(setup.flags);
    let record = shared
        .registry
        .enter(number, describe(&connection, setup, standard_only));
    let _left = Left {
        shared: shared.clone(),
        number,
    };
    let reason = match Session::new(shared.clone(), connection, standard_only, record) {
        Ok(session) => session.run(shutdown).await,
        Err(reason) => reason,
    };
    shared.books.disconnected(peer, reason.as_str());
}

/// Takes the record off the list, whatever ended the task.
struct Left {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.shared.registry.leave(self.number);
    }
}

fn describe(connection: &Connection, setup: Setup, standard_jobs_only: bool) -> ConnectionStats {
    ConnectionStats {
        peer: connection.peer(),
        vendor: setup.vendor,
        hardware_version: setup.hardware_version,
        firmware: setup.firmware,
        device_id: setup.device_id,
        standard_jobs_only,
        connected_unix_ms: unix_ms(),
        channels: Default::default(),
    }
}

impl Session {
    fn new(
        shared: Arc<Shared>,
        connection: Connection,
        standard_only: bool,
        record: Arc<Mutex<ConnectionStats>>,
    ) -> Result<Self, CloseReason> {
        let channels = Channels::new(shared.clone(), standard_only)?;
        // a place for each pending share: nobody ever waits to tell of one
        let (settled, settlements) = mpsc::channel(shared.config.pending_shares);
        Ok(Self {
            shared,
            connection,
            channels,
            out: Vec::new(),
            pending: 0,
            settled,
            settlements,
            record,
        })
    }

    async fn run(mut self, shutdown: CancellationToken) -> CloseReason {
        let reason = match self.until_closed(&shutdown).await {
            Ok(()) => CloseReason::Shutdown,
            Err(reason) => reason,
        };
        if reason == CloseReason::Shutdown {
            self.drain().await;
        }
        self.connection.close(reason).await
    }

    /// Goes on until something ends it; `Ok` when that is a shutdown.
    async fn until_closed(&mut self, shutdown: &CancellationToken) -> Result<(), CloseReason> {
        let mut work = self.shared.work.clone();
        let mut payout = self.shared.payout.clone();
        let mut told_tip = work.borrow().as_ref().map_or(0, |work| work.tip_number);
        let every = self.shared.config.retarget_interval;
        let mut retarget = interval_at(tokio::time::Instant::now() + every, every);
        retarget.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                // new work goes out before the next share is looked at
                changed = work.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.follow()?;
                    let heard = work.borrow().as_ref().map(|work| (work.tip_number, work.tip_heard));
                    if let Some((tip, heard)) = heard.filter(|(tip, _)| *tip != told_tip) {
                        told_tip = tip;
                        // without a channel there is nothing to tell
                        if !self.out.is_empty() {
                            self.flush()?;
                            self.shared.books.tip_handed(heard.elapsed());
                        }
                    }
                }
                Ok(()) = payout.changed() => self.follow()?,
                Some(settled) = self.settlements.recv() => self.settle(settled)?,
                _ = retarget.tick() => self.retarget(),
                // with too many shares on their way to the books the peer waits, and nothing is lost
                frame = self.connection.next(), if self.pending < self.shared.config.pending_shares => {
                    self.handle(frame?).await?;
                }
            }
            self.flush()?;
        }
    }

    fn follow(&mut self) -> Result<(), CloseReason> {
        let Some(work) = self.shared.work.borrow().clone() else {
            return Ok(());
        };
        let payout = self.shared.payout.borrow().clone();
        self.channels.follow(&work, &payout, &mut self.out)
    }

    /// Sends what a step has made.
    pub(crate) fn flush(&mut self) -> Result<(), CloseReason> {
        self.out
            .drain(..)
            .try_for_each(|message| self.connection.send_mining(message))
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), CloseReason> {
        match frame {
            Frame::Mining(message) => self.handle_mining(message).await,
            Frame::Extensions(ExtensionsOwned::ExtensionsNegotiation(
                ExtensionsNegotiationOwned::RequestExtensions(request),
            )) => self.refuse_extensions(&request),
            _ => Err(CloseReason::UnexpectedMessage),
        }
    }

    async fn handle_mining(&mut self, message: MiningOwned) -> Result<(), CloseReason> {
        match message {
            MiningOwned::OpenStandardMiningChannel(message) => self.open_standard(message).await,
            MiningOwned::OpenExtendedMiningChannel(message) => self.open_extended(message).await,
            MiningOwned::UpdateChannel(message) => self.update_channel(&message),
            MiningOwned::CloseChannel(message) => {
                self.forget(message.channel_id);
                Ok(())
            }
            MiningOwned::SubmitSharesStandard(share) => self.submit(Share::Standard(share)),
            MiningOwned::SubmitSharesExtended(share) => self.submit(Share::Extended(share)),
            MiningOwned::SetCustomMiningJob(message) => self.refuse_custom_job(&message),
            // what only servers say
            _ => Err(CloseReason::UnexpectedMessage),
        }
    }

    fn refuse_extensions(&mut self, request: &RequestExtensionsOwned) -> Result<(), CloseReason> {
        self.connection.send(wire::refuse_extensions(request))
    }

    fn refuse_custom_job(&mut self, message: &SetCustomMiningJobOwned) -> Result<(), CloseReason> {
        let code = ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED.to_string();
        self.out.push(MiningOwned::SetCustomMiningJobError(
            SetCustomMiningJobErrorOwned {
                channel_id: message.channel_id,
                request_id: message.request_id,
                error_code: code.try_into().map_err(|_| CloseReason::Internal)?,
            },
        ));
        Ok(())
    }

    fn retarget(&mut self) {
        for (id, channel) in &mut self.channels.open {
            if let Some(message) = channel.retarget(self.shared.config.shares_per_minute) {
                let (difficulty, hashrate) = (
                    channel.target().difficulty_float(),
                    channel.nominal_hashrate(),
                );
                count(&self.record, *id, |stats| {
                    stats.difficulty = difficulty;
                    stats.nominal_hashrate = hashrate.into();
                });
                self.out.push(MiningOwned::SetTarget(message));
            }
        }
    }

    /// Answers for shares whose writing has ended; all that have ended by now go into one answer per channel.
    fn settle(&mut self, first: Settled) -> Result<(), CloseReason> {
        let mut touched = vec![];
        let mut next = Some(first);
        while let Some(settled) = next {
            self.pending = self.pending.saturating_sub(1);
            let Settled {
                channel_id,
                ticket,
                durable,
                work,
                difficulty,
            } = settled;
            self.count(channel_id, |stats| {
                stats.shares_pending = stats.shares_pending.saturating_sub(1);
                if durable {
                    stats.shares_accepted += 1;
                    stats.work_accepted += work;
                    stats.count_share(work, difficulty, unix_ms());
                } else {
                    *stats
                        .shares_rejected
                        .entry(crate::NOT_RECORDED)
                        .or_default() += 1;
                }
            });
            // the channel may have been closed meanwhile: its shares count, nobody waits for the answer
            if let Some(channel) = self.channels.open.get_mut(&channel_id) {
                channel.acks.settle(ticket, durable);
                if !durable {
                    self.shared
                        .books
                        .rejected(channel.miner(), crate::NOT_RECORDED);
                }
                if !touched.contains(&channel_id) {
                    touched.push(channel_id);
                }
            }
            next = self.settlements.try_recv().ok();
        }
        for id in touched {
            if let Some(channel) = self.channels.open.get_mut(&id) {
                channel.acks.answers(id, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Waits for shares that are being written down, so that a shutdown leaves none without its answer.
    async fn drain(&mut self) {
        let patience = self.shared.config.drain;
        let _ = timeout(patience, async {
            while self.pending > 0 {
                let Some(settled) = self.settlements.recv().await else {
                    break;
                };
                if self.settle(settled).and_then(|()| self.flush()).is_err() {
                    break;
                }
            }
        })
        .await;
    }

    /// Changes what is shown of a channel.
    pub(crate) fn count(&self, channel_id: u32, change: impl FnOnce(&mut ChannelStats)) {
        count(&self.record, channel_id, change);
    }

    /// Shows a channel.
    pub(crate) fn show(&self, stats: ChannelStats) {
        lock(&self.record).channels.insert(stats.channel_id, stats);
    }

    /// Lets go of a channel, or of all of the group; shares that are being written down are written.
    pub(crate) fn forget(&mut self, channel_id: u32) {
        for channel in self.channels.close(channel_id) {
            lock(&self.record).channels.remove(&channel.id());
        }
    }
}

fn count(record: &Record, channel_id: u32, change: impl FnOnce(&mut ChannelStats)) {
    if let Some(stats) = lock(record).channels.get_mut(&channel_id) {
        change(stats);
    }
}
