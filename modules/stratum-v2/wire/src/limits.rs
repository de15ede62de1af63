//! What a peer may cost.

use std::time::Duration;

/// Bounds of one listener. [`Limits::default`] suits miners on a small machine; roles and tests change single fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, unfinished handshakes included. Each costs two tasks and a few KiB.
    pub connections: usize,
    /// The same from one IP address: a farm behind one address translation still fits.
    pub connections_per_ip: usize,
    /// Handshakes computed at a time: each is a fraction of a millisecond of elliptic curves on a worker thread. Peers
    /// that have not said their part wait without one, so they cannot keep others out.
    pub handshakes: usize,
    /// From TCP accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// From the handshake to SetupConnection.
    pub setup_timeout: Duration,
    /// From a frame's first byte to its last.
    pub frame_timeout: Duration,
    /// How long the peer's network may take nothing at all while something is written.
    pub write_timeout: Duration,
    /// How long a connection that is being closed may take to receive what was still queued for it.
    pub linger: Duration,
    /// Bytes of payload that a header may announce: the longest message this role ever receives.
    pub payload_bytes: usize,
    /// Frames read and not yet handled by the role; then reading pauses.
    pub incoming_frames: usize,
    /// Messages written and not yet taken by the peer; one more and it is a slow reader.
    pub outgoing_messages: usize,
    /// The same in bytes; a single larger message passes when nothing else waits.
    pub outgoing_bytes: usize,
    /// Frames per second that are read for good; faster peers wait in their own TCP window.
    pub frames_per_second: u32,
    /// Frames that may come at once before that rate holds.
    pub frames_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // below the 1,024 descriptors that a process usually may have
            connections: 900,
            connections_per_ip: 640,
            handshakes: 2,
            handshake_timeout: Duration::from_secs(5),
            setup_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
            linger: Duration::from_secs(1),
            // the longest message of a miner is SetupConnection with five strings of 255 bytes
            payload_bytes: 4 * 1024,
            incoming_frames: 32,
            outgoing_messages: 512,
            outgoing_bytes: 1024 * 1024,
            // a proxy with 5,000 miners at 6 shares a minute sends 500
            frames_per_second: 2_000,
            frames_burst: 4_000,
        }
    }
}
