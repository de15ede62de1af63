use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the system asks this process to end: SIGTERM, or SIGINT from a terminal. The handlers stand from the call
/// on, not from the first poll.
pub fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
