//! Where peers come in: TCP accept, bounds, handshakes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::transport::{read_hello, respond};
use crate::{Authority, CloseReason, Connection, Counters, Limits};

/// Connections whose handshake is done and that no role has taken yet; more wait in their handshake task.
const READY_CONNECTIONS: usize = 64;

/// How long accepting rests after the operating system refused (descriptors exhausted): others may close meanwhile.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Silence after which the kernel asks whether the peer still lives: a miner may have nothing to say for many minutes,
/// but one whose plug was pulled must not hold its place for hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Between two such questions; a few unanswered ones end the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// What a listener's tasks share.
struct Door {
    limits: Limits,
    authority: Authority,
    counters: Arc<Counters>,
    occupancy: Mutex<Occupancy>,
    handshakes: Semaphore,
    token: CancellationToken,
}

#[derive(Default)]
struct Occupancy {
    total: usize,
    /// Only addresses with open connections: no larger than `total`.
    per_ip: HashMap<IpAddr, usize>,
}

/// The place that one connection takes among all; given back when dropped.
pub(crate) struct Slot {
    door: Arc<Door>,
    ip: IpAddr,
}

impl Slot {
    fn take(door: &Arc<Door>, ip: IpAddr) -> Result<Self, CloseReason> {
        let mut occupancy = door
            .occupancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if occupancy.total >= door.limits.connections {
            return Err(CloseReason::TooManyConnections);
        }
        let of_ip = occupancy.per_ip.entry(ip).or_default();
        if *of_ip >= door.limits.connections_per_ip {
            return Err(CloseReason::TooManyFromPeer);
        }
        *of_ip += 1;
        occupancy.total += 1;
        door.counters.count_opened();
        Ok(Self {
            door: door.clone(),
            ip,
        })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.door.counters
    }

    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.door.counters.count_closed(reason);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut occupancy = self
            .door
            .occupancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        occupancy.total = occupancy.total.saturating_sub(1);
        if let Some(of_ip) = occupancy.per_ip.get_mut(&self.ip) {
            *of_ip = of_ip.saturating_sub(1);
            if *of_ip == 0 {
                occupancy.per_ip.remove(&self.ip);
            }
        }
        self.door.counters.count_ended();
    }
}

/// A port at which peers of one role connect. Dropping it stops accepting and cuts every connection that came by it.
pub struct Listener {
    address: SocketAddr,
    counters: Arc<Counters>,
    ready: mpsc::Receiver<Connection>,
    _stop: DropGuard,
}

impl Listener {
    /// Binds and starts accepting. Port 0 takes a free one: see [`Listener::address`].
    pub async fn bind(
        address: SocketAddr,
        authority: Authority,
        limits: Limits,
    ) -> io::Result<Self> {
        Self::start(TcpListener::bind(address).await?, authority, limits)
    }

    /// Accepts at a socket that somebody else bound, as the host does for its modules.
    pub fn from_std(
        listener: std::net::TcpListener,
        authority: Authority,
        limits: Limits,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::start(TcpListener::from_std(listener)?, authority, limits)
    }

    fn start(listener: TcpListener, authority: Authority, limits: Limits) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let token = CancellationToken::new();
        let door = Arc::new(Door {
            limits,
            authority,
            counters: counters.clone(),
            occupancy: Mutex::default(),
            handshakes: Semaphore::new(limits.handshakes.max(1)),
            token: token.clone(),
        });
        let (sender, ready) = mpsc::channel(READY_CONNECTIONS);
        tokio::spawn(accept_all(door, listener, sender));
        Ok(Self {
            address,
            counters,
            ready,
            _stop: token.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What became of all its connections; stays valid after the listener.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// The next peer whose handshake succeeded; cancellation safe. `None` never comes while the listener lives.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }
}

async fn accept_all(door: Arc<Door>, listener: TcpListener, ready: mpsc::Sender<Connection>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.token.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            door.counters.count_accept_error();
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        door.counters.count_accepted();
        // a socket of both families shows IPv4 peers as ::ffff:a.b.c.d, which nobody would look for
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match Slot::take(&door, peer.ip()) {
            // refused before a byte is read; the socket closes with the scope
            Err(reason) => door.counters.count_closed(reason),
            Ok(slot) => {
                tokio::spawn(establish(door.clone(), slot, stream, peer, ready.clone()));
            }
        }
    }
}

async fn establish(
    door: Arc<Door>,
    slot: Slot,
    mut stream: TcpStream,
    peer: SocketAddr,
    ready: mpsc::Sender<Connection>,
) {
    // best effort: a socket that refuses an option still carries frames
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);

    let token = door.token.child_token();
    let shaking = timeout(door.limits.handshake_timeout, handshake(&door, &mut stream));
    let outcome = tokio::select! {
        outcome = shaking => outcome.unwrap_or(Err(CloseReason::HandshakeTimeout)),
        () = token.cancelled() => Err(CloseReason::Shutdown),
    };
    match outcome {
        Err(reason) => slot.count_closed(reason),
        Ok(transport) => {
            door.counters.count_established();
            let connection = Connection::start(stream, peer, transport, door.limits, slot, token);
            // fails only when the listener is gone, which has cut the connection already
            let _ = ready.send(connection).await;
        }
    }
}

async fn handshake(
    door: &Door,
    stream: &mut TcpStream,
) -> Result<stratum_core::codec_sv2::Transport, CloseReason> {
    let hello = read_hello(stream).await?;
    let (answer, transport) = {
        // peers that have said their part take turns on the processor
        let _turn = door
            .handshakes
            .acquire()
            .await
            .map_err(|_| CloseReason::Shutdown)?;
        respond(&door.authority, hello)?
    };
    stream
        .write_all(&answer)
        .await
        .map_err(|_| CloseReason::PeerClosed)?;
    Ok(transport)
}
