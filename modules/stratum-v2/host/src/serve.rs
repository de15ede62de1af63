use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::connect::Host;
use crate::error::{HostError, Reason};
use crate::invocation::{Context, Failure, Handler};
use crate::retry::Backoff;
use crate::v1::{
    ApiResult, DoneResult, HealthResult, Invocation, InvocationResult, RpcResult, ServeRequest,
    ServeResponse, StopInvocation, invocation::Work, invocation_result::Outcome,
};

/// A stream that has stood this long was a good one: the next attempt is made soon again.
const STOOD: Duration = Duration::from_secs(1);
/// How long a host may be gone before the session counts as over.
const MAX_OUTAGE: Duration = Duration::from_secs(60);
/// Batches of results on their way out; the stream is read no further when the host takes none.
const OUTBOX: usize = 64;
/// Share of the grace that the module's own stop may take; the host sends SIGTERM at three quarters of it.
const STOP_SHARE: f64 = 0.6;
/// How long the host may take to end the stream after the last answer.
const FLUSH: Duration = Duration::from_millis(500);
/// What a caller is told to wait when the module has as much work as it wants.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// Why serving ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServeEnd {
    /// The host asked the module to stop, and has the answer: exit with code 0.
    Stopped,
    /// The module's own token fired.
    Cancelled,
    /// The session is over, or no host has answered for a minute: exit.
    Over(HostError),
}

impl Host {
    /// Answers what the host asks, over a stream that is opened again whenever it breaks, until one of [`ServeEnd`].
    ///
    /// What was under way on a stream that broke is given up, as the host has done. `max_concurrent` invocations are open
    /// at a time; 0 = as many as the host allows. Health checks and the wish to stop come regardless.
    pub async fn serve(
        &self,
        handler: Arc<dyn Handler>,
        max_concurrent: u32,
        cancel: CancellationToken,
    ) -> ServeEnd {
        let mut backoff = Backoff::for_streams();
        let mut gone_since: Option<Instant> = None;
        loop {
            let opened = Instant::now();
            let ended = tokio::select! {
                () = cancel.cancelled() => return ServeEnd::Cancelled,
                ended = serve_once(self, handler.clone(), max_concurrent) => ended,
            };
            let trouble = match ended {
                Ok(StreamEnd::Stopped) => return ServeEnd::Stopped,
                Ok(StreamEnd::Closed) => None,
                Err(error) if error.is_session_over() => return ServeEnd::Over(error),
                Err(error) => Some(error),
            };
            if opened.elapsed() > STOOD {
                backoff.reset();
                gone_since = None;
            }
            if let Some(error) = &trouble
                && error.reason == Reason::Unreachable
                && gone_since.get_or_insert_with(Instant::now).elapsed() > MAX_OUTAGE
            {
                return ServeEnd::Over(error.clone());
            }
            if !backoff.pause(trouble.as_ref(), &cancel).await {
                return ServeEnd::Cancelled;
            }
        }
    }
}

enum StreamEnd {
    Stopped,
    Closed,
}

async fn serve_once(
    host: &Host,
    handler: Arc<dyn Handler>,
    max_concurrent: u32,
) -> Result<StreamEnd, HostError> {
    let (outbox, requests) = mpsc::channel(OUTBOX);
    // the host counts the bound only from the first message
    let first = ServeRequest {
        max_concurrent,
        results: Vec::new(),
    };
    let _ = outbox.try_send(first);
    let mut stream = host
        .invocation_client()
        .serve(ReceiverStream::new(requests))
        .await?
        .into_inner();
    let allowed = host.limits().max_pending_invocations;
    let mut worker = Worker::new(
        handler,
        if max_concurrent == 0 {
            allowed
        } else {
            max_concurrent
        },
    );
    loop {
        let results = tokio::select! {
            response = stream.message() => match response? {
                Some(response) => worker.take(response),
                None => return Ok(StreamEnd::Closed),
            },
            Some(done) = worker.tasks.join_next_with_id() => worker.finished(done),
        };
        if !results.is_empty()
            && outbox
                .send(ServeRequest {
                    max_concurrent: 0,
                    results,
                })
                .await
                .is_err()
        {
            // the next read tells why
            continue;
        }
        if worker.stopped {
            break;
        }
    }
    // half-closing hands over the last answers; the host then ends the stream
    drop(outbox);
    let drained = async { while let Ok(Some(_)) = stream.message().await {} };
    let _ = tokio::time::timeout(FLUSH, drained).await;
    Ok(StreamEnd::Stopped)
}

/// The invocations of one stream. Dropped with it, which ends their tasks.
struct Worker {
    handler: Arc<dyn Handler>,
    max_open: usize,
    tasks: JoinSet<Outcome>,
    open: HashMap<Id, (u64, CancellationToken)>,
    /// The task of the stop invocation.
    stopping: Option<Id>,
    stopped: bool,
}

