use async_trait::async_trait;

use super::*;
use crate::v1::{HealthInvocation, InvocationFailureKind, RpcInvocation};

struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn rpc(&self, call: RpcInvocation, _context: Context) -> Result<String, Failure> {
        match call.method.as_str() {
            "panics" => panic!("as asked"),
            "hangs" => std::future::pending().await,
            _ => Ok(call.params_json),
        }
    }
}

fn asked(id: u64, work: Option<Work>) -> ServeResponse {
    ServeResponse {
        invocations: vec![Invocation {
            id,
            timeout_ms: 1_000,
            trace_parent: String::new(),
            work,
        }],
        cancelled_ids: Vec::new(),
    }
}

fn rpc(method: &str) -> Option<Work> {
    Some(Work::Rpc(RpcInvocation {
        method: method.to_owned(),
        params_json: "[1.10]".to_owned(),
        core_override: false,
    }))
}

fn kind_of(results: &[InvocationResult]) -> InvocationFailureKind {
    match &results[0].outcome {
        Some(Outcome::Failure(failure)) => failure.kind(),
        other => panic!("no failure: {other:?}"),
    }
}

async fn next(worker: &mut Worker) -> Vec<InvocationResult> {
    let done = worker.tasks.join_next_with_id().await.unwrap();
    worker.finished(done)
}

#[tokio::test]
async fn health_and_unknown_kinds_are_answered_at_once() {
    let mut worker = Worker::new(Arc::new(Echo), 4);
    let health = worker.take(asked(1, Some(Work::Health(HealthInvocation {}))));
    assert!(matches!(health[0].outcome, Some(Outcome::Health(_))));
    let unknown = worker.take(asked(2, None));
    assert_eq!(
        (unknown[0].id, kind_of(&unknown)),
        (2, InvocationFailureKind::Unsupported)
    );
}

#[tokio::test]
async fn work_is_answered_with_its_id_and_a_panic_is_a_failure() {
    let mut worker = Worker::new(Arc::new(Echo), 4);
    assert!(worker.take(asked(7, rpc("echo"))).is_empty());
    let answer = next(&mut worker).await;
    let expected = Outcome::Rpc(RpcResult {
        result_json: "[1.10]".to_owned(),
    });
    assert_eq!((answer[0].id, &answer[0].outcome), (7, &Some(expected)));
    worker.take(asked(8, rpc("panics")));
    let answer = next(&mut worker).await;
    assert_eq!(
        (answer[0].id, kind_of(&answer)),
        (8, InvocationFailureKind::Failed)
    );
    assert!(worker.open.is_empty());
}

#[tokio::test(start_paused = true)]
async fn cancelled_work_ends_without_an_answer_and_late_work_with_one() {
    let mut worker = Worker::new(Arc::new(Echo), 4);
    worker.take(asked(1, rpc("hangs")));
    worker.take(ServeResponse {
        invocations: Vec::new(),
        cancelled_ids: vec![1],
    });
    assert!(next(&mut worker).await.is_empty());
    worker.take(asked(2, rpc("hangs")));
    assert_eq!(
        kind_of(&next(&mut worker).await),
        InvocationFailureKind::Cancelled
    );
}

#[tokio::test(start_paused = true)]
async fn more_work_than_wanted_is_refused_and_the_wish_to_stop_is_not() {
    let mut worker = Worker::new(Arc::new(Echo), 1);
    worker.take(asked(1, rpc("hangs")));
    worker.take(asked(2, rpc("hangs")));
    assert_eq!(
        kind_of(&worker.take(asked(3, rpc("echo")))),
        InvocationFailureKind::Busy
    );
    let wish = StopInvocation {
        reason: 0,
        grace_ms: 1_000,
    };
    assert!(worker.take(asked(4, Some(Work::Stop(wish)))).is_empty());
    let answer = next(&mut worker).await;
    assert_eq!(
        (answer[0].id, &answer[0].outcome),
        (4, &Some(Outcome::Done(DoneResult {})))
    );
    assert!(worker.stopped);
}
