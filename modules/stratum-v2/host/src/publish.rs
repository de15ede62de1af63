use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connect::Host;
use crate::error::HostError;
use crate::event::{Event, PublishRequest, event::Payload};
use crate::log::Log;
use crate::retry::Backoff;

/// Events that wait: two seconds of what a module may publish by default. More are dropped, counted.
const MAX_WAITING: usize = 200;
/// Events that wait and must not be crowded out by the rest.
const MAX_URGENT: usize = 32;
/// Attempts for one event whose failure passes; a newer one is worth more then.
const ATTEMPTS: u32 = 5;

/// Where a module puts its events. Never waits; cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    urgent: mpsc::Sender<Payload>,
    usual: mpsc::Sender<Payload>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    dropped: AtomicU64,
}

impl Publisher {
    /// Puts an event into the queue; one that finds it full is dropped and counted. True when there was room.
    pub fn publish(&self, payload: Payload) -> bool {
        self.offer(&self.usual, payload)
    }

    /// As [`Publisher::publish`] for the few events that go before all others.
    pub fn publish_first(&self, payload: Payload) -> bool {
        self.offer(&self.urgent, payload)
    }

    /// Events that the host took.
    pub fn published(&self) -> u64 {
        self.counts.published.load(Ordering::Relaxed)
    }

    /// Events that were dropped: too many at a time, or refused by the host.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    fn offer(&self, queue: &mpsc::Sender<Payload>, payload: Payload) -> bool {
        let room = queue.try_send(payload).is_ok();
        if !room {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }
}

impl Host {
    /// Publishes in the background until `cancel` fires; what the host refuses is told to `log` once for each reason.
    pub fn open_publisher(&self, log: Log, cancel: CancellationToken) -> Publisher {
        let (urgent, urgent_waiting) = mpsc::channel(MAX_URGENT);
        let (usual, usual_waiting) = mpsc::channel(MAX_WAITING);
        let counts = Arc::new(Counts::default());
        let publishing = Publishing {
            host: self.clone(),
            counts: counts.clone(),
            told: HashSet::new(),
            log,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = publishing.run(urgent_waiting, usual_waiting) => {}
            }
        });
        Publisher {
            urgent,
            usual,
            counts,
        }
    }
}

struct Publishing {
    host: Host,
    counts: Arc<Counts>,
    told: HashSet<String>,
    log: Log,
}

impl Publishing {
    async fn run(
        mut self,
        mut urgent: mpsc::Receiver<Payload>,
        mut usual: mpsc::Receiver<Payload>,
    ) {
        loop {
            let payload = tokio::select! {
                biased;
                Some(payload) = urgent.recv() => payload,
                Some(payload) = usual.recv() => payload,
                else => return,
            };
            match self.publish(payload).await {
                Ok(()) => self.counts.published.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    self.tell(&error);
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    async fn publish(&self, payload: Payload) -> Result<(), HostError> {
        let request = PublishRequest {
            event: Some(Event {
                payload: Some(payload),
                ..Event::default()
            }),
        };
        let mut backoff = Backoff::for_calls();
        let never = CancellationToken::new();
        for attempt in 1.. {
            let mut client = self.host.event_client();
            let answer = self
                .host
                .call(request.clone(), |request| async move {
                    client.publish(request).await
                })
                .await;
            match answer {
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    backoff.pause(Some(&error), &never).await;
                }
                other => return other.map(drop),
            }
        }
        Ok(())
    }

    fn tell(&mut self, error: &HostError) {
        // reasons are a closed list, so this set is bounded
        if self.told.insert(error.reason.to_string()) {
            self.log.warn(
                "the host does not take an event; further ones with this reason are counted only",
                &[("reason", &error.reason), ("message", &error.message)],
            );
        }
    }
}