impl Worker {
    fn new(handler: Arc<dyn Handler>, max_open: u32) -> Self {
        Self {
            handler,
            // the wish to stop comes beside the others
            max_open: usize::try_from(max_open)
                .unwrap_or(usize::MAX)
                .saturating_add(1),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            stopping: None,
            stopped: false,
        }
    }

    /// Begins what is new and ends what is cancelled; gives the answers that need no work.
    fn take(&mut self, response: ServeResponse) -> Vec<InvocationResult> {
        for (id, cancelled) in self.open.values() {
            if response.cancelled_ids.contains(id) {
                cancelled.cancel();
            }
        }
        let mut answers = Vec::new();
        for invocation in response.invocations {
            let id = invocation.id;
            if let Some(outcome) = self.begin(invocation) {
                answers.push(InvocationResult {
                    id,
                    outcome: Some(outcome),
                });
            }
        }
        answers
    }

    /// Answers at once, or begins a task.
    fn begin(&mut self, invocation: Invocation) -> Option<Outcome> {
        let context = Context {
            id: invocation.id,
            deadline: Instant::now() + Duration::from_millis(invocation.timeout_ms.into()),
            cancelled: CancellationToken::new(),
            trace_parent: invocation.trace_parent,
        };
        let work = match invocation.work {
            None => return Some(failure(Failure::unsupported())),
            Some(Work::Health(_)) => {
                let report = Some(self.handler.health());
                return Some(Outcome::Health(HealthResult { report }));
            }
            Some(Work::Stop(wish)) => {
                if self.stopping.is_none() {
                    let task = self.tasks.spawn(stop(self.handler.clone(), wish));
                    self.stopping = Some(task.id());
                    self.open.insert(task.id(), (context.id, context.cancelled));
                    return None;
                }
                return Some(Outcome::Done(DoneResult {}));
            }
            Some(_) if self.tasks.len() >= self.max_open => {
                return Some(failure(Failure::busy(BUSY_RETRY)));
            }
            Some(work) => work,
        };
        let (id, cancelled) = (context.id, context.cancelled.clone());
        let task = self
            .tasks
            .spawn(perform(self.handler.clone(), work, context));
        self.open.insert(task.id(), (id, cancelled));
        None
    }

    /// The answer of a task that has ended; a panic is an answer too.
    fn finished(&mut self, done: Result<(Id, Outcome), JoinError>) -> Vec<InvocationResult> {
        let (task, outcome) = match done {
            Ok(done) => done,
            Err(error) => (
                error.id(),
                failure(Failure::failed("the module failed in an unforeseen way")),
            ),
        };
        self.stopped |= self.stopping == Some(task);
        match self.open.remove(&task) {
            Some((id, cancelled)) if !cancelled.is_cancelled() => vec![InvocationResult {
                id,
                outcome: Some(outcome),
            }],
            _ => Vec::new(),
        }
    }
}

async fn stop(handler: Arc<dyn Handler>, wish: StopInvocation) -> Outcome {
    let grace = Duration::from_millis(wish.grace_ms.into()).mul_f64(STOP_SHARE);
    // a module that is too slow is ended all the same: by itself, and not by force
    let _ = tokio::time::timeout(grace, handler.stop(wish)).await;
    Outcome::Done(DoneResult {})
}

async fn perform(handler: Arc<dyn Handler>, work: Work, context: Context) -> Outcome {
    let (deadline, cancelled) = (context.deadline, context.cancelled.clone());
    let given_up = |message| {
        failure(Failure {
            kind: crate::v1::InvocationFailureKind::Cancelled,
            ..Failure::failed(message)
        })
    };
    tokio::select! {
        outcome = handle(handler, work, context) => outcome,
        () = cancelled.cancelled() => given_up("the caller has gone"),
        () = tokio::time::sleep_until(deadline) => given_up("the deadline has passed"),
    }
}

async fn handle(handler: Arc<dyn Handler>, work: Work, context: Context) -> Outcome {
    let done = |()| Outcome::Done(DoneResult {});
    let outcome = match work {
        Work::Rpc(call) => handler
            .rpc(call, context)
            .await
            .map(|result_json| Outcome::Rpc(RpcResult { result_json })),
        Work::Cli(command) => handler.cli(command, context).await.map(Outcome::Cli),
        Work::Api(call) => handler
            .api(call, context)
            .await
            .map(|result| Outcome::Api(ApiResult { result })),
        Work::ConfigChange(change) => handler.config_change(change, context).await.map(done),
        Work::Timer(tick) => handler.timer(tick, context).await.map(done),
        Work::Task(task) => handler.task(task, context).await.map(done),
        Work::Migrate(migration) => handler.migrate(migration, context).await.map(done),
        // both are answered before they come here
        Work::Health(_) | Work::Stop(_) => Err(Failure::unsupported()),
    };
    outcome.unwrap_or_else(failure)
}

fn failure(failure: Failure) -> Outcome {
    Outcome::Failure(failure.into())
}

#[cfg(test)]
mod tests;
