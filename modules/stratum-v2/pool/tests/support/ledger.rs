//! Books in memory that write, fail or wait as told.

use std::net::SocketAddr;
use std::sync::Mutex;

use pool::{AcceptedShare, Books, BooksError, FoundBlock};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Write,
    Fail,
    Hold,
}

/// Books in memory.
pub struct Ledger {
    pub mode: watch::Sender<Mode>,
    pub begun: Mutex<u32>,
    pub accepted: Mutex<Vec<AcceptedShare>>,
    pub rejected: Mutex<Vec<(String, String)>>,
    pub found: Mutex<Vec<FoundBlock>>,
    /// `connected`, `disconnected REASON`, `channels MINER N`, `job TEMPLATE HEIGHT`.
    pub events: Mutex<Vec<String>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            mode: watch::Sender::new(Mode::Write),
            begun: Mutex::default(),
            accepted: Mutex::default(),
            rejected: Mutex::default(),
            found: Mutex::default(),
            events: Mutex::default(),
        }
    }
}

impl Ledger {
    fn event(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    pub fn begun(&self) -> u32 {
        *self.begun.lock().unwrap()
    }

    pub fn heard(&self, event: &str) -> bool {
        self.events
            .lock()
            .unwrap()
            .iter()
            .any(|heard| heard == event)
    }
}

#[async_trait::async_trait]
impl Books for Ledger {
    async fn accepted(&self, share: AcceptedShare) -> Result<(), BooksError> {
        *self.begun.lock().unwrap() += 1;
        let mut mode = self.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hold).await.unwrap();
        if mode == Mode::Fail {
            return Err(BooksError("disk full".into()));
        }
        self.accepted.lock().unwrap().push(share);
        Ok(())
    }

    fn rejected(&self, miner: &str, code: &str) {
        self.rejected
            .lock()
            .unwrap()
            .push((miner.into(), code.into()));
    }

    async fn found(&self, block: FoundBlock) -> Result<(), BooksError> {
        self.found.lock().unwrap().push(block);
        Ok(())
    }

    fn connected(&self, _: SocketAddr) {
        self.event("connected".into());
    }

    fn disconnected(&self, _: SocketAddr, reason: &'static str) {
        self.event(format!("disconnected {reason}"));
    }

    fn channels(&self, miner: &str, open: u32) {
        self.event(format!("channels {miner} {open}"));
    }

    fn job_created(&self, template_id: u64, _: [u8; 32], height: u32) {
        self.event(format!("job {template_id} {height}"));
    }
}
