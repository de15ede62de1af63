//! A client for tests: the reference implementation's initiator, and frames that no honest client would send.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod server;

use std::net::SocketAddr;
use std::time::Duration;

use stratum_apps::key_utils::Secp256k1PublicKey;
use stratum_apps::network_helpers::Error;
use stratum_apps::network_helpers::noise_stream::{
    NoiseTcpReadHalf, NoiseTcpStream, NoiseTcpWriteHalf,
};
use stratum_core::codec_sv2::{EncodableFrame, MessageFrame};
use stratum_core::common_messages_sv2::{Protocol, SetupConnectionOwned};
use stratum_core::noise_sv2::Initiator;
use stratum_core::parsers_sv2::{
    AnyMessage, AnyMessageOwned, CommonMessagesOwned, IsSv2Message, MiningOwned,
    parse_message_frame_with_tlvs,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for anything in these tests: long enough for a machine that is busy with eight other things.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a frame as they are, header included, true or not.
pub struct Raw(pub Vec<u8>);

impl EncodableFrame for Raw {
    fn encoded_length(&self) -> usize {
        self.0.len()
    }

    fn encode_into(self, dst: &mut [u8]) -> Result<(), stratum_core::framing_sv2::Error> {
        dst.copy_from_slice(&self.0);
        Ok(())
    }
}

/// A frame with a header that says `length`, whatever follows.
pub fn raw(extension: u16, message_type: u8, length: usize, payload: &[u8]) -> Raw {
    let mut bytes = extension.to_le_bytes().to_vec();
    bytes.push(message_type);
    bytes.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes()[..3]);
    bytes.extend_from_slice(payload);
    Raw(bytes)
}

pub struct Peer {
    pub reader: NoiseTcpReadHalf,
    pub writer: NoiseTcpWriteHalf,
}

impl Peer {
    /// As [`Peer::connect`], with hardly any room for what it does not read.
    pub async fn connect_narrow(address: SocketAddr, authority: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(address).await.unwrap(), authority)
            .await
            .unwrap()
    }

    /// Connects and shakes hands, trusting this authority only.
    pub async fn connect(address: SocketAddr, authority: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| Error::SocketClosed)?;
        Self::over(stream, authority).await
    }

    async fn over(stream: TcpStream, authority: &str) -> Result<Self, Error> {
        let key: Secp256k1PublicKey = authority.parse().unwrap();
        stream.set_nodelay(true).unwrap();
        let initiator = Initiator::from_raw_k(key.into_bytes()).map_err(|_| Error::InvalidKey)?;
        let stream = NoiseTcpStream::connect(stream, initiator, PATIENCE).await?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader, writer })
    }

    pub async fn send(&mut self, message: AnyMessageOwned) {
        let (kind, extension, channel) = (
            message.message_type(),
            message.extension_type(),
            message.channel_bit(),
        );
        let frame = MessageFrame::from_message(message, kind, extension, channel).unwrap();
        self.writer
            .write_frame(frame)
            .await
            .expect("the server takes it");
    }

    pub async fn mining(&mut self, message: MiningOwned) {
        self.send(AnyMessageOwned::Mining(message)).await;
    }

    pub async fn raw(&mut self, raw: Raw) -> Result<(), Error> {
        self.writer.write_frame(raw).await
    }

    /// The next message; `None` when the server has closed.
    pub async fn next(&mut self) -> Option<AnyMessageOwned> {
        let mut frame = timeout(PATIENCE, self.reader.read_frame())
            .await
            .expect("an answer in time")
            .ok()?;
        let header = frame.header();
        let (message, _): (AnyMessage, _) =
            parse_message_frame_with_tlvs(header, frame.payload(), &[]).expect("a message");
        Some(message.into_owned())
    }

    pub async fn next_mining(&mut self) -> MiningOwned {
        match self.next().await {
            Some(AnyMessageOwned::Mining(message)) => message,
            other => panic!("expected a mining message, got {other:?}"),
        }
    }

    /// SetupConnection; the answer as text: `ok FLAGS` or `error CODE FLAGS`.
    pub async fn setup(&mut self, change: impl FnOnce(&mut SetupConnectionOwned)) -> String {
        let mut message = setup_connection();
        change(&mut message);
        self.send(AnyMessageOwned::Common(message.into())).await;
        match self.next().await {
            Some(AnyMessageOwned::Common(CommonMessagesOwned::SetupConnectionSuccess(ok))) => {
                assert_eq!(ok.used_version, 2);
                format!("ok {}", ok.flags)
            }
            Some(AnyMessageOwned::Common(CommonMessagesOwned::SetupConnectionError(error))) => {
                format!(
                    "error {} {}",
                    error.error_code.as_utf8_or_hex(),
                    error.flags
                )
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reads on until the server closes.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub fn setup_connection() -> SetupConnectionOwned {
    let text = |text: &str| text.to_string().try_into().unwrap();
    SetupConnectionOwned {
        protocol: Protocol::MiningProtocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text("localhost"),
        endpoint_port: 3333,
        vendor: text("tester"),
        hardware_version: text("h1"),
        firmware: text("f1"),
        device_id: text("d1"),
    }
}

/// Random numbers of a printed seed (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn seeded() -> Self {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64,
        };
        println!("SEED={seed}");
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
