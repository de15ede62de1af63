//! What people, programs and other modules may ask: one set of answers in JSON, shown in three ways. Shapes and units stand
//! in `API.md` beside this crate.

mod answers;
mod coinbase;
mod command;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use work::{AdditionalOutput, WorkBook};

use crate::accounts::Accounts;
use crate::config::Config;

pub use answers::hashrate;
pub use command::{COMMANDS, Command, CommandOutput, Flag};

/// JSON-RPC methods of the host's front door, each with its line for `help`.
pub const ENDPOINTS: [(&str, &str); 4] = [
    (
        "stratumv2_status",
        "Stratum V2: key, ports, work, shares and blocks at a glance. No parameters",
    ),
    (
        "stratumv2_miners",
        "Stratum V2: miners by work, most first. Parameter: count (100)",
    ),
    (
        "stratumv2_shares",
        "Stratum V2: sums over all shares, parts of the last `window` shares, the newest ones. Parameters: window (all of \
         the log), count (20)",
    ),
    (
        "stratumv2_blocks",
        "Stratum V2: blocks found here and what became of them. Parameter: count (100)",
    ),
];

/// Methods for other modules.
pub const API_METHODS: [&str; 5] = [
    "current_template",
    "miners",
    "pool_statistics",
    "set_additional_outputs",
    "clear_additional_outputs",
];
/// Version of the methods for other modules.
pub const API_VERSION: u32 = 1;
/// Most entries of one answer: at 400 bytes for a block half of the 4 MiB that one message may have.
const MAX_COUNT: u64 = 5_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    InvalidParams(String),
    #[error("there is no '{0}'")]
    MethodNotFound(String),
    #[error("{0}")]
    CallerNotAllowed(String),
    #[error("{0}")]
    Failed(String),
}

/// What is known of connections at this moment.
#[derive(Debug, Clone)]
pub struct Live {
    pub pool: pool::Stats,
    pub provider: Option<provider::Stats>,
    /// Why no templates come; none while they do.
    pub waiting: Option<String>,
}

/// Gives the present connections; never waits.
pub type LiveSource = Arc<dyn Fn() -> Live + Send + Sync>;

/// What [`Api`] answers from.
pub struct Parts {
    pub accounts: Arc<Accounts>,
    pub work: Arc<WorkBook>,
    pub live: LiveSource,
    /// The configuration in force; the composition sends a changed one here.
    pub config: watch::Receiver<Arc<Config>>,
    /// By Bitcoin Core's names.
    pub network: String,
    /// As a miner enters it.
    pub authority_public_key: String,
    pub version: &'static str,
}

/// The answers. Shared by reference.
pub struct Api {
    parts: Parts,
    /// What each owner's outputs are, for status; held over every change.
    owners: Mutex<BTreeMap<String, Vec<AdditionalOutput>>>,
}

impl Api {
    /// Nobody has additional outputs at first: their owners set them again after a restart.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            owners: Mutex::default(),
        }
    }

    /// Answers a JSON-RPC request; `params_json` is an array, an object or empty.
    ///
    /// # Errors
    /// [`ApiError::MethodNotFound`], [`ApiError::InvalidParams`], [`ApiError::Failed`] when the storage does not answer.
    pub async fn rpc(&self, method: &str, params_json: &str) -> Result<String, ApiError> {
        let names: &[&str] = match method {
            "stratumv2_status" => &[],
            "stratumv2_miners" | "stratumv2_blocks" => &["count"],
            "stratumv2_shares" => &["window", "count"],
            _ => return Err(ApiError::MethodNotFound(method.to_owned())),
        };
        let given = params(params_json, names)?;
        let count = |usual| bounded("count", given.get("count"), usual, MAX_COUNT);
        let answer = match method {
            "stratumv2_status" => self.status(),
            "stratumv2_miners" => self.miners(count(100)?),
            "stratumv2_blocks" => self.blocks(count(100)?),
            _ => {
                self.shares(
                    bounded("window", given.get("window"), u64::MAX, u64::MAX)?,
                    count(20)?,
                )
                .await?
            }
        };
        Ok(answer.to_string())
    }

    /// Answers another module. `caller` is the host's word for who asks.
    ///
    /// # Errors
    /// As [`Api::rpc`], and [`ApiError::CallerNotAllowed`].
    pub fn call(&self, method: &str, caller: &str, params: &[u8]) -> Result<Vec<u8>, ApiError> {
        let answer = match method {
            "current_template" => self.current_template()?,
            "miners" => {
                let asked: Count = body(params)?;
                self.miners(asked.count.unwrap_or(100).min(MAX_COUNT))
            }
            "pool_statistics" => self.statistics(),
            "set_additional_outputs" => self.set_additional(caller, body(params)?)?,
            "clear_additional_outputs" => self.clear_additional(caller)?,
            _ => return Err(ApiError::MethodNotFound(method.to_owned())),
        };
        Ok(answer.to_string().into_bytes())
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    count: Option<u64>,
}

/// A body of another module; nothing at all is an empty object.
fn body<T: DeserializeOwned>(params: &[u8]) -> Result<T, ApiError> {
    let params = if params.is_empty() {
        b"{}".as_slice()
    } else {
        params
    };
    serde_json::from_slice(params).map_err(|error| {
        ApiError::InvalidParams(format!("the parameters are no such JSON: {error}"))
    })
}

/// Parameters by name, whether they came by name or by place.
fn params(json: &str, names: &[&str]) -> Result<BTreeMap<String, Value>, ApiError> {
    let invalid = |text: String| Err(ApiError::InvalidParams(text));
    if json.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let given: Value = match serde_json::from_str(json) {
        Ok(given) => given,
        Err(error) => return invalid(format!("params are no JSON: {error}")),
    };
    let named: BTreeMap<String, Value> = match given {
        Value::Null => BTreeMap::new(),
        Value::Array(values) if values.len() > names.len() => {
            return invalid(format!(
                "at most {} parameters: {}",
                names.len(),
                names.join(", ")
            ));
        }
        Value::Array(values) => names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(values)
            .collect(),
        Value::Object(values) => values.into_iter().collect(),
        _ => return invalid("params must be an array or an object".to_owned()),
    };
    match named.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => invalid(format!("there is no parameter '{}'", name.escape_default())),
        None => Ok(named),
    }
}

fn bounded(name: &str, value: Option<&Value>, usual: u64, most: u64) -> Result<u64, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => match value.as_u64() {
            Some(number) if number <= most => Ok(number),
            _ => Err(ApiError::InvalidParams(format!(
                "{name} must be a whole number from 0 to {most}"
            ))),
        },
    }
}

/// Bytes in hex, in their order.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
