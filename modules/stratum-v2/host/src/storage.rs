use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tonic::Streaming;

use crate::connect::Host;
use crate::error::HostError;
use crate::v1::{
    ContainsRequest, DeleteRequest, OpenTreeRequest, PutRequest, ScanRequest, ScanResponse,
    StorageEntry, StorageOperation, StoragePrecondition, StorageRange, StorageServiceGetRequest,
    StorageServiceWriteRequest, storage_operation::Operation, storage_precondition::Condition,
};

/// The module's own trees of keys and values; what is acknowledged is on the disk.
#[derive(Debug, Clone)]
pub struct Storage {
    host: Host,
}

impl Storage {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// Creates a tree unless it is there. Errors as `StorageService.OpenTree`.
    pub async fn open_tree(&self, name: &str) -> Result<Tree, HostError> {
        let mut client = self.host.storage_client();
        let request = OpenTreeRequest {
            name: name.to_owned(),
        };
        self.host
            .call(
                request,
                |request| async move { client.open_tree(request).await },
            )
            .await?;
        Ok(Tree {
            host: self.host.clone(),
            name: name.into(),
        })
    }

    /// A tree that was opened before, by this start of the module or an earlier one; calls on one that never was fail with
    /// NOT_FOUND.
    pub fn tree(&self, name: &str) -> Tree {
        Tree {
            host: self.host.clone(),
            name: name.into(),
        }
    }

    /// Does a batch over any trees: all of it or nothing, also across a crash. Gives the number of the commit.
    ///
    /// Errors as `StorageService.Write`; PRECONDITION_FAILED when a condition of the batch does not hold.
    pub async fn write(&self, batch: Batch) -> Result<u64, HostError> {
        let mut client = self.host.storage_client();
        let request = StorageServiceWriteRequest {
            preconditions: batch.preconditions,
            operations: batch.operations,
        };
        let answer = self
            .host
            .call(
                request,
                |request| async move { client.write(request).await },
            )
            .await?;
        Ok(answer.commit)
    }
}

/// One tree. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tree {
    host: Host,
    name: Arc<str>,
}

impl Tree {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads one value; `None` when the key is not there.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, HostError> {
        let mut client = self.host.storage_client();
        let request = StorageServiceGetRequest {
            tree: self.name.to_string(),
            key: key.into(),
        };
        let answer = self
            .host
            .call(request, |request| async move { client.get(request).await })
            .await?;
        Ok(answer.found.then_some(answer.value))
    }

    /// Tells whether a key is there.
    pub async fn contains(&self, key: impl Into<Bytes>) -> Result<bool, HostError> {
        let mut client = self.host.storage_client();
        let request = ContainsRequest {
            tree: self.name.to_string(),
            key: key.into(),
        };
        let answer = self
            .host
            .call(
                request,
                |request| async move { client.contains(request).await },
            )
            .await?;
        Ok(answer.found)
    }

    /// Writes one value; durable when it resolves.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<u64, HostError> {
        let mut client = self.host.storage_client();
        let request = PutRequest {
            tree: self.name.to_string(),
            key: key.into(),
            value: value.into(),
        };
        let answer = self
            .host
            .call(request, |request| async move { client.put(request).await })
            .await?;
        Ok(answer.commit)
    }

    /// Removes one key; a missing one is no error.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<u64, HostError> {
        let mut client = self.host.storage_client();
        let request = DeleteRequest {
            tree: self.name.to_string(),
            key: key.into(),
        };
        let answer = self
            .host
            .call(
                request,
                |request| async move { client.delete(request).await },
            )
            .await?;
        Ok(answer.commit)
    }

    /// Reads a range in key order from a snapshot. At most 8 scans of a module are open at a time: read them to their end
    /// or drop them.
    pub async fn scan(&self, range: Range) -> Result<Entries, HostError> {
        let request = ScanRequest {
            tree: self.name.to_string(),
            ..range.request
        };
        let stream = self.host.storage_client().scan(request).await?.into_inner();
        Ok(Entries {
            stream,
            batch: VecDeque::new(),
        })
    }
}

/// Which keys a scan reads; [`Range::all`] is the whole tree.
#[derive(Debug, Clone, Default)]
pub struct Range {
    request: ScanRequest,
}

impl Range {
    /// The whole tree.
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys that begin with these bytes.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let mut range = Self::default();
        range.request.prefix = prefix.into();
        range
    }

    /// Keys from `start`, included, to `end`, not included; an empty one is no bound.
    pub fn between(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        let mut range = Self::default();
        range.request.start = start.into();
        range.request.end = end.into();
        range
    }

    /// From the highest key down.
    pub fn reverse(mut self) -> Self {
        self.request.reverse = true;
        self
    }

    /// At most so many entries; 0 is all.
    pub fn limit(mut self, entries: u64) -> Self {
        self.request.limit = entries;
        self
    }

    /// Without values.
    pub fn keys_only(mut self) -> Self {
        self.request.keys_only = true;
        self
    }
}

/// The entries of one scan.
#[derive(Debug)]
pub struct Entries {
    stream: Streaming<ScanResponse>,
    batch: VecDeque<StorageEntry>,
}

impl Entries {
    /// The next entry; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<StorageEntry>, HostError> {
        loop {
            if let Some(entry) = self.batch.pop_front() {
                return Ok(Some(entry));
            }
            match self.stream.message().await? {
                Some(response) => self.batch = response.entries.into(),
                None => return Ok(None),
            }
        }
    }
}

/// Writes that belong together, with what must hold for them to be done.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    preconditions: Vec<StoragePrecondition>,
    operations: Vec<StorageOperation>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// True while it has no operation; the host takes none of these.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Writes a value.
    pub fn put(
        &mut self,
        tree: &Tree,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> &mut Self {
        let entry = StorageEntry {
            key: key.into(),
            value: value.into(),
        };
        self.operation(tree, Operation::Put(entry))
    }

    /// Removes a key.
    pub fn delete(&mut self, tree: &Tree, key: impl Into<Bytes>) -> &mut Self {
        self.operation(tree, Operation::Delete(key.into()))
    }

    /// Removes the keys from `start`, included, to `end`, not included; at most 16 ranges per batch.
    pub fn delete_range(
        &mut self,
        tree: &Tree,
        start: impl Into<Bytes>,
        end: impl Into<Bytes>,
    ) -> &mut Self {
        let range = StorageRange {
            start: start.into(),
            end: end.into(),
        };
        self.operation(tree, Operation::DeleteRange(range))
    }

    /// The batch is done only if the key is there.
    pub fn require_present(&mut self, tree: &Tree, key: impl Into<Bytes>) -> &mut Self {
        self.precondition(tree, key, Condition::Exists(true))
    }

    /// The batch is done only if the key is not there.
    pub fn require_absent(&mut self, tree: &Tree, key: impl Into<Bytes>) -> &mut Self {
        self.precondition(tree, key, Condition::Exists(false))
    }

    /// The batch is done only if the key has exactly this value.
    pub fn require_value(
        &mut self,
        tree: &Tree,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> &mut Self {
        self.precondition(tree, key, Condition::Value(value.into()))
    }

    fn operation(&mut self, tree: &Tree, operation: Operation) -> &mut Self {
        self.operations.push(StorageOperation {
            tree: tree.name.to_string(),
            operation: Some(operation),
        });
        self
    }

    fn precondition(
        &mut self,
        tree: &Tree,
        key: impl Into<Bytes>,
        condition: Condition,
    ) -> &mut Self {
        self.preconditions.push(StoragePrecondition {
            tree: tree.name.to_string(),
            key: key.into(),
            condition: Some(condition),
        });
        self
    }
}
