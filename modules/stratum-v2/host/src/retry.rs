use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::HostError;

/// Growing pauses, spread so that many modules do not come back in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses that begin at `first` and double up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// For calls: 100 ms, doubling up to 10 s.
    pub fn for_calls() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// For streams that are opened again: 50 ms, doubling up to 5 s, since the host is on this machine.
    pub fn for_streams() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// The next pause, up to 30 % shorter than the full one.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause.mul_f64(1.0 - 0.3 * unit_random())
    }

    /// Begins at the shortest pause again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits the next pause, or as long as the host asks for if that is longer; false when `cancel` fired first.
    pub async fn pause(&mut self, error: Option<&HostError>, cancel: &CancellationToken) -> bool {
        let asked = error
            .and_then(|error| error.retry_after)
            .unwrap_or_default();
        let wait = self.next_pause().max(asked);
        tokio::select! {
            () = cancel.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// Makes a call again, with growing pauses and never sooner than the host says, for as long as its failure is one that
/// passes. For calls that may be made twice: every read, every write whose second time changes nothing.
///
/// Gives the error of the last attempt, or CANCELLED when `cancel` fires.
pub async fn retrying<T, F>(
    cancel: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T, HostError>
where
    F: Future<Output = Result<T, HostError>>,
{
    let mut backoff = Backoff::for_calls();
    loop {
        let answer = tokio::select! {
            () = cancel.cancelled() => return Err(HostError::cancelled()),
            answer = call() => answer,
        };
        match answer {
            Err(error) if error.is_retryable() => {
                if !backoff.pause(Some(&error), cancel).await {
                    return Err(HostError::cancelled());
                }
            }
            other => return other,
        }
    }
}

/// A number in [0, 1): the standard library seeds each of these hashers by chance, which is enough to spread pauses.
fn unit_random() -> f64 {
    let number = RandomState::new().build_hasher().finish();
    // the upper 53 bits are what a double holds exactly
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::Reason;
    use crate::v1::ErrorReason;

    fn failed(reason: ErrorReason) -> HostError {
        HostError::new(Reason::Told(reason), "")
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(400));
        for full in [100, 200, 400, 400] {
            let pause = backoff.next_pause();
            assert!(
                pause <= Duration::from_millis(full)
                    && pause >= Duration::from_millis(full * 7 / 10)
            );
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_does_not_is_told() {
        let calls = AtomicU32::new(0);
        let answer = retrying(&CancellationToken::new(), || async {
            match calls.fetch_add(1, Ordering::Relaxed) {
                0 => Err(failed(ErrorReason::NodeBusy)),
                1 => Err(HostError::new(Reason::Unreachable, "")),
                _ => Ok(7),
            }
        })
        .await;
        assert_eq!(answer, Ok(7));
        let answer = retrying(&CancellationToken::new(), || async {
            Err::<(), _>(failed(ErrorReason::MissingPermission))
        })
        .await;
        assert!(answer.unwrap_err().is(ErrorReason::MissingPermission));
    }

    #[tokio::test(start_paused = true)]
    async fn the_hosts_wait_counts_and_a_cancel_ends_it() {
        let cancel = CancellationToken::new();
        let begin = tokio::time::Instant::now();
        let mut error = failed(ErrorReason::RateLimited);
        error.retry_after = Some(Duration::from_secs(60));
        let cancelling = async {
            tokio::time::sleep(Duration::from_secs(59)).await;
            cancel.cancel();
        };
        let (answer, ()) = tokio::join!(
            retrying(&cancel, || async { Err::<(), _>(error.clone()) }),
            cancelling
        );
        assert!(answer.unwrap_err().is(ErrorReason::Cancelled));
        assert_eq!(begin.elapsed(), Duration::from_secs(59));
    }
}
