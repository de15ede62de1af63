//! Peers of all manners at a real port: handshake, setup, frames.

mod support;

use std::time::Duration;

use stratum_core::common_messages_sv2::Protocol;
use stratum_core::mining_sv2::CloseChannelOwned;
use stratum_core::parsers_sv2::MiningOwned;
use support::server::{listen, serve};
use support::{Dice, Peer, raw, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Authority, CloseReason, Limits};

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
