//! What a peer may cost, at a real port.

mod support;

use std::time::Duration;

use stratum_core::mining_sv2::CloseChannelOwned;
use stratum_core::parsers_sv2::{AnyMessageOwned, MiningOwned, TemplateDistributionOwned};
use stratum_core::template_distribution_sv2::SubmitSolutionOwned;
use support::server::{listen, serve};
use support::{Peer, raw, until};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use wire::{CloseReason, Frame, Limits};

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
