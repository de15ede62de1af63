//! Bytes of one connection: the Noise handshake, the task that reads frames and the task that writes them.
//!
//! The codec is the reference implementation's. Its reading is not cancellation safe, so each direction has a task of
//! its own that is never interrupted except for good.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stratum_core::codec_sv2::{
    Decoded, Decrypted, Handshake, HandshakeMessage, NoiseDecoder, NoiseEncoder, Transport,
    TransportDecryptState, TransportEncryptState,
};
use stratum_core::noise_sv2::{ELLSWIFT_ENCODING_SIZE, Responder};
use stratum_core::parsers_sv2::AnyMessageOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::Link;
use crate::frame::{Frame, frame, parse, size};
use crate::pace::Pace;
use crate::{Authority, CloseReason};

/// Bytes of queued messages that go to the socket in one write: one job for 64 channels, not one packet each.
const WRITE_BATCH_BYTES: usize = 32 * 1024;

/// Bytes of authentication that a chunk of a payload carries on top of what its header announces (ChaCha20-Poly1305).
const MAC_BYTES: usize = 16;

/// Bytes of a payload that are encrypted together.
const CHUNK_PLAIN_BYTES: usize = 65_535 - MAC_BYTES;

/// The initiator's whole first message.
pub(crate) async fn read_hello(
    stream: &mut TcpStream,
) -> Result<[u8; ELLSWIFT_ENCODING_SIZE], CloseReason> {
    let mut hello = [0; ELLSWIFT_ENCODING_SIZE];
    stream
        .read_exact(&mut hello)
        .await
        .map_err(|_| CloseReason::PeerClosed)?;
    Ok(hello)
}

/// The curve arithmetic of a handshake: what to answer, and the ciphers of both directions.
pub(crate) fn respond(
    authority: &Authority,
    hello: [u8; ELLSWIFT_ENCODING_SIZE],
) -> Result<(Vec<u8>, Transport), CloseReason> {
    let responder = authority.responder().ok_or(CloseReason::Internal)?;
    // the codec is asked to read the hello, so that its own idea of a handshake frame holds
    let mut decoder = NoiseDecoder::new();
    let mut rest = hello.as_slice();
    let message: HandshakeMessage = loop {
        let writable = decoder.writable();
        let (now, later) = rest
            .split_at_checked(writable.len())
            .ok_or(CloseReason::HandshakeFailed)?;
        writable.copy_from_slice(now);
        rest = later;
        match decoder.next_handshake_frame::<Responder>() {
            Ok(Decoded::Frame(message)) => break message,
            Ok(Decoded::Incomplete(_)) => {}
            Err(_) => return Err(CloseReason::HandshakeFailed),
        }
    };
    let key = message
        .payload()
        .try_into()
        .map_err(|_| CloseReason::HandshakeFailed)?;
    let (answer, transport) = Handshake::responder(responder)
        .step_1(key)
        .map_err(|_| CloseReason::HandshakeFailed)?;
    Ok((NoiseEncoder::new().encode_handshake(answer), transport))
}

