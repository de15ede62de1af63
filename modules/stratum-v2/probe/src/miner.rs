//! An honest miner that tells everything it sees, one line of JSON each.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bytes::{Reader, Writer};
use crate::link::{Arrived, Link, LinkError, frame, now_us};
use crate::work::{Found, Job, Tip, display, grind};

/// Nonces tried between two looks at the connection.
const TRIES: u32 = 4_096;
/// Jobs that are remembered; a pool that sends more gets its oldest forgotten.
const MAX_JOBS: usize = 256;
/// Wait before a lost connection is tried anew.
const RECONNECT: Duration = Duration::from_millis(100);
const SETUP_CONNECTION: u8 = 0x00;
const SETUP_CONNECTION_SUCCESS: u8 = 0x01;
const OPEN_STANDARD: u8 = 0x10;
const OPEN_STANDARD_SUCCESS: u8 = 0x11;
const OPEN_EXTENDED: u8 = 0x13;
const OPEN_EXTENDED_SUCCESS: u8 = 0x14;
const NEW_JOB: u8 = 0x15;
const SUBMIT_STANDARD: u8 = 0x1a;
const SUBMIT_EXTENDED: u8 = 0x1b;
const SUBMIT_SUCCESS: u8 = 0x1c;
const SUBMIT_ERROR: u8 = 0x1d;
const NEW_EXTENDED_JOB: u8 = 0x1f;
const SET_NEW_PREV_HASH: u8 = 0x20;
const SET_TARGET: u8 = 0x21;
/// SetupConnection flag: only standard jobs, please.
const REQUIRES_STANDARD_JOBS: u32 = 1;

/// How to mine.
#[derive(Debug, Clone)]
pub struct Plan {
    pub connect: SocketAddr,
    pub authority: Option<String>,
    pub identity: String,
    pub standard: bool,
    /// What the channel is opened with, hashes per second.
    pub hash_rate: f32,
    /// Shares handed in per second at most; 0 only listens.
    pub per_second: f64,
    /// Ends after as many acknowledged shares; 0 never.
    pub shares: u64,
    /// Ends after this time; zero never.
    pub lasting: Duration,
    /// Comes back when the connection is lost.
    pub reconnect: bool,
}

/// A channel on a connection.
struct Channel {
    link: Link,
    id: u32,
    group: u32,
    target: [u8; 32],
    extranonce_prefix: Vec<u8>,
    extranonce_size: usize,
    jobs: VecDeque<Job>,
    active: Option<(u32, Tip)>,
    pending: VecDeque<(u32, [u8; 32])>,
    sequence: u32,
    nonce: u32,
}

fn say(event: serde_json::Value) {
    println!("{event}");
}

/// The payload of SetupConnection for the Mining Protocol.
pub fn setup_connection(protocol: u8, flags: u32) -> Vec<u8> {
    Writer::default()
        .u8(protocol)
        .u16(2)
        .u16(2)
        .u32(flags)
        .short(b"127.0.0.1")
        .u16(3333)
        .short(b"probe")
        .short(b"")
        .short(b"")
        .short(b"")
        .done()
}

/// The payload of OpenStandardMiningChannel or OpenExtendedMiningChannel.
pub fn open_channel(identity: &str, hash_rate: f32, extended: bool) -> Vec<u8> {
    let open = Writer::default()
        .u32(1)
        .short(identity.as_bytes())
        .f32(hash_rate)
        .fixed(&[0xff; 32]);
    if extended {
        open.u16(4).done()
    } else {
        open.done()
    }
}

