//! Stratum V2 connections as a server sees them: Noise NX handshake, frames, SetupConnection, bounds.
//!
//! Knows no role. A role takes [`Connection`]s from a [`Listener`], lets them through [`Connection::setup`], reads
//! [`Frame`]s by [`Connection::next`] and answers by [`Connection::send`]. Whatever a peer does ends in one
//! [`CloseReason`] of a closed list, which [`Counters`] counts; nothing a peer sends is buffered beyond [`Limits`].

mod authority;
mod close;
mod connection;
mod frame;
mod limits;
mod listener;
mod pace;
mod setup;
mod transport;

pub use authority::{Authority, AuthorityError};
pub use close::{CloseReason, Counters};
pub use connection::Connection;
pub use frame::{Frame, refuse_extensions};
pub use limits::Limits;
pub use listener::Listener;
pub use setup::{PROTOCOL_VERSION, Setup, SetupPolicy};
