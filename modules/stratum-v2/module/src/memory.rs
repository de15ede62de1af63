//! In-memory twins of what the host gives, for tests of the logic. What they promise is what the contract says of the
//! real ones: atomic batches, ordered scans. Durability is not theirs to show.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ports::{
    Announcement, Entry, Events, Fault, Log, Node, Place, Range, Step, Store, Verdict,
};

type Trees = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// How a write shall fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written; the same write may succeed later.
    Busy,
    /// Nothing is written, and it will not be.
    Full,
    /// It is written, and the answer is lost for good.
    LostAnswer,
}

/// A storage that forgets at the end of the test.
#[derive(Default)]
pub struct MemoryStore {
    pub trees: Mutex<Trees>,
    pub failures: Mutex<VecDeque<Failure>>,
    pub writes: Mutex<u64>,
}

pub fn fault(reason: &str, retry: bool) -> Fault {
    Fault {
        reason: reason.to_owned(),
        message: "as the test wants it".to_owned(),
        retry_after: None,
        retry,
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open_tree(&self, name: &'static str) -> Result<(), Fault> {
        self.trees.lock().unwrap().entry(name).or_default();
        Ok(())
    }

    async fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let trees = self.trees.lock().unwrap();
        Ok(trees
            .get(tree)
            .ok_or_else(|| fault("NOT_FOUND", false))?
            .get(key)
            .cloned())
    }

    async fn scan(&self, range: Range) -> Result<Vec<Entry>, Fault> {
        let trees = self.trees.lock().unwrap();
        let tree = trees
            .get(range.tree)
            .ok_or_else(|| fault("NOT_FOUND", false))?;
        let inside = tree
            .iter()
            .filter(|(key, _)| **key >= range.start && (range.end.is_empty() || **key < range.end))
            .map(|(key, value)| (key.clone(), value.clone()));
        let mut entries: Vec<Entry> = inside.collect();
        if range.reverse {
            entries.reverse();
        }
        entries.truncate(range.limit as usize);
        Ok(entries)
    }

    async fn write(&self, steps: Vec<Step>) -> Result<(), Fault> {
        let failure = self.failures.lock().unwrap().pop_front();
        tokio::task::yield_now().await;
        match failure {
            Some(Failure::Busy) => return Err(fault("RATE_LIMITED", true)),
            Some(Failure::Full) => return Err(fault("DISK_FULL", false)),
            Some(Failure::LostAnswer) | None => {}
        }
        *self.writes.lock().unwrap() += 1;
        let mut trees = self.trees.lock().unwrap();
        for step in steps {
            match step {
                Step::Put { tree, key, value } => {
                    assert!(
                        (1..=1_024).contains(&key.len()) && value.len() <= 1_048_576,
                        "within the host's limits"
                    );
                    trees.get_mut(tree).unwrap().insert(key, value);
                }
                Step::Delete { tree, key } => {
                    trees.get_mut(tree).unwrap().remove(&key);
                }
                Step::DeleteRange { tree, start, end } => {
                    trees
                        .get_mut(tree)
                        .unwrap()
                        .retain(|key, _| *key < start || (!end.is_empty() && *key >= end));
                }
            }
        }
        match failure {
            Some(Failure::LostAnswer) => Err(fault("SESSION_CLOSED", false)),
            _ => Ok(()),
        }
    }
}

/// A node that answers what the test wants, and remembers what it was asked.
#[derive(Default)]
pub struct MemoryNode {
    pub answers: Mutex<VecDeque<Result<Verdict, Fault>>>,
    pub submitted: Mutex<Vec<Bytes>>,
    pub blocks: Mutex<HashSet<[u8; 32]>>,
}

#[async_trait]
impl Node for MemoryNode {
    async fn submit(&self, raw: Bytes) -> Result<Verdict, Fault> {
        self.submitted.lock().unwrap().push(raw);
        tokio::task::yield_now().await;
        self.answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Ok(Verdict::Accepted))
    }

    async fn place_of(&self, hash: [u8; 32]) -> Result<Place, Fault> {
        Ok(match self.blocks.lock().unwrap().contains(&hash) {
            true => Place::Chain,
            false => Place::Unknown,
        })
    }
}

/// Keeps what was published; takes nothing more when it is full.
#[derive(Default)]
pub struct MemoryEvents {
    pub taken: Mutex<Vec<Announcement>>,
}

impl Events for MemoryEvents {
    fn publish(&self, event: Announcement) -> bool {
        let mut taken = self.taken.lock().unwrap();
        if taken.len() >= 1_000 {
            return false;
        }
        taken.push(event);
        true
    }
}

/// Keeps the lines.
#[derive(Default)]
pub struct MemoryLog {
    pub lines: Arc<Mutex<Vec<String>>>,
}

impl Log for MemoryLog {
    fn info(&self, line: &str) {
        self.lines.lock().unwrap().push(format!("info {line}"));
    }
    fn warn(&self, line: &str) {
        self.lines.lock().unwrap().push(format!("warn {line}"));
    }
    fn error(&self, line: &str) {
        self.lines.lock().unwrap().push(format!("error {line}"));
    }
}