/// Reads frames until the peer ends, errs, or the link is cut.
pub(crate) async fn read_frames(
    link: Arc<Link>,
    socket: OwnedReadHalf,
    state: TransportDecryptState,
    frames: mpsc::Sender<Frame>,
) {
    let cut = link.token.clone();
    let reading = async {
        let mut reader = Reader {
            socket,
            decoder: NoiseDecoder::new(),
            state: Some(state),
            link: link.clone(),
        };
        let limits = link.limits;
        let mut pace = Pace::new(
            limits.frames_per_second,
            limits.frames_burst,
            Instant::now(),
        );
        loop {
            match reader.next().await {
                Ok(frame) => {
                    let wait = pace.take(Instant::now());
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                    let Some(frame) = frame else {
                        link.slot.counters().count_ignored_frame();
                        continue;
                    };
                    if frames.send(frame).await.is_err() {
                        return;
                    }
                }
                Err(reason) => return link.fail(reason),
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = cut.cancelled() => {}
    }
}

struct Reader {
    socket: OwnedReadHalf,
    decoder: NoiseDecoder,
    state: Option<TransportDecryptState>,
    link: Arc<Link>,
}

impl Reader {
    /// The next frame, however long the peer is silent before it; `None` when it is one to ignore.
    async fn next(&mut self) -> Result<Option<Frame>, CloseReason> {
        let window = self.decoder.writable();
        let begun = self
            .socket
            .read(window)
            .await
            .map_err(|_| CloseReason::PeerClosed)?;
        let rest = window.get_mut(begun..).unwrap_or_default();
        if begun == 0 {
            return Err(CloseReason::PeerClosed);
        }
        // from its first byte on, a frame has its time
        let deadline = Instant::now() + self.link.limits.frame_timeout;
        timeout_at(deadline, self.socket.read_exact(rest))
            .await
            .map_err(|_| CloseReason::FrameTimeout)?
            .map_err(|_| CloseReason::PeerClosed)?;
        timeout_at(deadline, self.payload())
            .await
            .unwrap_or(Err(CloseReason::FrameTimeout))
    }

    /// What follows a header that the decoder holds.
    async fn payload(&mut self) -> Result<Option<Frame>, CloseReason> {
        let payload_bytes = self.link.limits.payload_bytes;
        let most = payload_bytes + payload_bytes.div_ceil(CHUNK_PLAIN_BYTES) * MAC_BYTES;
        let mut read = 0;
        loop {
            let before = self.state.take().ok_or(CloseReason::Internal)?;
            let decrypted = self
                .decoder
                .next_transport_frame(before)
                .map_err(|_| CloseReason::BadCiphertext)?;
            match decrypted {
                Decrypted::Incomplete(_, after) => self.state = Some(after),
                Decrypted::Frame(mut frame, after) => {
                    self.state = Some(after);
                    return parse(frame.header(), frame.payload());
                }
            }
            // the window is what the payload still lacks, a chunk at most: refused before a byte of it is awaited
            let window = self.decoder.writable();
            read += window.len();
            if read > most {
                return Err(CloseReason::FrameTooLarge);
            }
            self.socket
                .read_exact(window)
                .await
                .map_err(|_| CloseReason::PeerClosed)?;
        }
    }
}

/// Writes what is queued until the queue is closed and empty, or the link is cut.
pub(crate) async fn write_frames(
    link: Arc<Link>,
    socket: OwnedWriteHalf,
    state: TransportEncryptState,
    queue: mpsc::Receiver<AnyMessageOwned>,
) {
    let cut = link.token.clone();
    let mut writer = Writer {
        socket,
        encoder: NoiseEncoder::new(),
        state,
        link: link.clone(),
    };
    let writing = async {
        if let Err(reason) = writer.run(queue).await {
            link.fail(reason);
        }
    };
    tokio::select! {
        () = writing => {}
        () = cut.cancelled() => {}
    }
}

struct Writer {
    socket: OwnedWriteHalf,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
    link: Arc<Link>,
}

impl Writer {
    async fn run(&mut self, mut queue: mpsc::Receiver<AnyMessageOwned>) -> Result<(), CloseReason> {
        let mut batch = Vec::new();
        while let Some(message) = queue.recv().await {
            self.encode(message, &mut batch)?;
            while batch.len() < WRITE_BATCH_BYTES {
                let Ok(message) = queue.try_recv() else { break };
                self.encode(message, &mut batch)?;
            }
            self.write(&batch).await?;
            batch.clear();
            batch.shrink_to(WRITE_BATCH_BYTES);
        }
        // the peer sees the end of the stream after the last message
        let _ = self.socket.shutdown().await;
        Ok(())
    }

    fn encode(&mut self, message: AnyMessageOwned, batch: &mut Vec<u8>) -> Result<(), CloseReason> {
        let bytes = size(&message);
        let frame = frame(message).ok_or(CloseReason::Internal)?;
        let encoded = self
            .encoder
            .encode_transport(frame, &mut self.state)
            .map_err(|_| CloseReason::Internal)?;
        batch.extend_from_slice(encoded.as_ref());
        self.link.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), CloseReason> {
        let patience: Duration = self.link.limits.write_timeout;
        // the clock starts anew with every byte taken: slow networks are no slow readers
        while !bytes.is_empty() {
            match timeout(patience, self.socket.write(bytes)).await {
                Ok(Ok(0) | Err(_)) => return Err(CloseReason::PeerClosed),
                Ok(Ok(written)) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(_) => return Err(CloseReason::SlowReader),
            }
        }
        Ok(())
    }
}
