//! Everybody who is no miner: bytes that are no handshake, frames that are no messages, messages out of order,
//! connections that say nothing, wrong keys.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::link::{Link, LinkError, RawFrame, frame, frame_saying};
use crate::miner::{open_channel, setup_connection};

/// Frames before a connection that still stands is left for a new one.
const FRAMES_PER_CONNECTION: u32 = 40;
/// Connections in a row that may be refused before the pool counts as dead.
const REFUSALS: u32 = 600;
/// Wait after a refusal: a pool may turn away who comes too often.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for the end of a handshake that cannot succeed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks at connections that say nothing.
const LOOK: Duration = Duration::from_millis(100);
/// Largest payload that is made up, bytes: more than any message of a miner.
const LARGEST: u64 = 70_000;

/// A generator that repeats itself from its seed (SplitMix64, public domain algorithm by Sebastiano Vigna).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % below.max(1)
    }
    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.roll(256) as u8).collect()
    }
    fn word(&mut self) -> u32 {
        // Small numbers name real channels and jobs more often than random ones would.
        if self.roll(2) == 0 {
            self.roll(8) as u32
        } else {
            self.roll(1 << 32) as u32
        }
    }
}

/// One frame that no honest miner sends, or not now.
fn bad_frame(dice: &mut Dice) -> RawFrame {
    match dice.roll(9) {
        // any type, any short content
        0 => {
            let (kind, channel, length) = (dice.roll(256) as u8, dice.roll(2) == 0, dice.roll(64));
            frame(kind, channel, &dice.bytes(length))
        }
        // a known type cut short
        1 => {
            let kind = [0x00, 0x10, 0x13, 0x16, 0x1a, 0x1b, 0x22][dice.roll(7) as usize];
            let length = dice.roll(12);
            frame(kind, kind >= 0x16, &dice.bytes(length))
        }
        // an extension nobody asked for
        2 => {
            let (extension, kind) = (dice.roll(65_536) as u16, dice.roll(256) as u8);
            let content = dice.bytes(16);
            frame_saying(extension, kind, 16, &content)
        }
        // a length that is not the content's
        3 => {
            let said = dice.roll(1 << 24) as u32;
            let content = dice.bytes(32);
            frame_saying(0, 0x1b, said, &content)
        }
        // more than a miner has to say
        4 => {
            let length = 1_000 + dice.roll(LARGEST - 1_000);
            frame(0x1b, true, &dice.bytes(length))
        }
        // the same greeting again, or that of another protocol
        5 => frame(
            0x00,
            false,
            &setup_connection(dice.roll(4) as u8, dice.word()),
        ),
        // channels with numbers that are none
        6 => {
            let rate = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                -1.0,
                0.0,
                f32::MAX,
            ][dice.roll(6) as usize];
            let extended = dice.roll(2) == 0;
            let name: String = (0..dice.roll(300))
                .map(|_| char::from(32 + dice.roll(95) as u8))
                .collect();
            frame(
                if extended { 0x13 } else { 0x10 },
                false,
                &open_channel(&name, rate, extended),
            )
        }
        // shares of channels and jobs that are not, with extranonces of any length
        7 => {
            let mut share: Vec<u8> = (0..6).flat_map(|_| dice.word().to_le_bytes()).collect();
            let length = dice.roll(40);
            share.push(length as u8);
            share.extend(dice.bytes(length));
            frame(0x1b, true, &share)
        }
        // what only a pool says
        _ => {
            let kind = [0x01, 0x11, 0x14, 0x15, 0x1c, 0x1f, 0x20, 0x21, 0x71, 0x74]
                [dice.roll(10) as usize];
            let length = dice.roll(100);
            frame(kind, dice.roll(2) == 0, &dice.bytes(length))
        }
    }
}

/// Sends so many bad frames, over as many connections as it takes.
pub async fn frames(
    connect: SocketAddr,
    authority: Option<&str>,
    count: u32,
    seed: u64,
) -> Result<(), LinkError> {
    let mut dice = Dice::new(seed);
    let (mut sent, mut connections, mut refused) = (0, 0, 0);
    while sent < count {
        let mut link = match Link::open(connect, authority).await {
            Ok(link) => link,
            Err(error) => {
                refused += 1;
                if refused > REFUSALS {
                    return Err(error);
                }
                sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        refused = 0;
        connections += 1;
        // A third says nothing right, a third is greeted, a third has a channel: each state has messages that are wrong in it.
        let politeness = dice.roll(3);
        if politeness > 0 {
            let _ = link.send(frame(0x00, false, &setup_connection(0, 0))).await;
        }
        if politeness > 1 {
            let _ = link
                .send(frame(0x13, false, &open_channel("hostile", 1_000.0, true)))
                .await;
        }
        for _ in 0..FRAMES_PER_CONNECTION {
            if sent >= count || link.send(bad_frame(&mut dice)).await.is_err() {
                break;
            }
            sent += 1;
            // What the pool answers is taken away, else the connection would die of a full buffer instead.
            while let Ok(Ok(_)) = timeout(Duration::ZERO, link.next()).await {}
        }
    }
    println!(
        "{}",
        json!({ "e": "frames", "seed": seed, "sent": sent, "connections": connections })
    );
    Ok(())
}

/// Whether a connection stands and nothing was said on it.
fn is_silent(stream: &TcpStream) -> bool {
    let mut one = [0; 1];
    matches!(stream.try_read(&mut one), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Opens so many connections and says nothing on them; tells how many stand when all are closed or `lasting` is over.
pub async fn idle(connect: SocketAddr, count: u32, lasting: Duration) -> Result<(), LinkError> {
    let begun = Instant::now();
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..count {
        match timeout(PATIENCE, TcpStream::connect(connect)).await {
            Ok(Ok(stream)) => open.push(stream),
            _ => refused += 1,
        }
    }
    println!(
        "{}",
        json!({ "e": "idle-open", "open": open.len(), "refused": refused })
    );
    // Looked at until all are gone, but no longer than that.
    let mut standing = open.len();
    while standing > 0 && begun.elapsed() < lasting {
        sleep(LOOK).await;
        standing = open.iter().filter(|stream| is_silent(stream)).count();
    }
    println!(
        "{}",
        json!({ "e": "idle-end", "open": open.len(), "refused": refused, "standing": standing })
    );
    Ok(())
}

/// Handshakes that must not succeed: under another authority's key, and with bytes that are none.
pub async fn handshakes(
    connect: SocketAddr,
    wrong: &str,
    count: u32,
    seed: u64,
) -> Result<(), LinkError> {
    let mut dice = Dice::new(seed);
    let (mut succeeded, mut closed) = (0, 0);
    for turn in 0..count {
        if turn % 2 == 0 {
            succeeded += u32::from(Link::open(connect, Some(wrong)).await.is_ok());
            continue;
        }
        let Ok(mut stream) = TcpStream::connect(connect).await else {
            continue;
        };
        let length = 1 + dice.roll(400);
        if stream.write_all(&dice.bytes(length)).await.is_err() || stream.shutdown().await.is_err()
        {
            closed += 1;
            continue;
        }
        let mut answer = Vec::new();
        closed += u32::from(
            timeout(PATIENCE, stream.read_to_end(&mut answer))
                .await
                .is_ok(),
        );
    }
    println!(
        "{}",
        json!({ "e": "handshakes", "seed": seed, "succeeded": succeeded, "closed": closed })
    );
    Ok(())
}
