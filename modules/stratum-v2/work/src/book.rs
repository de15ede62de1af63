//! The present work, kept up to date by what the node says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use stratum_core::template_distribution_sv2::SetNewPrevHashOwned;
use tokio::sync::watch;

use crate::additional::{Additional, AdditionalError, AdditionalOutput};
use crate::coinbase::CoinbaseLock;
use crate::remembered::{Entry, Lookup, Remembered};
use crate::select::{Constraints, ConstraintsError};
use crate::solve::{SolveError, solve};
use crate::template::{Base, TemplateError, check_transactions};
use crate::{NodeTemplate, NodeTip, NodeTransaction, Solution, SolvedBlock, Template, Work};

/// Version of a block whose template the node has not given yet, when there was none before either (BIP 9).
const FIRST_VERSION: u32 = 0x2000_0000;
/// Constraints for which a template of their own is kept. Clients mostly run the same software and ask for the same; one more
/// costs a template each time that it is asked for again.
const MAX_CLASSES: usize = 8;
/// How far the node's time may run from where the miners of a tip were told to begin, seconds. Blocks should tell the time, and
/// shares are bound to two hours from there; a template after this begins the tip anew.
const LONGEST_TIP_S: u32 = 3_600;

/// What the operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkOptions {
    /// Room for the outputs of whoever follows [`WorkBook::watch`].
    pub reserve: Constraints,
    pub coinbase_lock: CoinbaseLock,
    /// Most that additional outputs may pay together, satoshis; by default they may only commit.
    pub max_additional_value_sats: u64,
}

/// The present work for constraints of one's own.
#[derive(Debug, Clone)]
pub struct View {
    /// The tip, its number, and when it was heard of; its templates are for the default constraints.
    pub work: Arc<Work>,
    /// The newest template of this tip with room for what the constraints ask; the same as `work.latest` when that has.
    pub template: Arc<Template>,
    /// Activates `template`, when it is sent as future template.
    pub new_prev_hash: SetNewPrevHashOwned,
}

/// Templates, newest first, and the way from a solution to a block. Shared by reference; every call is short.
#[derive(Debug)]
pub struct WorkBook {
    options: WorkOptions,
    state: Mutex<State>,
    published: watch::Sender<Option<Arc<Work>>>,
}

#[derive(Debug, Default)]
struct State {
    tip: Option<TipState>,
    /// Counts tips.
    tip_number: u64,
    remembered: Remembered,
    additional: Additional,
    /// The node's time, Unix seconds, and when it told it.
    node_time: Option<(u32, Instant)>,
    version: Option<u32>,
}

/// The present tip.
#[derive(Debug)]
struct TipState {
    base: Arc<Base>,
    work: Arc<Work>,
    /// Templates for constraints that `work.latest` has no room for, the last asked for at the end.
    classes: Vec<(Constraints, Arc<Template>)>,
}

impl WorkBook {
    /// A book without work.
    pub fn new(options: WorkOptions) -> Self {
        WorkBook {
            options,
            state: Mutex::default(),
            published: watch::Sender::new(None),
        }
    }

