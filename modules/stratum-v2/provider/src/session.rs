//! One connection from SetupConnection to its end: a single task that owns all of its state.

use std::sync::Arc;

use stratum_core::common_messages_sv2::Protocol;
use stratum_core::parsers_sv2::{
    ExtensionsNegotiationOwned, ExtensionsOwned, TemplateDistributionOwned,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::{CloseReason, Connection, Frame, SetupPolicy};

use crate::client::Client;
use crate::serve::Shared;

/// The Template Distribution Protocol has no flags.
const POLICY: SetupPolicy = SetupPolicy {
    protocol: Protocol::TemplateDistributionProtocol,
    supported_flags: 0,
    success_flags: 0,
};
/// Bytes under way to a client above which no further message of it is read: an answer may be a block's worth of
/// transactions, and the next one is made when the last has nearly gone.
const BUSY_BYTES: usize = 256 * 1024;
/// How often a busy client is looked at again.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Serves one connection to its end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut connection: Connection,
    shutdown: CancellationToken,
) {
    let setup = tokio::select! {
        setup = connection.setup(POLICY) => setup,
        () = shutdown.cancelled() => Err(CloseReason::Shutdown),
    };
    let setup = match setup {
        Ok(setup) => setup,
        Err(reason) => {
            connection.close(reason).await;
            return;
        }
    };
    let peer = connection.peer();
    shared.solutions.connected(peer);
    let number = shared.registry.enter(peer, setup);
    let _left = Left {
        shared: shared.clone(),
        number,
    };
    let pending = Arc::new(Semaphore::new(shared.config.pending_solutions));
    let mut client = Client::new(shared.clone(), connection, number, pending);
    let reason = match until_closed(&mut client, &shutdown).await {
        Ok(()) => CloseReason::Shutdown,
        Err(reason) => reason,
    };
    let reason = client.connection.close(reason).await;
    shared.solutions.disconnected(peer, reason.as_str());
}

/// Takes the client off the list, whatever ended the task.
struct Left {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.shared.registry.leave(self.number);
    }
}

/// Goes on until something ends it; `Ok` when that is a shutdown.
async fn until_closed(
    client: &mut Client,
    shutdown: &CancellationToken,
) -> Result<(), CloseReason> {
    let mut work = client.shared.book.watch();
    let patience = Instant::now() + client.shared.config.constraints_timeout;
    let pending = client.pending.clone();
    loop {
        let later = client.due;
        let busy = client.connection.queued_bytes() > BUSY_BYTES;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            // a new tip goes out before the next message is looked at
            changed = work.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                client.follow()?;
            }
            () = sleep_until(later.unwrap_or(patience)), if later.is_some() => client.follow()?,
            () = sleep_until(patience), if client.constraints.is_none() => {
                return Err(CloseReason::SetupTimeout);
            }
            () = sleep(BUSY_PAUSE), if busy => {
                if let Some(reason) = client.connection.reason() {
                    return Err(reason);
                }
            }
            // with too many solutions on their way the client waits, and nothing is lost
            (permit, frame) = async {
                let permit = pending.clone().acquire_owned().await;
                (permit, client.connection.next().await)
            }, if !busy => {
                let permit = permit.map_err(|_| CloseReason::Internal)?;
                handle(client, frame?, permit)?;
            }
        }
    }
}

fn handle(
    client: &mut Client,
    frame: Frame,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> Result<(), CloseReason> {
    match frame {
        Frame::TemplateDistribution(message) => match message {
            TemplateDistributionOwned::CoinbaseOutputConstraints(message) => {
                client.constrain(&message)
            }
            TemplateDistributionOwned::RequestTransactionData(message) => {
                client.send_transactions(message.template_id)
            }
            TemplateDistributionOwned::SubmitSolution(message) => {
                client.take_solution(message, permit);
                Ok(())
            }
            // what only template providers say
            _ => Err(CloseReason::UnexpectedMessage),
        },
        Frame::Extensions(ExtensionsOwned::ExtensionsNegotiation(
            ExtensionsNegotiationOwned::RequestExtensions(request),
        )) => client.connection.send(wire::refuse_extensions(&request)),
        _ => Err(CloseReason::UnexpectedMessage),
    }
}