async fn open(plan: &Plan) -> Result<Channel, LinkError> {
    let mut link = Link::open(plan.connect, plan.authority.as_deref()).await?;
    let flags = if plan.standard {
        REQUIRES_STANDARD_JOBS
    } else {
        0
    };
    link.send(frame(SETUP_CONNECTION, false, &setup_connection(0, flags)))
        .await?;
    let answer = link.next().await?;
    if answer.message_type != SETUP_CONNECTION_SUCCESS {
        return Err(LinkError::Noise(format!(
            "setup answered by message {:#04x}",
            answer.message_type
        )));
    }
    let request = if plan.standard {
        OPEN_STANDARD
    } else {
        OPEN_EXTENDED
    };
    link.send(frame(
        request,
        false,
        &open_channel(&plan.identity, plan.hash_rate, !plan.standard),
    ))
    .await?;
    let answer = link.next().await?;
    if ![OPEN_STANDARD_SUCCESS, OPEN_EXTENDED_SUCCESS].contains(&answer.message_type) {
        return Err(LinkError::Noise(format!(
            "opening answered by message {:#04x}",
            answer.message_type
        )));
    }
    let mut from = Reader::new(&answer.payload);
    let _request = from.u32()?;
    let (id, target) = (from.u32()?, from.hash()?);
    let extranonce_size = if plan.standard { 0 } else { from.u16()?.into() };
    let extranonce_prefix = from.short()?.to_vec();
    let group = from.u32()?;
    say(
        json!({ "e": "open", "at": now_us() as u64, "channel": id, "group": group, "target": display(&target),
        "extranonce": extranonce_size }),
    );
    Ok(Channel {
        link,
        id,
        group,
        target,
        extranonce_prefix,
        extranonce_size,
        jobs: VecDeque::new(),
        active: None,
        pending: VecDeque::new(),
        sequence: 0,
        nonce: 0,
    })
}

impl Channel {
    /// Takes in a message and answers how many shares it acknowledged.
    fn hear(&mut self, message: &Arrived) -> Result<u64, LinkError> {
        let at = message.at_us as u64;
        let mut from = Reader::new(&message.payload);
        match message.message_type {
            NEW_EXTENDED_JOB => self.take_job(Job::extended(&message.payload)?, at),
            NEW_JOB => self.take_job(Job::standard(&message.payload)?, at),
            SET_NEW_PREV_HASH => {
                let (channel, job) = (from.u32()?, from.u32()?);
                let tip = Tip {
                    previous_hash: from.hash()?,
                    min_ntime: from.u32()?,
                    bits: from.u32()?,
                };
                if self.concerns(channel) {
                    let known = self.jobs.iter().any(|one| one.id == job);
                    let (prev, bits) = (display(&tip.previous_hash), tip.bits);
                    say(
                        json!({ "e": "tip", "at": at, "job": job, "prev": prev, "bits": bits, "known": known }),
                    );
                    self.active = known.then_some((job, tip));
                }
            }
            SET_TARGET => {
                let (channel, target) = (from.u32()?, from.hash()?);
                if self.concerns(channel) {
                    say(json!({ "e": "target", "at": at, "target": display(&target) }));
                    self.target = target;
                }
            }
            SUBMIT_SUCCESS => {
                let (_, last, count, sum) = (from.u32()?, from.u32()?, from.u32()?, from.u64()?);
                let acknowledged = self.acknowledge(last, count);
                say(
                    json!({ "e": "ack", "at": at, "last": last, "count": count, "sum": sum, "hashes": acknowledged }),
                );
                return Ok(acknowledged.len() as u64);
            }
            SUBMIT_ERROR => {
                let (_, sequence) = (from.u32()?, from.u32()?);
                let code = String::from_utf8_lossy(from.short()?).into_owned();
                self.pending.retain(|(number, _)| *number != sequence);
                say(json!({ "e": "no", "at": at, "seq": sequence, "code": code }));
            }
            other => say(json!({ "e": "other", "at": at, "type": other })),
        }
        Ok(0)
    }

    fn concerns(&self, channel: u32) -> bool {
        channel == self.id || channel == self.group
    }

    fn take_job(&mut self, (channel, job): (u32, Job), at: u64) {
        if !self.concerns(channel) {
            return;
        }
        say(json!({ "e": "job", "at": at, "job": job.id, "future": job.min_ntime.is_none() }));
        if let (Some(_), Some((active, _))) = (job.min_ntime, self.active.as_mut()) {
            *active = job.id;
        }
        self.jobs.push_back(job);
        while self.jobs.len() > MAX_JOBS {
            self.jobs.pop_front();
        }
    }