    /// The present work: none before the node has said anything. The newest value is all there is; older ones are skipped.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Work>>> {
        self.published.subscribe()
    }

    /// Work on a new tip: an empty block at once. A tip equal to the present one changes nothing.
    ///
    /// `heard` is when the node's word arrived. Tells whether there is new work.
    pub fn on_tip(&self, tip: NodeTip, heard: Instant) -> Result<bool, TemplateError> {
        let mut state = self.lock();
        if state.tip.as_ref().is_some_and(|present| present.is(&tip)) {
            return Ok(false);
        }
        let base = Base::empty(tip, state.version.unwrap_or(FIRST_VERSION))?;
        let gone = self.begin(&mut state, Arc::new(base), heard)?;
        drop(state);
        drop(gone);
        Ok(true)
    }

    /// A better template of the present tip, or, of another tip, the news of it. One that no miner could tell from the last
    /// makes no new work.
    ///
    /// `heard` is when the node's word arrived. Tells whether there is new work.
    pub fn on_template(
        &self,
        mut template: NodeTemplate,
        heard: Instant,
    ) -> Result<bool, TemplateError> {
        check_transactions(&template.transactions)?;
        let transactions = std::mem::take(&mut template.transactions);
        let (version, now) = (template.version as u32, template.current_time_unix_s);
        let mut state = self.lock();
        let base = Base::filled(template, state.share(transactions))?;
        // should the tip have been told with another subsidy, work on it was worthless: it begins again
        let same = state.tip.as_ref().is_some_and(|present| {
            present.is(&base.tip)
                && present.base.tip.coinbase_value_sats == base.tip.coinbase_value_sats
                && now.saturating_sub(present.work.new_prev_hash.header_timestamp) <= LONGEST_TIP_S
        });
        if state
            .tip
            .as_ref()
            .is_some_and(|present| same && present.base.same_work(&base))
        {
            state.node_time = Some((now, heard));
            return Ok(false);
        }
        state.node_time = Some((now, heard));
        state.version = Some(version);
        if same {
            self.renew(&mut state, Arc::new(base))?;
            return Ok(true);
        }
        let gone = self.begin(&mut state, Arc::new(base), heard)?;
        drop(state);
        drop(gone);
        Ok(true)
    }

    /// Replaces the additional outputs of one owner (none removes them) and makes new work at once. A refusal changes nothing.
    ///
    /// They stand in the order of their owners' names, after the outputs of whoever makes the coinbase and before the witness
    /// commitment.
    pub fn set_additional(
        &self,
        owner: &str,
        outputs: Vec<AdditionalOutput>,
    ) -> Result<bool, AdditionalError> {
        let mut state = self.lock();
        let changed = state.additional.set(
            owner,
            outputs,
            self.options.max_additional_value_sats,
            Instant::now(),
        )?;
        if let Some(base) = state
            .tip
            .as_ref()
            .filter(|_| changed)
            .map(|tip| Arc::clone(&tip.base))
        {
            // the outputs are bounded far below the room of a block that had room for a coinbase before
            let _ = self.renew(&mut state, base);
        }
        Ok(changed)
    }

    /// The present work for constraints of one's own; none before the node has said anything.
    ///
    /// Ids of its templates grow with every new one, whoever asked first.
    pub fn view(&self, constraints: Constraints) -> Result<Option<View>, ConstraintsError> {
        let mut state = self.lock();
        let State {
            tip: Some(tip),
            remembered,
            additional,
            tip_number,
            ..
        } = &mut *state
        else {
            return Ok(None);
        };
        let count = tip.base.fits(additional, constraints)?;
        let template = if count >= tip.work.latest.transactions.len() {
            Arc::clone(&tip.work.latest)
        } else if let Some(position) = tip
            .classes
            .iter()
            .position(|(class, _)| *class == constraints)
        {
            let class = tip.classes.remove(position);
            tip.classes.push(class.clone());
            class.1
        } else {
            let id = remembered.next_id();
            let template =
                Arc::new(
                    tip.base
                        .template(id, count, additional, self.options.coinbase_lock),
                );
            remembered.keep(Entry {
                template: Arc::clone(&template),
                base: Arc::clone(&tip.base),
                tip_number: *tip_number,
            });
            if tip.classes.len() >= MAX_CLASSES {
                tip.classes.remove(0);
            }
            tip.classes.push((constraints, Arc::clone(&template)));
            template
        };
        let new_prev_hash = SetNewPrevHashOwned {
            template_id: template.id,
            ..tip.work.new_prev_hash.clone()
        };
        Ok(Some(View {
            work: Arc::clone(&tip.work),
            template,
            new_prev_hash,
        }))
    }

    /// What is known of a template.
    pub fn lookup(&self, template_id: u64) -> Lookup {
        let state = self.lock();
        match state.remembered.find(template_id) {
            Ok(entry) if entry.tip_number == state.tip_number => {
                Lookup::Current(Arc::clone(&entry.template))
            }
            Ok(_) | Err(true) => Lookup::Stale,
            Err(false) => Lookup::Unknown,
        }
    }

    /// The block of a solution: its merkle root reckoned from its coinbase, its coinbase checked against the template, its hash
    /// against the target. A solution for the tip before the present one is taken: both blocks are then valid, and the node
    /// decides.
    pub fn solve(&self, solution: &Solution) -> Result<SolvedBlock, SolveError> {
        let entry = match self.lock().remembered.find(solution.template_id) {
            Ok(entry) => entry.clone(),
            Err(true) => return Err(SolveError::StaleTemplate),
            Err(false) => return Err(SolveError::UnknownTemplate),
        };
        solve(&entry, solution)
    }

    /// Begins a tip. Gives what has gone with the one before: thousands of transactions, to be dropped when nobody waits.
    fn begin(
        &self,
        state: &mut State,
        base: Arc<Base>,
        heard: Instant,
    ) -> Result<(Option<TipState>, Vec<Entry>), TemplateError> {
        let template = self.make(state, &base, state.tip_number + 1)?;
        state.tip_number += 1;
        let header_timestamp = state.header_time(base.tip.min_time_unix_s, heard);
        let work = Arc::new(Work {
            tip_number: state.tip_number,
            new_prev_hash: base.new_prev_hash(template.id, header_timestamp),
            first: Arc::clone(&template),
            latest: template,
            tip_heard: heard,
        });
        let tip = TipState {
            base,
            work: Arc::clone(&work),
            classes: Vec::new(),
        };
        let before = state.tip.replace(tip);
        self.published.send_replace(Some(work));
        // solutions of the tip before may still come
        let forgotten = state.remembered.forget_before(state.tip_number - 1);
        Ok((before, forgotten))
    }

    /// A newer template of the present tip.
    fn renew(&self, state: &mut State, base: Arc<Base>) -> Result<(), TemplateError> {
        let template = self.make(state, &base, state.tip_number)?;
        let Some(tip) = state.tip.as_mut() else {
            return Ok(());
        };
        tip.work = Arc::new(Work {
            latest: template,
            ..Work::clone(&tip.work)
        });
        tip.base = base;
        tip.classes.clear();
        self.published.send_replace(Some(Arc::clone(&tip.work)));
        Ok(())
    }

    /// Makes a template for the default constraints and keeps it for solutions.
    fn make(
        &self,
        state: &mut State,
        base: &Arc<Base>,
        tip_number: u64,
    ) -> Result<Arc<Template>, TemplateError> {
        let count = base
            .fits(&state.additional, self.options.reserve)
            .map_err(|_| TemplateError::NoRoom)?;
        let id = state.remembered.next_id();
        let template =
            Arc::new(base.template(id, count, &state.additional, self.options.coinbase_lock));
        state.remembered.keep(Entry {
            template: Arc::clone(&template),
            base: Arc::clone(base),
            tip_number,
        });
        Ok(template)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // a panic under the lock leaves the state as it was between two statements; all of them keep it usable
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TipState {
    /// Whether work on that tip is work on this one.
    fn is(&self, tip: &NodeTip) -> bool {
        let present = &self.base.tip;
        present.previous_hash == tip.previous_hash
            // where the difficulty falls with time (testnets), the same parent gets other bits
            && present.bits == tip.bits
            && present.height == tip.height
            // miners were told an earliest time; one that is later has to be told
            && tip.min_time_unix_s <= self.work.new_prev_hash.header_timestamp
    }
}

impl State {
    /// Time at which miners begin, Unix seconds: the node's time as far as it is known, never before the earliest that the block
    /// may carry. The clock of this machine has no say: it need not be the node's.
    fn header_time(&self, min_time_unix_s: u32, heard: Instant) -> u32 {
        let now = self.node_time.map_or(0, |(time, told)| {
            let passed = heard.saturating_duration_since(told).as_secs();
            time.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
        });
        now.max(min_time_unix_s)
    }

    /// The transactions of a new template, with those that the last one had already taken from there. Bytes of new ones are
    /// copied: as they come they are parts of the message that brought them all, and each one would keep all of that alive.
    fn share(&self, transactions: Vec<NodeTransaction>) -> Arc<[Arc<NodeTransaction>]> {
        let known: HashMap<[u8; 32], &Arc<NodeTransaction>> = self
            .tip
            .iter()
            .flat_map(|tip| tip.base.transactions.iter())
            .map(|transaction| (transaction.wtxid, transaction))
            .collect();
        transactions
            .into_iter()
            .map(|transaction| match known.get(&transaction.wtxid) {
                Some(before) if ***before == transaction => Arc::clone(before),
                Some(before) if before.raw == transaction.raw => Arc::new(NodeTransaction {
                    raw: before.raw.clone(),
                    ..transaction
                }),
                _ => Arc::new(NodeTransaction {
                    raw: Bytes::copy_from_slice(&transaction.raw),
                    ..transaction
                }),
            })
            .collect()
    }
}
