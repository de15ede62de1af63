//! The ledger over an in-memory storage. That nothing is lost over a kill is shown against the host's own storage, by
//! the repository's tests; here it is shown that whatever a write does, sums and log agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pool::AcceptedShare;

use super::record::BlockState;
use super::state::{MAX_MINERS, MINERS, RAW, SHARES};
use super::*;
use crate::memory::{Failure, MemoryStore};

fn share(miner: &str, number: u64) -> AcceptedShare {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    AcceptedShare {
        miner: miner.to_owned(),
        channel_id: 1,
        sequence_number: number as u32,
        template_id: 7,
        job_id: 3,
        hash,
        work: 0.5,
        time_unix_ms: 1_000 + number,
    }
}

async fn open<S: Store>(store: &Arc<S>, log_length: u64) -> Ledger {
    let options = LedgerOptions {
        log_length,
        max_value_bytes: 1_048_576,
    };
    Ledger::open(store.clone(), options, Arc::new(Metrics::default()))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn shares_of_many_miners_are_there_after_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 1_000).await;
    assert_eq!(ledger.epoch(), 1);
    let all = (0..900u64).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            ledger
                .accept(share(["a", "b", "c"][number as usize % 3], number))
                .await
        })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    ledger.reject("a", "stale-share");
    ledger.reject("nobody", "stale-share");
    drop(ledger);
    tokio::time::sleep(Duration::from_secs(20)).await;

    let ledger = open(&store, 1_000).await;
    assert_eq!((ledger.epoch(), ledger.disagreement()), (2, None));
    let summary = ledger.summary();
    assert_eq!(
        (
            summary.totals.accepted,
            summary.totals.work,
            summary.log_shares
        ),
        (900, 450.0, 900)
    );
    assert_eq!(summary.totals.rejected["stale-share"], 2);
    let miners: HashMap<_, _> = ledger.miners().into_iter().collect();
    assert_eq!(
        (miners["a"].accepted, miners["a"].rejected["stale-share"]),
        (300, 1)
    );
    assert!(!miners.contains_key("nobody"));
    assert_eq!(ledger.newest_shares(5).await.unwrap()[0].number, 900);
    assert_eq!(
        ledger.window(900).1["b"],
        Part {
            shares: 300,
            work: 150.0
        }
    );
    // far fewer commits than shares
    assert!(*store.writes.lock().unwrap() < 50);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_counts_nothing_and_one_that_lost_its_answer_is_set_straight() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 10).await;
    for number in 0..5 {
        ledger.accept(share("a", number)).await.unwrap();
    }
    store.failures.lock().unwrap().push_back(Failure::Full);
    assert!(
        matches!(ledger.accept(share("a", 5)).await, Err(ShareError::Storage(fault)) if fault.reason == "DISK_FULL")
    );
    store.failures.lock().unwrap().push_back(Failure::Busy);
    ledger.accept(share("a", 6)).await.unwrap();
    store
        .failures
        .lock()
        .unwrap()
        .push_back(Failure::LostAnswer);
    assert!(ledger.accept(share("new", 7)).await.is_err());
    assert_eq!(store.trees.lock().unwrap()[SHARES].len(), 7);
    ledger.accept(share("b", 8)).await.unwrap();
    assert_eq!(ledger.summary().totals.accepted, 7);

    let again = open(&store, 10).await;
    assert_eq!(again.disagreement(), None);
    assert_eq!(again.summary().totals.accepted, 7);
    let mut names: Vec<_> = again.miners().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_at_the_very_end_still_leaves_sums_and_log_in_agreement() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 10).await;
    ledger.accept(share("a", 1)).await.unwrap();
    store
        .failures
        .lock()
        .unwrap()
        .push_back(Failure::LostAnswer);
    assert!(ledger.accept(share("a", 2)).await.is_err());
    let again = open(&store, 10).await;
    assert_eq!(
        (again.disagreement(), again.summary().totals.accepted),
        (None, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_is_bounded_and_a_hole_in_it_is_told() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 100).await;
    for number in 0..600 {
        ledger.accept(share("a", number)).await.unwrap();
    }
    let summary = ledger.summary();
    assert!(summary.log_shares <= 356 && summary.log_shares >= 100);
    assert_eq!(
        summary.log_shares,
        store.trees.lock().unwrap()[SHARES].len() as u64
    );
    assert_eq!(summary.totals.log_first + summary.log_shares, 601);
    assert_eq!(open(&store, 100).await.disagreement(), None);

    let third = share_key(summary.totals.log_first + 2);
    store
        .trees
        .lock()
        .unwrap()
        .get_mut(SHARES)
        .unwrap()
        .remove(&third);
    assert!(
        open(&store, 100)
            .await
            .disagreement()
            .unwrap()
            .contains("the log goes on")
    );
}

#[tokio::test(start_paused = true)]
async fn miners_are_bounded_and_the_sums_keep_those_that_went() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 100).await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..MAX_MINERS as u64 + 50 {
        let ledger = ledger.clone();
        waiting.spawn(async move {
            ledger
                .accept(share(&format!("miner-{number:05}"), number))
                .await
        });
    }
    while let Some(outcome) = waiting.join_next().await {
        outcome.unwrap().unwrap();
    }
    let summary = ledger.summary();
    assert_eq!(
        (summary.miners, summary.totals.accepted),
        (MAX_MINERS as u64, MAX_MINERS as u64 + 50)
    );
    assert_eq!(
        (
            summary.totals.forgotten_accepted,
            summary.totals.forgotten_work
        ),
        (50, 25.0)
    );
    assert_eq!(open(&store, 100).await.disagreement(), None);
}

