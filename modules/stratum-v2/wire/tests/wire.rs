//! Peers of all manners at a real port.

mod support;

use std::sync::Arc;
use std::time::Duration;

use stratum_core::common_messages_sv2::Protocol;
use stratum_core::mining_sv2::CloseChannelOwned;
use stratum_core::parsers_sv2::{AnyMessageOwned, MiningOwned, TemplateDistributionOwned};
use stratum_core::template_distribution_sv2::SubmitSolutionOwned;
use support::{Dice, Peer, raw, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Authority, CloseReason, Connection, Counters, Frame, Limits, Listener, SetupPolicy};

const POLICY: SetupPolicy = SetupPolicy {
    protocol: Protocol::MiningProtocol,
    supported_flags: 0b101,
    success_flags: 0,
};

struct Server {
    address: std::net::SocketAddr,
    authority: String,
    counters: Arc<Counters>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A role that lets peers through SetupConnection, and then does with them as told.
async fn serve<F>(limits: Limits, role: impl Fn(Connection) -> F + Send + Sync + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Authority::generate();
    let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap(), authority, limits)
        .await
        .unwrap();
    let (address, counters) = (listener.address(), listener.counters());
    let role = Arc::new(role);
    let task = tokio::spawn(async move {
        while let Some(mut connection) = listener.accept().await {
            let role = role.clone();
            tokio::spawn(async move {
                match connection.setup(POLICY).await {
                    Ok(_) => role(connection).await,
                    Err(reason) => {
                        connection.close(reason).await;
                    }
                }
            });
        }
    });
    Server {
        address,
        authority: authority.public_key(),
        counters,
        task,
    }
}

/// Reads until the connection ends.
async fn listen(mut connection: Connection) {
    loop {
        if let Err(reason) = connection.next().await {
            connection.close(reason).await;
            return;
        }
    }
}

impl Server {
    async fn peer(&self) -> Peer {
        Peer::connect(self.address, &self.authority).await.unwrap()
    }

    async fn ready(&self) -> Peer {
        let mut peer = self.peer().await;
        assert_eq!(peer.setup(|_| ()).await, "ok 0");
        peer
    }

