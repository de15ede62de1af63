use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::connect::Host;
use crate::v1::{LogField, LogLevel, LogRecord, WriteRequest};

/// Records that wait for the host; a program that logs faster loses the newest, counted.
const MAX_WAITING: usize = 1_000;
/// Records in one message: with the longest line of 8 KiB under 1 MiB.
const MAX_BATCH: usize = 100;
/// Batches on their way to the host.
const MAX_UNDER_WAY: usize = 2;
/// Wait before a log stream that broke is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// How long the last records may take at the end.
const CLOSE: Duration = Duration::from_secs(1);

/// The module's log at the host. No method waits or fails; cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<LogRecord>,
    target: Arc<str>,
    lost: Arc<AtomicU64>,
}

/// Facts beside a message, in this order; values become text.
pub type Fields<'a> = &'a [(&'a str, &'a dyn Display)];

impl Log {
    /// A log for one part of the module.
    pub fn child(&self, name: &str) -> Self {
        let target = if self.target.is_empty() {
            name.into()
        } else {
            format!("{}.{name}", self.target).into()
        };
        Self {
            target,
            ..self.clone()
        }
    }

    /// For the author of the module.
    pub fn debug(&self, message: &str, fields: Fields<'_>) {
        self.write(LogLevel::Debug, message, fields);
    }

    /// Normal course of things.
    pub fn info(&self, message: &str, fields: Fields<'_>) {
        self.write(LogLevel::Info, message, fields);
    }

    /// Something is wrong, the module goes on.
    pub fn warn(&self, message: &str, fields: Fields<'_>) {
        self.write(LogLevel::Warn, message, fields);
    }

    /// A piece of work has failed.
    pub fn error(&self, message: &str, fields: Fields<'_>) {
        self.write(LogLevel::Error, message, fields);
    }

    fn write(&self, level: LogLevel, message: &str, fields: Fields<'_>) {
        let record = LogRecord {
            level: level.into(),
            message: message.to_owned(),
            target: self.target.to_string(),
            time_unix_ms: unix_ms(),
            fields: fields
                .iter()
                .map(|(key, value)| LogField {
                    key: (*key).to_owned(),
                    value: value.to_string(),
                })
                .collect(),
        };
        if self.queue.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The end of a log; see [`LogPump::close`].
#[derive(Debug)]
pub struct LogPump {
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl LogPump {
    /// Hands over what waits, for at most a second.
    pub async fn close(self) {
        self.closing.cancel();
        let _ = tokio::time::timeout(CLOSE, self.task).await;
    }
}

impl Host {
    /// Opens the module's log. What the host does not take goes to stderr, which the host captures as well.
    pub fn open_log(&self) -> (Log, LogPump) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let closing = CancellationToken::new();
        let pump = Pump {
            host: self.clone(),
            waiting,
            lost: lost.clone(),
            closing: closing.clone(),
        };
        let task = tokio::spawn(pump.run());
        let target = "".into();
        (
            Log {
                queue,
                target,
                lost,
            },
            LogPump { task, closing },
        )
    }
}

struct Pump {
    host: Host,
    waiting: mpsc::Receiver<LogRecord>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
}

impl Pump {
    async fn run(mut self) {
        loop {
            let (batches, stream) = mpsc::channel(MAX_UNDER_WAY);
            let mut client = self.host.log_client();
            let mut call =
                tokio::spawn(async move { client.write(ReceiverStream::new(stream)).await });
            self.feed(&batches, &mut call).await;
            drop(batches);
            if self.closing.is_cancelled() {
                // the half-closed stream is answered when all is written
                let _ = call.await;
                return;
            }
            call.abort();
            tokio::select! {
                () = self.closing.cancelled() => {}
                () = tokio::time::sleep(REOPEN) => {}
            }
        }
    }

    /// Hands batches to one stream until it breaks or the log is closed and empty.
    async fn feed<T>(&mut self, batches: &mpsc::Sender<WriteRequest>, call: &mut JoinHandle<T>) {
        loop {
            let mut records = Vec::new();
            tokio::select! {
                biased;
                // none of a whole batch is lost: recv_many takes only what it then gives
                count = self.waiting.recv_many(&mut records, MAX_BATCH) => if count == 0 { return },
                () = self.closing.cancelled() => return,
                _ = &mut *call => return,
            }
            if let Some(told) = self.losses() {
                records.push(told);
            }
            if let Err(refused) = batches.send(WriteRequest { records }).await {
                print(&refused.0.records);
                return;
            }
        }
    }

    fn losses(&self) -> Option<LogRecord> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        (lost > 0).then(|| LogRecord {
            level: LogLevel::Warn.into(),
            message: format!(
                "{lost} records were lost: the module logs faster than the host takes them"
            ),
            time_unix_ms: unix_ms(),
            ..LogRecord::default()
        })
    }
}

fn print(records: &[LogRecord]) {
    use std::io::Write;
    let mut out = std::io::stderr().lock();
    for record in records {
        let fields: String = record
            .fields
            .iter()
            .map(|field| format!(" {}={}", field.key, field.value))
            .collect();
        // nobody is left to be told that stderr is closed
        let _ = writeln!(out, "{} {}{fields}", record.target, record.message);
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
