//! What clients find, and that each of it is handed over once.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks remembered as handed over: a client can only name templates of this tip and the last, and whoever takes the solutions
/// knows for good.
const REMEMBERED_BLOCKS: usize = 1_024;

/// A solution of a client that is a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSolution {
    pub client: SocketAddr,
    pub solution: work::Solution,
    /// Put together and checked against its template; ready for the node.
    pub block: work::SolvedBlock,
}

/// Why a solution could not be taken; its client may send it again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SolutionsError(pub String);

/// Where solutions go, and who hears of clients.
#[async_trait::async_trait]
pub trait Solutions: Send + Sync + 'static {
    /// Writes the block down, hands it to the node and keeps the verdict. Called once for a header, again only after an error.
    async fn found(&self, found: ClientSolution) -> Result<(), SolutionsError>;
    /// Counts a solution that is no block, or was one before; `code` is of a closed list of words. The protocol has no answer
    /// for it.
    fn rejected(&self, client: SocketAddr, code: &'static str);
    /// A client has set up its connection.
    fn connected(&self, client: SocketAddr);
    /// `reason` is one of a closed list of words.
    fn disconnected(&self, client: SocketAddr, reason: &'static str);
}

/// Blocks handed over.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    hashes: Mutex<Hashes>,
}

#[derive(Debug, Default)]
struct Hashes {
    known: HashSet<[u8; 32]>,
    /// The same, newest last.
    order: VecDeque<[u8; 32]>,
}

impl HandedOver {
    /// Whether this block is the first of its hash.
    pub fn first(&self, hash: [u8; 32]) -> bool {
        let Hashes { known, order } = &mut *self.lock();
        if !known.insert(hash) {
            return false;
        }
        order.push_back(hash);
        if order.len() > REMEMBERED_BLOCKS
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// Nobody took it: the next one of its hash is the first again.
    pub fn forget(&self, hash: [u8; 32]) {
        let Hashes { known, order } = &mut *self.lock();
        known.remove(&hash);
        order.retain(|other| *other != hash);
    }

    fn lock(&self) -> MutexGuard<'_, Hashes> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_first_once_and_remembered_within_bounds() {
        let handed_over = HandedOver::default();
        let hash = |number: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            hash
        };
        for number in 0..3_000 {
            assert!(handed_over.first(hash(number)));
            assert!(!handed_over.first(hash(number)));
        }
        assert_eq!(handed_over.lock().known.len(), REMEMBERED_BLOCKS);
        assert_eq!(handed_over.lock().order.len(), REMEMBERED_BLOCKS);
        handed_over.forget(hash(2_999));
        assert!(handed_over.first(hash(2_999)));
        assert!(!handed_over.first(hash(2_998)));
    }
}
