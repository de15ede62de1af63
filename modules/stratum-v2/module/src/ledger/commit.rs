//! Group commit: what waits is written in one batch, and everybody in it hears of it at once.
//!
//! One commit is under way at a time, so order is kept without fences, and what gathers meanwhile is the next batch:
//! the busier, the larger.

use std::time::{Duration, Instant};

use pool::AcceptedShare;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant as Moment, sleep, sleep_until};

use super::state::Prepared;
use super::{Ledger, Message, ShareError};
use crate::ports::Fault;

/// Shares of one batch: 256 x 80 bytes and their miners' records stay far below a message's 4 MiB.
const BATCH: usize = 256;
/// Shortest time between the beginnings of two commits. Storage writes cost 5 of 1,000 units of call budget per second:
/// a hundred commits take half of it.
const PACE: Duration = Duration::from_millis(10);
/// How often rejections are written when no share is.
const REJECTIONS_EVERY: Duration = Duration::from_secs(10);
/// How long a commit is tried before its shares are refused.
const PATIENCE: Duration = Duration::from_secs(8);
/// First and longest pause between two tries, unless the host names one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Waiting = Vec<(AcceptedShare, oneshot::Sender<Result<(), ShareError>>)>;

/// Serves the queue until the last ledger is gone.
pub(super) async fn run(ledger: Ledger, mut queue: mpsc::Receiver<Message>) {
    // only the senders outside keep the queue open
    let ledger = ledger.without_queue();
    let mut next = Moment::now();
    loop {
        let first = match tokio::time::timeout(REJECTIONS_EVERY, queue.recv()).await {
            Ok(Some(message)) => Some(message),
            Ok(None) => {
                ledger.commit(Vec::new()).await;
                return;
            }
            Err(_) => None,
        };
        sleep_until(next).await;
        next = Moment::now() + PACE;
        let mut shares: Waiting = Vec::new();
        let mut flushes = Vec::new();
        let mut message = first;
        while let Some(taken) = message {
            match taken {
                Message::Share(share, done) => shares.push((share, done)),
                Message::Flush(done) => flushes.push(done),
            }
            if shares.len() >= BATCH || flushes.len() >= BATCH {
                break;
            }
            message = queue.try_recv().ok();
        }
        ledger.commit(shares).await;
        for flush in flushes {
            let _ = flush.send(());
        }
    }
}

impl Ledger {
    async fn commit(&self, waiting: Waiting) {
        let (shares, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let prepared = {
            let mut state = self.locked();
            if shares.is_empty() && !state.has_rejections() {
                return;
            }
            state.prepare(&shares, self.epoch, self.options.log_length)
        };
        let begun = Instant::now();
        let outcome = self.write_patiently(&prepared).await;
        self.metrics
            .ledger_commit(begun.elapsed(), shares.len() as u64, outcome.is_ok());
        {
            let mut state = self.locked();
            match &outcome {
                Ok(()) => state.done(prepared),
                Err(_) => state.failed(prepared),
            }
        }
        for answer in answers {
            let _ = answer.send(outcome.clone().map_err(ShareError::Storage));
        }
    }

    /// The batch holds whole values, so writing it twice is writing it once.
    async fn write_patiently(&self, prepared: &Prepared) -> Result<(), Fault> {
        let end = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let fault = match self.store.write(prepared.steps.clone()).await {
                Ok(()) => return Ok(()),
                Err(fault) => fault,
            };
            let wait = fault.retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
            if !fault.retry || Instant::now() + wait > end {
                return Err(fault);
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The same ledger, which nobody can hand anything in to.
    fn without_queue(self) -> Self {
        let (closed, _) = mpsc::channel(1);
        Self {
            queue: closed,
            ..self
        }
    }
}