#[tokio::test(start_paused = true)]
async fn a_block_is_written_with_its_bytes_and_known_the_second_time() {
    let store = Arc::new(MemoryStore::default());
    let ledger = open(&store, 100).await;
    let raw: Vec<u8> = (0..3_999_999u32).map(|at| at as u8).collect();
    let block = work::SolvedBlock {
        hash: [7; 32],
        height: 9,
        raw: raw.clone().into(),
        coinbase_value_sats: 5,
    };
    let found = FoundHere {
        block,
        miner: "a".into(),
        template_id: 4,
        time_unix_ms: 1,
    };
    let Recorded::New(key) = ledger.record_block(found.clone()).await else {
        panic!("new")
    };
    assert_eq!(ledger.record_block(found.clone()).await, Recorded::Known);

    let again = open(&store, 100).await;
    assert_eq!(again.record_block(found).await, Recorded::Known);
    assert_eq!(again.undecided_blocks().await.unwrap().len(), 1);
    assert_eq!(again.raw_block(key).await.unwrap().unwrap(), raw);
    again.block_submitted(key, 2).await;
    again
        .block_decided(key, BlockState::Rejected, "high-hash", 3)
        .await;
    assert!(again.undecided_blocks().await.unwrap().is_empty());
    assert!(store.trees.lock().unwrap()[RAW].is_empty());
    let told = &again.newest_blocks(1)[0];
    assert_eq!(
        (told.state(), told.reason.as_str(), told.attempts),
        (BlockState::Rejected, "high-hash", 1)
    );
    assert_eq!(store.trees.lock().unwrap()[MINERS].len(), 0);
}

/// One process at a storage: dead, it reaches it no more.
struct Process {
    store: Arc<MemoryStore>,
    alive: AtomicBool,
}

impl Process {
    fn of(store: &Arc<MemoryStore>) -> Arc<Self> {
        let alive = AtomicBool::new(true);
        Arc::new(Self {
            store: store.clone(),
            alive,
        })
    }
}

#[async_trait::async_trait]
impl Store for Process {
    async fn open_tree(&self, name: &'static str) -> Result<(), Fault> {
        self.store.open_tree(name).await
    }
    async fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.store.get(tree, key).await
    }
    async fn scan(&self, range: Range) -> Result<Vec<crate::ports::Entry>, Fault> {
        self.store.scan(range).await
    }
    async fn write(&self, steps: Vec<crate::ports::Step>) -> Result<(), Fault> {
        match self.alive.load(Ordering::Relaxed) {
            true => self.store.write(steps).await,
            false => Err(crate::memory::fault("SESSION_CLOSED", false)),
        }
    }
}

/// Repeatable randomness (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_writes_do_sums_and_log_agree_and_no_acknowledged_share_is_missing() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = std::env::var("LEDGER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(clock.unwrap().as_nanos() as u64 | 1);
    println!("LEDGER_SEED={seed}");
    let mut random = Random(seed);
    let store = Arc::new(MemoryStore::default());
    let mut process = Process::of(&store);
    let mut ledger = open(&process, 100_000).await;
    let mut promised = std::collections::HashSet::new();
    let mut number = 0;
    for _ in 0..400 {
        for _ in 0..random.below(3) {
            let failure =
                [Failure::Busy, Failure::Full, Failure::LostAnswer][random.below(3) as usize];
            store.failures.lock().unwrap().push_back(failure);
        }
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..random.below(20) {
            number += 1;
            let share = share(["a", "b", "c", "d", "e"][random.below(5) as usize], number);
            let ledger = ledger.clone();
            waiting.spawn(async move { (share.hash, ledger.accept(share).await) });
        }
        ledger.reject("a", "stale-share");
        while let Some(outcome) = waiting.join_next().await {
            if let (hash, Ok(())) = outcome.unwrap() {
                promised.insert(hash.to_vec());
            }
        }
        if random.below(10) == 0 {
            // as by a kill: what was in memory is gone, and nothing of it is written any more
            process.alive.store(false, Ordering::Relaxed);
            store.failures.lock().unwrap().clear();
            process = Process::of(&store);
            ledger = open(&process, 100_000).await;
            assert_eq!(ledger.disagreement(), None);
        }
    }
    process.alive.store(false, Ordering::Relaxed);
    store.failures.lock().unwrap().clear();
    let ledger = open(&store, 100_000).await;
    assert_eq!(ledger.disagreement(), None);
    let kept = ledger.newest_shares(100_000).await.unwrap();
    assert_eq!(kept.len() as u64, ledger.summary().totals.accepted);
    let hashes: std::collections::HashSet<_> =
        kept.iter().map(|share| share.record.hash.clone()).collect();
    assert_eq!(hashes.len(), kept.len());
    assert!(promised.is_subset(&hashes));
    assert!(promised.len() > 1_000 && promised.len() < number as usize);
}
