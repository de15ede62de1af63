use std::future::Future;
use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::error::{HostError, Reason};
use crate::v1::ErrorReason;

/// Deadline of a unary call; the host's own default is the same.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer than the deadline the caller waits, so that the host's own answer to it comes first.
const MARGIN: Duration = Duration::from_millis(500);

/// Makes one unary call with a deadline.
pub(crate) async fn unary<Q, A, F>(
    message: Q,
    timeout: Duration,
    call: impl FnOnce(Request<Q>) -> F,
) -> Result<A, HostError>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let mut request = Request::new(message);
    // tonic would end the call at the very moment of the deadline and call that cancelled: it is told the margin, too
    request.set_timeout(timeout);
    match tokio::time::timeout(timeout + MARGIN, call(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status))
            if status.code() == tonic::Code::Cancelled && status.metadata().is_empty() =>
        {
            Err(deadline_or_lost(status))
        }
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(passed()),
    }
}

/// tonic calls a deadline of the client's own CANCELLED, as it does a connection that went away.
fn deadline_or_lost(status: Status) -> HostError {
    use std::error::Error;
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::TimeoutExpired>() {
            return passed();
        }
        cause = error.source();
    }
    if status.message() == tonic::TimeoutExpired(()).to_string() {
        return passed();
    }
    status.into()
}

fn passed() -> HostError {
    HostError::new(
        Reason::Told(ErrorReason::DeadlineExceeded),
        "the host did not answer in time",
    )
}
