//! The Template Provider role: templates of the operator's node for pools and job declarators of other makers.
//!
//! Knows no host: templates come from a [`work::WorkBook`], what clients find goes through [`Solutions`].

mod client;
mod config;
mod serve;
mod session;
mod solutions;
mod stats;
mod update;

pub use config::{ConfigError, ProviderConfig};
pub use serve::Provider;
pub use solutions::{ClientSolution, Solutions, SolutionsError};
pub use stats::{ClientStats, Stats};
