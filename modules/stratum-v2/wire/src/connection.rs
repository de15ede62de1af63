//! One connection after its handshake.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use stratum_core::codec_sv2::Transport;
use stratum_core::parsers_sv2::{
    AnyMessageOwned, CommonMessagesOwned, MiningOwned, TemplateDistributionOwned,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::frame::size;
use crate::listener::Slot;
use crate::transport::{read_frames, write_frames};
use crate::{CloseReason, Frame, Limits};

/// What the tasks of one connection share.
pub(crate) struct Link {
    pub(crate) limits: Limits,
    pub(crate) slot: Slot,
    /// Cuts everything at once.
    pub(crate) token: CancellationToken,
    pub(crate) queued_bytes: AtomicUsize,
    reason: OnceLock<CloseReason>,
}

impl Link {
    /// Ends the connection; the first reason stays.
    pub(crate) fn fail(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // whoever let go of it without a word was told to shut down, or failed
        self.slot
            .count_closed(self.reason.get().copied().unwrap_or(CloseReason::Shutdown));
    }
}

/// A peer that has shown its part of the handshake. Dropping it cuts the connection.
pub struct Connection {
    peer: SocketAddr,
    link: Arc<Link>,
    frames: mpsc::Receiver<Frame>,
    queue: mpsc::Sender<AnyMessageOwned>,
    writer: JoinHandle<()>,
    /// Cuts the connection when this value is dropped.
    cut: DropGuard,
}

impl Connection {
    pub(crate) fn start(
        stream: TcpStream,
        peer: SocketAddr,
        transport: Transport,
        limits: Limits,
        slot: Slot,
        token: CancellationToken,
    ) -> Self {
        let (frames_in, frames) = mpsc::channel(limits.incoming_frames.max(1));
        let (queue, queue_out) = mpsc::channel(limits.outgoing_messages.max(1));
        let link = Arc::new(Link {
            limits,
            slot,
            token,
            queued_bytes: AtomicUsize::new(0),
            reason: OnceLock::new(),
        });
        let (read_half, write_half) = stream.into_split();
        let (encrypt, decrypt) = transport.split();
        tokio::spawn(read_frames(link.clone(), read_half, decrypt, frames_in));
        let writer = tokio::spawn(write_frames(link.clone(), write_half, encrypt, queue_out));
        let cut = link.token.clone().drop_guard();
        Self {
            peer,
            link,
            frames,
            queue,
            writer,
            cut,
        }
    }

    /// Where the peer connects from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The bounds it lives in.
    pub fn limits(&self) -> &Limits {
        &self.link.limits
    }

    /// The next message of the peer; cancellation safe. Messages read before an error come before the error.
    ///
    /// While nobody calls it, at most [`Limits::incoming_frames`] are read and the peer waits: that is back-pressure.
    pub async fn next(&mut self) -> Result<Frame, CloseReason> {
        match self.frames.recv().await {
            Some(frame) => Ok(frame),
            None => Err(self.reason().unwrap_or(CloseReason::Shutdown)),
        }
    }

    /// Queues a message; never waits. A full queue means that the peer does not read: the connection is cut as
    /// [`CloseReason::SlowReader`].
    pub fn send(&self, message: AnyMessageOwned) -> Result<(), CloseReason> {
        if let Some(reason) = self.reason() {
            return Err(reason);
        }
        let bytes = size(&message);
        let before = self.link.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = before > 0 && before.saturating_add(bytes) > self.link.limits.outgoing_bytes;
        if !full && self.queue.try_send(message).is_ok() {
            return Ok(());
        }
        self.link.fail(CloseReason::SlowReader);
        Err(self.reason().unwrap_or(CloseReason::SlowReader))
    }

    /// [`Connection::send`] for a common message.
    pub fn send_common(&self, message: impl Into<CommonMessagesOwned>) -> Result<(), CloseReason> {
        self.send(AnyMessageOwned::Common(message.into()))
    }

    /// [`Connection::send`] for a message of the Mining Protocol.
    pub fn send_mining(&self, message: MiningOwned) -> Result<(), CloseReason> {
        self.send(AnyMessageOwned::Mining(message))
    }

    /// [`Connection::send`] for a message of the Template Distribution Protocol.
    pub fn send_template_distribution(
        &self,
        message: TemplateDistributionOwned,
    ) -> Result<(), CloseReason> {
        self.send(AnyMessageOwned::TemplateDistribution(message))
    }

    /// Bytes queued and not yet taken for writing. A role whose answers are large pauses reading by it.
    pub fn queued_bytes(&self) -> usize {
        self.link.queued_bytes.load(Ordering::Relaxed)
    }

    /// Why it ended, once it has.
    pub fn reason(&self) -> Option<CloseReason> {
        self.link.reason.get().copied()
    }

    /// Ends it: what is queued still goes out, for [`Limits::linger`] at most. Gives the reason that is counted, which
    /// is the first one when the connection had failed already.
    pub async fn close(self, reason: CloseReason) -> CloseReason {
        let _ = self.link.reason.set(reason);
        let Self {
            link,
            frames,
            queue,
            mut writer,
            cut,
            ..
        } = self;
        drop(queue);
        if !link.token.is_cancelled() {
            let _ = timeout(link.limits.linger, &mut writer).await;
        }
        drop((cut, frames));
        link.reason.get().copied().unwrap_or(reason)
    }
}
