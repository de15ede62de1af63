//! Bad peers beside an honest miner, who must not feel them.

mod support;

use std::time::{Duration, Instant};

use stratum_apps::network_helpers::noise_stream::NoiseTcpWriteHalf;
use stratum_core::codec_sv2::MessageFrame;
use stratum_core::mining_sv2::{CloseChannelOwned, UpdateChannelOwned};
use stratum_core::parsers_sv2::{AnyMessageOwned, IsSv2Message, MiningOwned};
use support::peer::Raw;
use support::{
    Dice, HARD, House, PATIENCE, Peer, Rig, config, extended, house, raw, until, verdict,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use wire::CloseReason;

/// A miner that submits a share, reads the answer, and goes on until told to stop; gives the number of shares and the
/// longest wait for an answer.
struct Honest {
    stop: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<(u32, Duration)>,
}

impl Honest {
    async fn start(house: &House) -> Self {
        let mut peer = house.miner().await;
        let rig = extended(&mut peer, "honest").await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut sequence, mut longest) = (0, Duration::ZERO);
            while !*stopped.borrow() {
                sequence += 1;
                let asked = Instant::now();
                peer.mining(rig.share(sequence)).await;
                assert_eq!(verdict(&mut peer).await, format!("ok {sequence} 1 0"));
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (sequence, longest)
        });
        Self { stop, task }
    }

    /// All shares acknowledged are in the books, and there were some.
    async fn finish(self, house: &House) {
        self.stop.send_replace(true);
        let (shares, longest) = self.task.await.unwrap();
        println!("honest miner: {shares} shares, longest wait {longest:?}");
        assert!(shares > 0 && longest < PATIENCE);
        let books = house.ledger.accepted.lock().unwrap();
        assert_eq!(
            books.iter().filter(|share| share.miner == "honest").count(),
            shares as usize
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_beside_500_idle_connections() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let honest = Honest::start(&house).await;
    let mut silent = Vec::new();
    let mut idle = Vec::new();
    for number in 0..500 {
        // some never say a word, some stop after the handshake, some after SetupConnection
        match number % 10 {
            0 => idle.push(house.miner().await),
            1 => idle.push(house.peer().await),
            _ => silent.push(TcpStream::connect(house.address).await.unwrap()),
        }
    }
    until("all in, or ended", || house.counters.accepted() == 501).await;
    house.template(1, HARD, 0x2000_0002);
    let mut newcomer = house.miner().await;
    let rig = extended(&mut newcomer, "newcomer").await;
    newcomer.mining(rig.share(1)).await;
    assert_eq!(verdict(&mut newcomer).await, "ok 1 1 0");
    honest.finish(&house).await;
    drop((silent, idle));
    until("gone", || house.counters.open() == 1).await;
}

/// The half of a peer that writes; whether the server still listens is not its concern.
struct Mallory(NoiseTcpWriteHalf);

impl Mallory {
    async fn mining(&mut self, message: MiningOwned) {
        let (kind, channel) = (message.message_type(), message.channel_bit());
        let message = AnyMessageOwned::Mining(message);
        let _ = self
            .0
            .write_frame(MessageFrame::from_message(message, kind, 0, channel).unwrap())
            .await;
    }

    async fn raw(&mut self, raw: Raw) {
        let _ = self.0.write_frame(raw).await;
    }
}

/// One frame of a peer that means no good; `true` when it ends the connection, mostly.
async fn mischief(dice: &mut Dice, peer: &mut Mallory, rig: Option<&Rig>) -> bool {
    let text = |length: usize| "x".repeat(length).try_into().unwrap();
    let (channel_id, nominal_hash_rate) = (dice.next() as u32, f32::from_bits(dice.next() as u32));
    match dice.below(300) {
        0 => {
            let (kind, length) = (dice.next() as u8, dice.below(300) as usize);
            let payload = dice.bytes(length);
            // a frame by chance: mostly no message at all
            peer.raw(raw(0, kind, length, &payload)).await;
            true
        }
        1 => {
            let length = dice.below(0xff_ffff) as usize;
            peer.raw(raw(0, 0x1b, length.max(5_000), &[])).await;
            true
        }
        2 => {
            // cut in the middle of a message
            peer.raw(raw(0, 0x1b, 10, &dice.bytes(10))).await;
            true
        }
        3..60 => {
            let length = dice.below(600) as usize;
            peer.raw(raw(
                2 + dice.below(9) as u16,
                dice.next() as u8,
                length,
                &dice.bytes(length),
            ))
            .await;
            false
        }
        60..105 => {
            let message = CloseChannelOwned {
                channel_id: channel_id | 1 << 20,
                reason_code: text(200),
            };
            peer.mining(MiningOwned::CloseChannel(message)).await;
            false
        }
        105..150 => {
            let maximum_target = [dice.next() as u8; 32].into();
            let message = UpdateChannelOwned {
                channel_id,
                nominal_hash_rate,
                maximum_target,
            };
            peer.mining(MiningOwned::UpdateChannel(message)).await;
            false
        }
        150..180 => {
            let mut message = support::open_extended("mallory");
            message.nominal_hash_rate = nominal_hash_rate;
            message.min_extranonce_size = 17 + dice.below(60_000) as u16;
            peer.mining(MiningOwned::OpenExtendedMiningChannel(message))
                .await;
            false
        }
        _ => {
            if let Some(rig) = rig {
                let length = dice.below(33) as usize;
                let share =
                    rig.share_of(dice.next() as u32, dice.next() as u32, dice.bytes(length));
                peer.mining(share).await;
            }
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_beside_10_000_malformed_and_out_of_order_frames() {
    let house = house(config()).await;
    house.tip(1, HARD);
    let honest = Honest::start(&house).await;
    let mut dice = Dice::seeded();
    let mut sent = 0;
    let mut ended = 0;
    while sent < 10_000 {
        let mut peer = house.miner().await;
        // half of them have a channel to misuse
        let rig = if dice.below(2) == 0 {
            Some(extended(&mut peer, "mallory").await)
        } else {
            None
        };
        let Peer { mut reader, writer } = peer;
        // answers are read, or the server would end it as a slow reader
        let answers = tokio::spawn(async move { while reader.read_frame().await.is_ok() {} });
        let mut mallory = Mallory(writer);
        loop {
            sent += 1;
            if mischief(&mut dice, &mut mallory, rig.as_ref()).await
                || sent >= 10_000
                || answers.is_finished()
            {
                break;
            }
        }
        ended += 1;
        drop(mallory);
        tokio::time::timeout(PATIENCE, answers)
            .await
            .expect("the connection ends")
            .unwrap();
    }
    println!(
        "{sent} frames over {ended} connections: {:?}",
        house.counters.snapshot()
    );
    honest.finish(&house).await;
    for reason in [
        CloseReason::Internal,
        CloseReason::Shutdown,
        CloseReason::HandshakeFailed,
    ] {
        assert_eq!(house.counters.closed(reason), 0, "{}", reason.as_str());
    }
    assert!(house.counters.closed(CloseReason::FrameTooLarge) > 0);
    until("all but nobody left", || house.counters.open() == 0).await;
    let stats = house.pool.stats();
    assert!(stats.connections.is_empty());
}
