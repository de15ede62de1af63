//! What the module is beside the protocol: configuration, authority key, ledger, accounts, metrics, and what people,
//! programs and other modules ask of it. `main.rs` connects it with the host; nothing here speaks gRPC.
//!
//! The way in for the composition: [`config::Config::parse`], [`keys::load_or_make`], [`ledger::Ledger::open`],
//! [`accounts::Accounts`] (by [`accounts::PoolBooks`] the pool's books), [`api::Api`]. What they need of the host stands in [`ports`].

pub mod accounts;
pub mod announce;
pub mod api;
pub mod config;
pub mod keys;
pub mod ledger;
#[cfg(test)]
mod memory;
pub mod metrics;
pub mod ports;
