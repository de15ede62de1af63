//! A provider on a real socket, what it hands over, and clients made from the reference implementation's own network code.
#![allow(dead_code)] // each test program uses its own part

#[path = "../../../work/tests/support/mod.rs"]
pub mod node;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provider::{ClientSolution, Provider, ProviderConfig, Solutions, SolutionsError};
use stratum_apps::network_helpers::connect_with_noise;
use stratum_apps::network_helpers::noise_stream::{NoiseTcpReadHalf, NoiseTcpWriteHalf};
use stratum_core::codec_sv2::EncodableFrame;
use stratum_core::common_messages_sv2::{Protocol, SetupConnectionOwned};
use stratum_core::framing_sv2;
use stratum_core::parsers_sv2::{
    CommonMessages, CommonMessagesOwned, TemplateDistribution, TemplateDistributionOwned,
};
use stratum_core::template_distribution_sv2::{
    CoinbaseOutputConstraints, NewTemplateOwned, RequestTransactionData, SetNewPrevHashOwned,
    SubmitSolutionOwned,
};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wire::{Authority, Counters, Limits, Listener};
use work::{Solution, WorkBook, WorkOptions};

/// Long for a machine, whatever else it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps what it is told; refuses solutions while `refusing`.
pub struct Kept {
    pub found: Mutex<Vec<ClientSolution>>,
    pub rejected: Mutex<Vec<&'static str>>,
    pub disconnected: Mutex<Vec<&'static str>>,
    pub refusing: Mutex<bool>,
    changed: watch::Sender<()>,
}

#[async_trait::async_trait]
impl Solutions for Kept {
    async fn found(&self, found: ClientSolution) -> Result<(), SolutionsError> {
        let refusing = *self.refusing.lock().unwrap();
        if !refusing {
            self.found.lock().unwrap().push(found);
        }
        self.changed.send_replace(());
        if refusing {
            Err(SolutionsError("storage is gone".into()))
        } else {
            Ok(())
        }
    }
    fn rejected(&self, _: SocketAddr, code: &'static str) {
        self.rejected.lock().unwrap().push(code);
        self.changed.send_replace(());
    }
    fn connected(&self, _: SocketAddr) {}
    fn disconnected(&self, _: SocketAddr, reason: &'static str) {
        self.disconnected.lock().unwrap().push(reason);
        self.changed.send_replace(());
    }
}

impl Kept {
    /// Waits until it was told enough.
    pub async fn until(&self, enough: impl Fn(&Kept) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !enough(self) {
                changed.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, waiting).await.expect("told in time");
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub book: Arc<WorkBook>,
    pub kept: Arc<Kept>,
    pub provider: Provider,
    pub counters: Arc<Counters>,
    pub shutdown: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
}

pub async fn server(config: ProviderConfig) -> Server {
    server_within(config, config.limits()).await
}

pub async fn server_within(config: ProviderConfig, limits: Limits) -> Server {
    let book = Arc::new(WorkBook::new(WorkOptions::default()));
    let kept = Arc::new(Kept {
        found: Mutex::default(),
        rejected: Mutex::default(),
        disconnected: Mutex::default(),
        refusing: Mutex::default(),
        changed: watch::Sender::new(()),
    });
    let provider = Provider::new(book.clone(), kept.clone(), config).unwrap();
    let listener = Listener::bind(
        "127.0.0.1:0".parse().unwrap(),
        Authority::generate(),
        limits,
    )
    .await
    .unwrap();
    let (address, counters) = (listener.address(), listener.counters());
    let shutdown = CancellationToken::new();
    let (serving, token) = (provider.clone(), shutdown.clone());
    let served = tokio::spawn(async move { serving.serve(listener, token).await });
    Server {
        address,
        book,
        kept,
        provider,
        counters,
        shutdown,
        served,
    }
}

/// Bytes that go out as they are, header included.
struct Raw(Vec<u8>);

impl EncodableFrame for Raw {
    fn encoded_length(&self) -> usize {
        self.0.len()
    }
    fn encode_into(self, target: &mut [u8]) -> Result<(), framing_sv2::Error> {
        target.copy_from_slice(&self.0);
        Ok(())
    }
}

/// What came in.
#[derive(Debug)]
pub enum Arrived {
    Common(CommonMessagesOwned),
    Template(TemplateDistributionOwned),
}

/// A peer that reads all that comes.
pub struct Client {
    pub writer: NoiseTcpWriteHalf,
    arrived: mpsc::UnboundedReceiver<Arrived>,
}

pub async fn connect(address: SocketAddr) -> (NoiseTcpReadHalf, NoiseTcpWriteHalf) {
    let stream = TcpStream::connect(address).await.unwrap();
    connect_with_noise(stream, None).await.unwrap().into_split()
}

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        let (mut reader, writer) = connect(address).await;
        let (sender, arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(mut frame) = reader.read_frame().await {
                let kind = frame.header().msg_type();
                let message = match kind {
                    0x70..=0x76 => Arrived::Template(
                        TemplateDistribution::try_from((kind, frame.payload()))
                            .unwrap()
                            .into_owned(),
                    ),
                    _ => Arrived::Common(
                        CommonMessages::try_from((kind, frame.payload()))
                            .unwrap()
                            .into_owned(),
                    ),
                };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self { writer, arrived }
    }

    /// Connected, set up, and its constraints told.
    pub async fn ready(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.set_up().await;
        client.constrain(100, 4).await;
        client
    }

    pub async fn set_up(&mut self) {
        self.send_raw(0x00, &setup(Protocol::TemplateDistributionProtocol))
            .await;
        let answer = self.next().await;
        assert!(
            matches!(
                answer,
                Arrived::Common(CommonMessagesOwned::SetupConnectionSuccess(_))
            ),
            "{answer:?}"
        );
    }

    pub async fn constrain(&mut self, bytes: u32, sigops: u16) {
        let message = CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: bytes,
            coinbase_output_max_additional_sigops: sigops,
        };
        self.send_raw(0x70, &stratum_core::binary_sv2::to_bytes(message).unwrap())
            .await;
    }