    /// One connection ended for this reason, and no other one.
    async fn ended(&self, reason: CloseReason) {
        until(reason.as_str(), || {
            self.counters.closed(reason) == 1 && self.counters.open() == 0
        })
        .await;
        let total: u64 = self
            .counters
            .snapshot()
            .iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!(total, 1, "{:?}", self.counters.snapshot());
    }
}

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn ends_a_peer_that_says_nothing() {
    let limits = Limits {
        handshake_timeout: SHORT,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    server.ended(CloseReason::HandshakeTimeout).await;
}

#[tokio::test]
async fn ends_a_peer_that_dribbles_its_handshake() {
    let limits = Limits {
        handshake_timeout: SHORT,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[1; 63]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    server.ended(CloseReason::HandshakeTimeout).await;
}

#[tokio::test]
async fn ends_a_peer_that_sends_garbage_instead_of_a_handshake() {
    let mut dice = Dice::seeded();
    let server = serve(Limits::default(), listen).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // every 64 bytes are some point on the curve: what follows does not decrypt
    stream.write_all(&dice.bytes(4096)).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    server.ended(CloseReason::BadCiphertext).await;
}

#[tokio::test]
async fn shows_no_certificate_of_another_authority() {
    let server = serve(Limits::default(), listen).await;
    let other = Authority::generate().public_key();
    assert!(Peer::connect(server.address, &other).await.is_err());
    server.ended(CloseReason::PeerClosed).await;
}

#[tokio::test]
async fn ends_a_peer_that_never_sets_up() {
    let limits = Limits {
        setup_timeout: SHORT,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    server.peer().await.closed().await;
    server.ended(CloseReason::SetupTimeout).await;
}

#[tokio::test]
async fn tells_why_a_setup_is_refused() {
    let server = serve(Limits::default(), listen).await;
    let mut peer = server.peer().await;
    let answer = peer
        .setup(|message| message.protocol = Protocol::TemplateDistributionProtocol)
        .await;
    assert_eq!(answer, "error unsupported-protocol 0");
    peer.closed().await;
    server.ended(CloseReason::SetupRefused).await;

    for (low, high) in [(0, 1), (3, 9)] {
        let answer = server
            .peer()
            .await
            .setup(|message| (message.min_version, message.max_version) = (low, high))
            .await;
        assert_eq!(answer, "error protocol-version-mismatch 0");
    }
    assert_eq!(
        server
            .peer()
            .await
            .setup(|message| message.min_version = 1)
            .await,
        "ok 0"
    );
    assert_eq!(
        server
            .peer()
            .await
            .setup(|message| message.flags = 0b101)
            .await,
        "ok 0"
    );
    let answer = server
        .peer()
        .await
        .setup(|message| message.flags = 0b111)
        .await;
    assert_eq!(answer, "error unsupported-feature-flags 2");
    let answer = server
        .peer()
        .await
        .setup(|message| message.flags = u32::MAX)
        .await;
    assert_eq!(
        answer,
        format!("error unsupported-feature-flags {}", u32::MAX - 0b101)
    );
}

#[tokio::test]
async fn tells_a_protocol_that_does_not_exist_from_garbage() {
    let server = serve(Limits::default(), listen).await;
    let mut peer = server.peer().await;
    peer.raw(raw(0, 0, 3, &[9, 1, 1])).await.unwrap();
    let answer = peer.next().await;
    assert!(
        format!("{answer:?}").contains("SetupConnectionError"),
        "{answer:?}"
    );
    server.ended(CloseReason::SetupRefused).await;
}

#[tokio::test]
async fn ends_a_peer_whose_first_message_is_another() {
    let server = serve(Limits::default(), listen).await;
    let mut peer = server.peer().await;
    let reason_code = "bye".to_string().try_into().unwrap();
    peer.mining(MiningOwned::CloseChannel(CloseChannelOwned {
        channel_id: 1,
        reason_code,
    }))
    .await;
    peer.closed().await;
    server.ended(CloseReason::UnexpectedMessage).await;
}

#[tokio::test]
async fn refuses_a_frame_by_its_header() {
    for (length, extension) in [
        (4 * 1024 + 1, 0),
        (70_000, 0),
        (0xff_ffff, 0),
        (0xff_ffff, 77),
    ] {
        let server = serve(Limits::default(), listen).await;
        let mut peer = server.ready().await;
        // the header alone: not a byte of what it announces has to come
        peer.raw(raw(extension, 0x1a, length, &[])).await.unwrap();
        peer.closed().await;
        server.ended(CloseReason::FrameTooLarge).await;
    }
}

#[tokio::test]
async fn takes_frames_of_the_greatest_size_in_several_chunks() {
    let limits = Limits {
        payload_bytes: 200_000,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut peer = server.ready().await;
    peer.raw(raw(77, 1, 200_000, &vec![7; 200_000]))
        .await
        .unwrap();
    until("ignored", || server.counters.ignored_frames() == 1).await;
    peer.raw(raw(77, 1, 200_001, &[])).await.unwrap();
    // the last chunk is what tells
    let _ = peer.raw(raw(77, 1, 200_001, &vec![7; 200_001])).await;
    peer.closed().await;
    assert_eq!(server.counters.ignored_frames(), 1);
}

#[tokio::test]
async fn names_what_is_wrong_with_a_frame() {
    let cases: &[(u16, u8, &[u8], CloseReason)] = &[
        (0, 0x1a, &[1, 2, 3], CloseReason::MalformedFrame),
        (0, 0x00, &[], CloseReason::MalformedFrame),
        (0, 0x00, &[0, 2], CloseReason::MalformedFrame),
        (1, 0x00, &[1], CloseReason::MalformedFrame),
        (1, 0x77, &[], CloseReason::MalformedFrame),
        (0, 0xfe, &[], CloseReason::UnknownMessage),
        // AllocateMiningJobToken, of Job Declaration
        (0, 0x50, &[0; 8], CloseReason::UnexpectedMessage),
    ];
    for (extension, message_type, payload, reason) in cases {
        let server = serve(Limits::default(), listen).await;
        let mut peer = server.ready().await;
        peer.raw(raw(*extension, *message_type, payload.len(), payload))
            .await
            .unwrap();
        peer.closed().await;
        server.ended(*reason).await;
    }
}

#[tokio::test]
async fn ends_a_peer_that_begins_a_frame_and_waits() {
    let limits = Limits {
        frame_timeout: SHORT,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut peer = server.ready().await;
    peer.raw(raw(0, 0x1a, 100, &[])).await.unwrap();
    peer.closed().await;
    server.ended(CloseReason::FrameTimeout).await;
}

#[tokio::test]
async fn leaves_a_silent_peer_alone() {
    let limits = Limits {
        frame_timeout: Duration::from_millis(50),
        setup_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut peer = server.ready().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    peer.raw(raw(77, 1, 1, &[1])).await.unwrap();
    until("heard", || server.counters.ignored_frames() == 1).await;
    assert_eq!(server.counters.open(), 1);
}

#[tokio::test]
async fn ends_a_peer_whose_frames_are_not_encrypted() {
    let server = serve(Limits::default(), listen).await;
    let authority: stratum_apps::key_utils::Secp256k1PublicKey = server.authority.parse().unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut initiator =
        stratum_core::noise_sv2::Initiator::from_raw_k(authority.into_bytes()).unwrap();
    stream
        .write_all(&initiator.step_0().unwrap())
        .await
        .unwrap();
    stream.write_all(&[0; 300]).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    server.ended(CloseReason::BadCiphertext).await;
}

/// A message of some 60,000 bytes.
fn long_message() -> TemplateDistributionOwned {
    TemplateDistributionOwned::SubmitSolution(SubmitSolutionOwned {
        template_id: 1,
        version: 1,
        header_timestamp: 1,
        header_nonce: 1,
        coinbase_tx: vec![7; 60_000].try_into().unwrap(),
    })
}

#[tokio::test]
async fn cuts_a_peer_that_does_not_read() {
    let server = serve(Limits::default(), |connection| async move {
        // as a server would that has something to say and cannot know who listens
        loop {
            if let Err(reason) = connection.send_template_distribution(long_message()) {
                connection.close(reason).await;
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut peer = Peer::connect_narrow(server.address, &server.authority).await;
    peer.setup(|_| ()).await;
    server.ended(CloseReason::SlowReader).await;
}

#[tokio::test]
async fn cuts_a_peer_whose_network_takes_nothing() {
    let limits = Limits {
        write_timeout: Duration::from_millis(200),
        outgoing_bytes: 64 << 20,
        ..Limits::default()
    };
    let server = serve(limits, |mut connection| async move {
        // more than all socket buffers hold, and less than the queue does
        for _ in 0..500 {
            connection
                .send_template_distribution(long_message())
                .unwrap();
        }
        let reason = connection.next().await.unwrap_err();
        connection.close(reason).await;
    })
    .await;
    let mut peer = Peer::connect_narrow(server.address, &server.authority).await;
    peer.setup(|_| ()).await;
    server.ended(CloseReason::SlowReader).await;
}

#[tokio::test]
async fn says_its_last_word_before_it_closes() {
    let server = serve(Limits::default(), |connection| async move {
        let reason_code = "goodbye".to_string().try_into().unwrap();
        let message = MiningOwned::CloseChannel(CloseChannelOwned {
            channel_id: 1,
            reason_code,
        });
        connection.send_mining(message).unwrap();
        assert_eq!(
            connection.close(CloseReason::NoWork).await,
            CloseReason::NoWork
        );
    })
    .await;
    let mut peer = server.ready().await;
    assert!(matches!(
        peer.next().await,
        Some(AnyMessageOwned::Mining(MiningOwned::CloseChannel(_)))
    ));
    assert!(peer.next().await.is_none());
    server.ended(CloseReason::NoWork).await;
}

#[tokio::test]
async fn refuses_more_connections_than_there_is_room_for_and_gives_room_back() {
    let limits = Limits {
        connections_per_ip: 3,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let mut peers = vec![
        server.ready().await,
        server.ready().await,
        server.ready().await,
    ];
    assert!(
        Peer::connect(server.address, &server.authority)
            .await
            .is_err()
    );
    until("refused", || {
        server.counters.closed(CloseReason::TooManyFromPeer) == 1
    })
    .await;
    assert_eq!(server.counters.open(), 3);
    peers.pop();
    until("room", || server.counters.open() == 2).await;
    peers.push(server.ready().await);

    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let server = serve(limits, listen).await;
    let _one = server.ready().await;
    assert!(
        Peer::connect(server.address, &server.authority)
            .await
            .is_err()
    );
    until("refused", || {
        server.counters.closed(CloseReason::TooManyConnections) == 1
    })
    .await;
}

#[tokio::test]
async fn reads_no_faster_than_it_may_and_loses_nothing() {
    let limits = Limits {
        frames_per_second: 100,
        frames_burst: 10,
        ..Limits::default()
    };
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = serve(limits, move |mut connection| {
        let heard = heard.clone();
        async move {
            while let Ok(Frame::Mining(MiningOwned::CloseChannel(message))) =
                connection.next().await
            {
                heard.send(message.channel_id).unwrap();
            }
        }
    })
    .await;
    let mut peer = server.ready().await;
    let begun = std::time::Instant::now();
    for channel_id in 0..40 {
        let reason_code = "x".to_string().try_into().unwrap();
        peer.mining(MiningOwned::CloseChannel(CloseChannelOwned {
            channel_id,
            reason_code,
        }))
        .await;
    }
    for expected in 0..40 {
        assert_eq!(hears.recv().await, Some(expected));
    }
    // 40 frames less a burst of 10, one of which SetupConnection took
    assert!(
        begun.elapsed() >= Duration::from_millis(290),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn cuts_all_connections_with_the_listener() {
    let server = serve(Limits::default(), listen).await;
    let mut peer = server.ready().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    until("accepted", || server.counters.open() == 2).await;
    server.task.abort();
    peer.closed().await;
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
    until("closed", || {
        server.counters.closed(CloseReason::Shutdown) == 2
    })
    .await;
}