    /// Hashes of the first `count` waiting shares up to the sequence number.
    fn acknowledge(&mut self, last: u32, count: u32) -> Vec<String> {
        let mut hashes = Vec::new();
        while hashes.len() < count as usize
            && self
                .pending
                .front()
                .is_some_and(|(number, _)| *number <= last)
        {
            hashes.extend(self.pending.pop_front().map(|(_, hash)| display(&hash)));
        }
        hashes
    }

    /// Full extranonce of the share that comes next, and the part of it that the miner chose.
    fn extranonce(&self) -> (Vec<u8>, Vec<u8>) {
        let mut own = vec![0; self.extranonce_size];
        let count = self.sequence.to_be_bytes();
        let kept = own.len().min(count.len());
        let at = own.len() - kept;
        own[at..].copy_from_slice(&count[count.len() - kept..]);
        ([self.extranonce_prefix.as_slice(), &own].concat(), own)
    }

    fn try_some(&mut self) -> Option<(Found, Vec<u8>)> {
        let (id, tip) = self.active.as_ref()?;
        let job = self.jobs.iter().find(|job| job.id == *id)?;
        let (full, own) = self.extranonce();
        let found = grind(job, tip, &full, &self.target, self.nonce, TRIES);
        self.nonce = found
            .as_ref()
            .map_or(self.nonce.wrapping_add(TRIES), |one| {
                one.nonce.wrapping_add(1)
            });
        found.map(|one| (one, own))
    }

    async fn submit(&mut self, found: &Found, extranonce: &[u8]) -> Result<(), LinkError> {
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let share = Writer::default()
            .u32(self.id)
            .u32(sequence)
            .u32(found.job_id)
            .u32(found.nonce)
            .u32(found.ntime)
            .u32(found.version);
        let (message_type, payload) = if self.extranonce_size == 0 {
            (SUBMIT_STANDARD, share.done())
        } else {
            (SUBMIT_EXTENDED, share.short(extranonce).done())
        };
        self.pending.push_back((sequence, found.hash));
        say(
            json!({ "e": "share", "at": now_us() as u64, "seq": sequence, "hash": display(&found.hash) }),
        );
        self.link.send(frame(message_type, true, &payload)).await
    }
}

/// Mines by the plan to its end; answers how many shares were acknowledged.
pub async fn mine(plan: &Plan) -> Result<u64, LinkError> {
    let end = (!plan.lasting.is_zero()).then(|| Instant::now() + plan.lasting);
    let mut acknowledged = 0;
    loop {
        let outcome = match open(plan).await {
            Ok(channel) => stay(plan, channel, end, &mut acknowledged).await,
            Err(error) => Err(error),
        };
        let done = end.is_some_and(|end| Instant::now() >= end);
        match outcome {
            Ok(()) => return Ok(acknowledged),
            Err(_) if done => return Ok(acknowledged),
            Err(error) if !plan.reconnect => return Err(error),
            Err(error) => {
                say(json!({ "e": "gone", "at": now_us() as u64, "why": error.to_string() }))
            }
        }
        sleep(RECONNECT).await;
    }
}

/// Works on one connection until it breaks or the plan is fulfilled.
async fn stay(
    plan: &Plan,
    mut channel: Channel,
    end: Option<Instant>,
    acknowledged: &mut u64,
) -> Result<(), LinkError> {
    let pause = (plan.per_second > 0.0).then(|| Duration::from_secs_f64(1.0 / plan.per_second));
    let mut due = Instant::now();
    // A far day stands for never.
    let last = end.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
    loop {
        if plan.shares > 0 && *acknowledged >= plan.shares {
            return Ok(());
        }
        // Without work to grind only a message or the end can come next.
        let next_try = if pause.is_some() && channel.active.is_some() {
            due
        } else {
            last
        };
        tokio::select! {
            biased;
            () = sleep_until(last) => return Ok(()),
            message = channel.link.next() => *acknowledged += channel.hear(&message?)?,
            () = sleep_until(next_try) => {
                if let Some((found, own)) = channel.try_some() {
                    channel.submit(&found, &own).await?;
                    due = Instant::now() + pause.unwrap_or_default();
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
