//! The forms in which pool and template provider hold the accounts.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pool::{AcceptedShare, Books, BooksError, FoundBlock};
use provider::{ClientSolution, Solutions, SolutionsError};

use super::{Accounts, clean_name};
use crate::ports::Announcement;

/// The form in which the pool holds the books.
pub struct PoolBooks(pub Arc<Accounts>);

#[async_trait::async_trait]
impl Books for PoolBooks {
    async fn accepted(&self, mut share: AcceptedShare) -> Result<(), BooksError> {
        share.miner = clean_name(&share.miner);
        let event = Announcement::ShareSubmitted {
            job_id: self.0.job_id(share.template_id),
            hash: share.hash,
            miner: share.miner.clone(),
        };
        self.0
            .parts
            .ledger
            .accept(share)
            .await
            .map_err(|error| BooksError(error.to_string()))?;
        self.0.parts.announcer.announce(event);
        Ok(())
    }

    fn rejected(&self, miner: &str, code: &str) {
        self.0.parts.metrics.rejected(code);
        self.0.parts.ledger.reject(&clean_name(miner), code);
    }

    async fn found(&self, block: FoundBlock) -> Result<(), BooksError> {
        self.0
            .take_solution(&block.miner, &block.solution)
            .await
            .map_err(BooksError)
    }

    fn connected(&self, peer: SocketAddr) {
        self.0.parts.metrics.connected();
        self.0
            .parts
            .announcer
            .announce(Announcement::StratumClientConnected {
                endpoint: peer.to_string(),
            });
    }

    fn disconnected(&self, peer: SocketAddr, reason: &'static str) {
        self.0.parts.metrics.disconnected(reason);
        let event = Announcement::StratumClientDisconnected {
            endpoint: peer.to_string(),
            reason,
        };
        self.0.parts.announcer.announce(event);
    }

    fn channels(&self, miner: &str, open: u32) {
        let mut channels = self
            .0
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if open == 0 {
            channels.remove(&clean_name(miner));
        } else {
            channels.insert(clean_name(miner), open);
        }
    }

    fn job_created(&self, template_id: u64, previous_hash: [u8; 32], height: u32) {
        let job_id = self.0.job_id(template_id);
        self.0
            .parts
            .announcer
            .announce(Announcement::MiningJobCreated {
                job_id,
                previous_hash,
                height,
            });
    }

    fn tip_handed(&self, took: Duration) {
        self.0.parts.metrics.tip_handed(took);
    }
}

/// The form in which the template provider holds the books: its clients' blocks go the way of the pool's own.
pub struct ProviderSolutions(pub Arc<Accounts>);

#[async_trait::async_trait]
impl Solutions for ProviderSolutions {
    async fn found(&self, found: ClientSolution) -> Result<(), SolutionsError> {
        // the client is a pool of its own: whom it credits it keeps to itself
        let name = format!("template-client {}", found.client);
        self.0
            .take_block(&name, found.solution.template_id, found.block)
            .await;
        Ok(())
    }

    fn rejected(&self, _client: SocketAddr, code: &'static str) {
        self.0.parts.metrics.solution_rejected(code);
    }

    fn connected(&self, client: SocketAddr) {
        self.0.parts.metrics.connected();
        let endpoint = client.to_string();
        let event = Announcement::StratumClientConnected { endpoint };
        self.0.parts.announcer.announce(event);
    }

    fn disconnected(&self, client: SocketAddr, reason: &'static str) {
        self.0.parts.metrics.disconnected(reason);
        let endpoint = client.to_string();
        let event = Announcement::StratumClientDisconnected { endpoint, reason };
        self.0.parts.announcer.announce(event);
    }
}
