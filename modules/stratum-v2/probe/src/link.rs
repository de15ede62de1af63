//! One encrypted connection, with frames as raw as the caller likes.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stratum_apps::key_utils::Secp256k1PublicKey;
use stratum_apps::network_helpers::connect_with_noise;
use stratum_apps::network_helpers::noise_stream::NoiseTcpWriteHalf;
use stratum_core::codec_sv2::EncodableFrame;
use stratum_core::framing_sv2;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Frames read ahead of whoever uses them.
const READ_AHEAD: usize = 1_024;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of an attempt to talk.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("no connection in time")]
    Timeout,
    #[error("the key {0} is none")]
    Key(String),
    #[error("handshake or frame: {0}")]
    Noise(String),
    #[error("the other side has closed")]
    Closed,
    #[error(transparent)]
    Short(#[from] crate::bytes::Short),
}

/// A frame that came in.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub message_type: u8,
    pub payload: Vec<u8>,
    /// When it was whole, microseconds since 1970.
    pub at_us: u128,
}

/// Bytes that go out as they are; the first six are taken for the header, whatever they say.
pub struct RawFrame(pub Vec<u8>);

impl EncodableFrame for RawFrame {
    fn encoded_length(&self) -> usize {
        self.0.len()
    }
    fn encode_into(self, dst: &mut [u8]) -> Result<(), framing_sv2::Error> {
        dst.copy_from_slice(&self.0);
        Ok(())
    }
}

/// Header and payload that agree with one another.
pub fn frame(message_type: u8, channel: bool, payload: &[u8]) -> RawFrame {
    frame_saying(
        if channel { 0x8000 } else { 0 },
        message_type,
        payload.len() as u32,
        payload,
    )
}

/// A header that says what it is told to, above any payload.
pub fn frame_saying(extension: u16, message_type: u8, length: u32, payload: &[u8]) -> RawFrame {
    let mut bytes = extension.to_le_bytes().to_vec();
    bytes.push(message_type);
    bytes.extend(&length.to_le_bytes()[..3]);
    bytes.extend(payload);
    RawFrame(bytes)
}

/// Microseconds since 1970.
pub fn now_us() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros())
}

/// An open connection behind the Noise handshake.
pub struct Link {
    writer: NoiseTcpWriteHalf,
    arrived: mpsc::Receiver<Arrived>,
}

impl Link {
    /// Connects; with a key only to whoever has a certificate of that authority.
    pub async fn open(to: SocketAddr, authority: Option<&str>) -> Result<Self, LinkError> {
        let key = match authority {
            Some(text) => {
                Some(Secp256k1PublicKey::from_str(text).map_err(|_| LinkError::Key(text.into()))?)
            }
            None => None,
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to))
            .await
            .map_err(|_| LinkError::Timeout)?
            .map_err(LinkError::Connect)?;
        // A share that waits for the answer to the one before it (Nagle) would be measured as the pool's delay.
        stream.set_nodelay(true).map_err(LinkError::Connect)?;
        let noise = connect_with_noise(stream, key)
            .await
            .map_err(|error| LinkError::Noise(error.to_string()))?;
        let (mut reader, writer) = noise.into_split();
        let (sender, arrived) = mpsc::channel(READ_AHEAD);
        tokio::spawn(async move {
            while let Ok(mut frame) = reader.read_frame().await {
                let at_us = now_us();
                let message_type = frame.header().msg_type();
                let payload = frame.payload().to_vec();
                if sender
                    .send(Arrived {
                        message_type,
                        payload,
                        at_us,
                    })
                    .await
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { writer, arrived })
    }

    pub async fn send(&mut self, frame: RawFrame) -> Result<(), LinkError> {
        self.writer
            .write_frame(frame)
            .await
            .map_err(|_| LinkError::Closed)
    }

    /// The next frame; safe to give up.
    pub async fn next(&mut self) -> Result<Arrived, LinkError> {
        self.arrived.recv().await.ok_or(LinkError::Closed)
    }
}
