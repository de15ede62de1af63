//! What a module written in Rust needs of its host: the contract's messages and clients, the session, the stream of work,
//! storage, metrics, log, events and templates. Knows nothing of mining beyond the messages.
//!
//! ```text
//! let host = Host::connect(env!("CARGO_PKG_VERSION")).await?;   // dials and shakes hands
//! let tree = host.storage().open_tree("shares").await?;
//! let serving = host.serve(Arc::new(MyHandler), 16, cancel);    // health, rpc, cli, api, stop
//! host.ready().await?;
//! ```

mod call;
mod connect;
mod environment;
mod error;
mod invocation;
mod log;
mod mining;
mod publish;
mod register;
mod retry;
mod serve;
mod signal;
mod storage;

pub use connect::Host;
pub use environment::Environment;
pub use error::{HostError, Reason};
pub use invocation::{Context, Failure, Handler};
pub use log::{Fields, Log, LogPump};
pub use mining::{TemplateNews, Verdict};
pub use publish::Publisher;
pub use retry::{Backoff, retrying};
pub use serve::ServeEnd;
pub use signal::asked_to_end;
pub use storage::{Batch, Entries, Range, Storage, Tree};

/// The contract as generated from `proto/`, nested as its packages are.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod modhost {
    pub mod v1 {
        tonic::include_proto!("modhost.v1");
    }
    pub mod event {
        pub mod v1 {
            tonic::include_proto!("modhost.event.v1");
        }
    }
}

pub use modhost::event::v1 as event;
pub use modhost::v1;