    pub async fn request(&mut self, template_id: u64) {
        let message = RequestTransactionData { template_id };
        self.send_raw(0x73, &stratum_core::binary_sv2::to_bytes(message).unwrap())
            .await;
    }

    pub async fn submit(&mut self, solution: &Solution) {
        let message = SubmitSolutionOwned {
            template_id: solution.template_id,
            version: solution.version,
            header_timestamp: solution.header_timestamp,
            header_nonce: solution.header_nonce,
            coinbase_tx: solution.coinbase_tx.clone().try_into().unwrap(),
        };
        self.send_raw(0x76, &stratum_core::binary_sv2::to_bytes(message).unwrap())
            .await;
    }

    pub async fn send_raw(&mut self, message_type: u8, payload: &[u8]) {
        send(&mut self.writer, message_type, payload).await;
    }

    pub async fn next(&mut self) -> Arrived {
        self.next_or_end().await.expect("still connected")
    }

    /// None when the server has closed.
    pub async fn next_or_end(&mut self) -> Option<Arrived> {
        timeout(PATIENCE, self.arrived.recv())
            .await
            .expect("something in time")
    }

    pub async fn template(&mut self) -> NewTemplateOwned {
        match self.next().await {
            Arrived::Template(TemplateDistributionOwned::NewTemplate(message)) => message,
            other => panic!("no template: {other:?}"),
        }
    }

    pub async fn prev_hash(&mut self) -> SetNewPrevHashOwned {
        match self.next().await {
            Arrived::Template(TemplateDistributionOwned::SetNewPrevHash(message)) => message,
            other => panic!("no previous hash: {other:?}"),
        }
    }

    /// Nothing has come and, after a request that is answered in turn, nothing is on its way.
    pub async fn quiet(&mut self) {
        self.request(u64::MAX).await;
        match self.next().await {
            Arrived::Template(TemplateDistributionOwned::RequestTransactionDataError(_)) => {}
            other => panic!("not quiet: {other:?}"),
        }
    }
}

pub async fn send(writer: &mut NoiseTcpWriteHalf, message_type: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    let frame = [&[0, 0, message_type], &length[..3], payload].concat();
    // a server that has closed already is seen by reading
    let _ = writer.write_frame(Raw(frame)).await;
}

pub fn setup(protocol: Protocol) -> Vec<u8> {
    let text = |text: &str| text.to_string().try_into().unwrap();
    let message = SetupConnectionOwned {
        protocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text("127.0.0.1"),
        endpoint_port: 8442,
        vendor: text("vendor"),
        hardware_version: text(""),
        firmware: text("firmware"),
        device_id: text(""),
    };
    stratum_core::binary_sv2::to_bytes(message).unwrap()
}
