//! The real ends of [`stratum_v2::ports`]: storage, node, events and log of the host.

use async_trait::async_trait;
use bytes::Bytes;
use host::event::event::Payload;
use host::v1::{BlockOutcome, ErrorReason, GetBlockHeaderRequest};
use host::{Batch, Host, HostError, Publisher, Storage};
use stratum_v2::ports::{
    Announcement, Entry, Events, Fault, Log, Node, Place, Range, Step, Store, Verdict,
};

/// The version of Stratum that all our miners speak.
const STRATUM_VERSION: u32 = 2;

/// The host's storage.
pub struct HostStore(pub Storage);

/// The node behind the host.
pub struct HostNode(pub Host);

/// The host's event service.
pub struct HostEvents(pub Publisher);

/// The module's log at the host.
pub struct HostLog(pub host::Log);

#[async_trait]
impl Store for HostStore {
    async fn open_tree(&self, name: &'static str) -> Result<(), Fault> {
        self.0.open_tree(name).await.map(drop).map_err(fault)
    }

    async fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let value = self.0.tree(tree).get(key.to_vec()).await.map_err(fault)?;
        Ok(value.map(Vec::from))
    }

    async fn scan(&self, range: Range) -> Result<Vec<Entry>, Fault> {
        let mut wanted = host::Range::between(range.start, range.end).limit(range.limit);
        if range.reverse {
            wanted = wanted.reverse();
        }
        let mut entries = self.0.tree(range.tree).scan(wanted).await.map_err(fault)?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await.map_err(fault)? {
            found.push((entry.key.into(), entry.value.into()));
        }
        Ok(found)
    }

    async fn write(&self, steps: Vec<Step>) -> Result<(), Fault> {
        let mut batch = Batch::new();
        for step in steps {
            match step {
                Step::Put { tree, key, value } => batch.put(&self.0.tree(tree), key, value),
                Step::Delete { tree, key } => batch.delete(&self.0.tree(tree), key),
                Step::DeleteRange { tree, start, end } => {
                    batch.delete_range(&self.0.tree(tree), start, end)
                }
            };
        }
        self.0.write(batch).await.map(drop).map_err(fault)
    }
}

#[async_trait]
impl Node for HostNode {
    async fn submit(&self, raw: Bytes) -> Result<Verdict, Fault> {
        let verdict = self.0.submit_block(raw).await.map_err(fault)?;
        Ok(match verdict.outcome {
            BlockOutcome::Accepted => Verdict::Accepted,
            BlockOutcome::Rejected => Verdict::Rejected(verdict.reject_reason),
            BlockOutcome::Duplicate => Verdict::Duplicate,
            // also an outcome of a newer contract: the node has not refused it, as far as this module can tell
            BlockOutcome::Inconclusive | BlockOutcome::Unspecified => Verdict::Inconclusive,
        })
    }

    async fn place_of(&self, hash: [u8; 32]) -> Result<Place, Fault> {
        let mut client = self.0.chain_client();
        let request = GetBlockHeaderRequest {
            hash: Bytes::copy_from_slice(&hash),
            ..GetBlockHeaderRequest::default()
        };
        let answer = self.0.call(request, |request| async move {
            client.get_block_header(request).await
        });
        match answer.await {
            Ok(answer) => Ok(match answer.header.map(|header| header.confirmations) {
                None | Some(0) => Place::Aside,
                Some(_) => Place::Chain,
            }),
            Err(error) if error.is(ErrorReason::BlockNotFound) => Ok(Place::Unknown),
            Err(error) => Err(fault(error)),
        }
    }
}

impl Events for HostEvents {
    fn publish(&self, event: Announcement) -> bool {
        let bytes = |hash: [u8; 32]| Bytes::copy_from_slice(&hash);
        match event {
            Announcement::BlockMined {
                hash,
                height,
                miner,
            } => self
                .0
                .publish_first(Payload::BlockMined(host::event::BlockMined {
                    block_hash: bytes(hash),
                    height,
                    miner_id: miner,
                })),
            Announcement::MiningJobCreated {
                job_id,
                previous_hash,
                height,
            } => self
                .0
                .publish(Payload::MiningJobCreated(host::event::MiningJobCreated {
                    job_id,
                    prev_hash: bytes(previous_hash),
                    height,
                })),
            Announcement::ShareSubmitted {
                job_id,
                hash,
                miner,
            } => self
                .0
                .publish(Payload::ShareSubmitted(host::event::ShareSubmitted {
                    job_id,
                    share_hash: bytes(hash),
                    miner_id: miner,
                })),
            Announcement::StratumClientConnected { endpoint } => self.0.publish(
                Payload::StratumClientConnected(host::event::StratumClientConnected {
                    endpoint,
                    protocol_version: STRATUM_VERSION,
                }),
            ),
            Announcement::StratumClientDisconnected { endpoint, reason } => self.0.publish(
                Payload::StratumClientDisconnected(host::event::StratumClientDisconnected {
                    endpoint,
                    reason: reason.to_owned(),
                }),
            ),
        }
    }
}

impl Log for HostLog {
    fn info(&self, line: &str) {
        self.0.info(line, &[]);
    }

    fn warn(&self, line: &str) {
        self.0.warn(line, &[]);
    }

    fn error(&self, line: &str) {
        self.0.error(line, &[]);
    }
}

fn fault(error: HostError) -> Fault {
    Fault {
        reason: error.reason.to_string(),
        retry: error.is_retryable(),
        retry_after: error.retry_after,
        message: error.message,
    }
}
