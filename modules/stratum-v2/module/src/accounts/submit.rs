//! From a block written down to the node's verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::{Accounts, display, unix_ms};
use crate::ledger::BlockKey;
use crate::ledger::record::BlockState;
use crate::ports::{Announcement, Fault, Place, Verdict};

/// First and longest pause between two tries to hand a block in: a block is worth more the sooner the node has it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long what an earlier process handed in may be under way to the node.
const SETTLING: Duration = Duration::from_millis(500);
/// Reasons by which the host says that these bytes will never be taken.
const FINAL: [&str; 4] = [
    "INVALID_REQUEST",
    "OUT_OF_RANGE",
    "FIELD_REQUIRED",
    "MESSAGE_TOO_LARGE",
];
/// Reasons after which this process gets no answer any more; the next start goes on.
const OVER: [&str; 4] = [
    "SESSION_CLOSED",
    "HOST_STOPPING",
    "HANDSHAKE_REQUIRED",
    "CANCELLED",
];

impl Accounts {
    /// Takes up the blocks on which the node had not spoken when the process before this one ended: each is looked up,
    /// and handed in only if the node does not know it. Returns at once; the work goes on in the background.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, Fault> {
        let left = self.parts.ledger.undecided_blocks().await?;
        let count = left.len();
        for (key, _) in left {
            let accounts = self.clone();
            self.tasks
                .spawn(async move { accounts.look_up_then_submit(key).await });
        }
        Ok(count)
    }

    async fn look_up_then_submit(self: Arc<Self>, key: BlockKey) {
        // what the process before this one handed in last may still be on its way: asked once more before it goes out
        for last in [false, true] {
            match self.look_up(key).await {
                Some(Place::Unknown) if last => {}
                Some(Place::Unknown) => sleep(SETTLING).await,
                Some(place) => return self.decide_by_place(key, place).await,
                None => return,
            }
        }
        self.submit(key, None, true, true).await;
    }

    /// Hands a block in until the node has spoken. The same bytes may arrive twice when an answer was lost; the node then
    /// calls the second one a duplicate.
    ///
    /// `raw`: its bytes, if they are at hand; `saved`: whether storage has them; `tried`: whether it was handed in before.
    pub(super) async fn submit(
        self: Arc<Self>,
        key: BlockKey,
        mut raw: Option<Bytes>,
        saved: bool,
        mut tried: bool,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            // between two tries the bytes lie in storage alone: a long outage must not cost memory
            let kept = if saved { raw.take() } else { raw.clone() };
            let fault = match self.hand_in(key, kept).await {
                Ok(Some(Verdict::Accepted)) => {
                    return self.decide(key, BlockState::Accepted, "").await;
                }
                Ok(Some(Verdict::Inconclusive)) => {
                    return self.decide(key, BlockState::Inconclusive, "").await;
                }
                Ok(Some(Verdict::Rejected(reason))) => {
                    return self.decide(key, BlockState::Rejected, &reason).await;
                }
                Ok(Some(Verdict::Duplicate)) if !tried => {
                    return self.decide(key, BlockState::Duplicate, "").await;
                }
                // it was taken the time before, and only the answer got lost
                Ok(Some(Verdict::Duplicate)) => match self.look_up(key).await {
                    Some(place) => return self.decide_by_place(key, place).await,
                    None => return,
                },
                Ok(None) => {
                    let reason = "its bytes are not in storage any more";
                    return self.decide(key, BlockState::Rejected, reason).await;
                }
                Err(fault) if OVER.contains(&fault.reason.as_str()) => return,
                Err(fault) if FINAL.contains(&fault.reason.as_str()) => {
                    let reason = fault.to_string();
                    return self.decide(key, BlockState::Rejected, &reason).await;
                }
                Err(fault) => fault,
            };
            tried = true;
            let shown = display(hash_of(key));
            let line = format!("block {shown} is not at the node yet, trying again: {fault}");
            self.parts.log.warn(&line);
            rest(&fault, &mut pause).await;
        }
    }

    /// One try; nothing when the bytes are nowhere.
    async fn hand_in(&self, key: BlockKey, raw: Option<Bytes>) -> Result<Option<Verdict>, Fault> {
        // closed never: the accounts keep it
        let _permit = self.submitting.acquire().await.ok();
        let bytes = match raw {
            Some(bytes) => bytes,
            None => match self.parts.ledger.raw_block(key).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        self.parts.metrics.submission();
        let noted = self.parts.ledger.block_submitted(key, unix_ms());
        let (verdict, ()) = tokio::join!(self.parts.node.submit(bytes), noted);
        verdict.map(Some)
    }

    /// Where the node has a block, asked until it answers; nothing when the session is over.
    async fn look_up(&self, key: BlockKey) -> Option<Place> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.parts.node.place_of(hash_of(key)).await {
                Ok(place) => return Some(place),
                Err(fault) if OVER.contains(&fault.reason.as_str()) => return None,
                Err(fault) => rest(&fault, &mut pause).await,
            }
        }
    }

    async fn decide_by_place(&self, key: BlockKey, place: Place) {
        let (state, reason) = match place {
            Place::Chain => (
                BlockState::Accepted,
                "the node has it in its chain; its answer was lost",
            ),
            Place::Aside | Place::Unknown => (
                BlockState::Inconclusive,
                "the node has it off its chain; its answer was lost",
            ),
        };
        self.decide(key, state, reason).await;
    }

    async fn decide(&self, key: BlockKey, state: BlockState, reason: &str) {
        let Some(block) = self.parts.ledger.block(key) else {
            return;
        };
        let hash = hash_of(key);
        let told = if reason.is_empty() {
            String::new()
        } else {
            format!(" ({reason})")
        };
        let line = format!(
            "block {} at height {}: {}{told}",
            display(hash),
            block.height,
            state.word()
        );
        if state == BlockState::Accepted {
            self.parts.log.info(&line);
            let event = Announcement::BlockMined {
                hash,
                height: block.height,
                miner: block.miner,
            };
            self.parts.announcer.announce(event);
        } else {
            self.parts.log.warn(&line);
        }
        self.parts
            .ledger
            .block_decided(key, state, reason, unix_ms())
            .await;
    }
}

fn hash_of(key: BlockKey) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(&key[4..]);
    hash
}

async fn rest(fault: &Fault, pause: &mut Duration) {
    sleep(fault.retry_after.unwrap_or(*pause).min(LONGEST_PAUSE)).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}
