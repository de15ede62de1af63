//! What the operator chooses: `[modules.stratum-v2] config` of the operator's file, as the handshake hands it over.
//!
//! The host has checked types and ranges against the manifest's `[config]`; here is checked what only this module can
//! know, and every refusal says which key, what is wrong and what to do.

use serde::Deserialize;
use stratum_core::bitcoin::address::NetworkUnchecked;
use stratum_core::bitcoin::{Address, Network, ScriptBuf};

/// Shares that the log keeps if the operator says nothing: at six shares a minute and miner, a day and a half of ten miners.
const DEFAULT_LOG: u64 = 100_000;
/// Keys that take effect while the module runs; all others need a restart.
const LIVE: [&str; 3] = ["payout", "payout_script", "output_modules"];
/// Bytes of a payout script: what standard outputs need at most, with room.
const MAX_SCRIPT_BYTES: usize = 100;

/// A configuration that this module can work with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// scriptPubKey of the coinbase's first output.
    pub payout: ScriptBuf,
    /// How the operator wrote it, for status.
    pub payout_text: String,
    pub coinbase_tag: String,
    /// 1 to 65535.
    pub pool_port: u16,
    /// 0 = no template provider.
    pub template_port: u16,
    /// Per channel.
    pub shares_per_minute: u32,
    /// Hashes per second below which no target is set: the floor of difficulty.
    pub min_hashrate: u64,
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    /// Shares that the log keeps.
    pub share_log: u64,
    /// Modules that may add outputs to the coinbase.
    pub output_modules: Vec<String>,
    /// Most that all added outputs together may take from the payout, satoshis; 0 = they may only commit.
    pub max_output_value_sats: u64,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}. {cure}")]
pub struct ConfigError {
    pub key: String,
    pub problem: String,
    pub cure: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    payout: Option<String>,
    payout_script: Option<String>,
    #[serde(default = "default_tag")]
    coinbase_tag: String,
    #[serde(default = "default_pool_port")]
    pool_port: u16,
    #[serde(default = "default_template_port")]
    template_port: u16,
    #[serde(default = "default_shares")]
    shares_per_minute: u32,
    #[serde(default = "default_hashrate")]
    min_hashrate: u64,
    #[serde(default = "default_connections")]
    max_connections: usize,
    #[serde(default = "default_connections_per_ip")]
    max_connections_per_ip: usize,
    #[serde(default = "default_log")]
    share_log: u64,
    #[serde(default)]
    output_modules: Vec<String>,
    #[serde(default)]
    max_output_value_sats: u64,
}

impl Config {
    /// Reads `config_json` of the handshake or of a change.
    ///
    /// `network` is the handshake's (Bitcoin Core's names; `unknown` while the host has not reached its node, and then
    /// only a payout script can be judged).
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn parse(config_json: &str, network: &str) -> Result<Config, ConfigError> {
        let raw: Raw = serde_json::from_str(config_json).map_err(|error| {
            fail(
                "config",
                format!("cannot be read: {error}"),
                "Compare it with the example in the module's README",
            )
        })?;
        let (payout, payout_text) =
            payout(raw.payout.as_deref(), raw.payout_script.as_deref(), network)?;
        let tag = raw.coinbase_tag;
        if tag.len() > pool::MAX_TAG_BYTES
            || !tag
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'/')
        {
            let problem = format!("'{}' cannot stand in a coinbase", tag.escape_default());
            let cure = format!(
                "Use at most {} printable ASCII characters without '/'",
                pool::MAX_TAG_BYTES
            );
            return Err(fail("coinbase_tag", problem, &cure));
        }
        if raw.pool_port == 0 {
            return Err(fail(
                "pool_port",
                "0 is no port",
                "Name the port that miners connect to, for example 34254",
            ));
        }
        if raw.pool_port == raw.template_port {
            return Err(fail(
                "template_port",
                "is also the pool's port",
                "Use two ports, or 0 for no template provider",
            ));
        }
        within(
            "shares_per_minute",
            u64::from(raw.shares_per_minute),
            1,
            120,
        )?;
        within(
            "min_hashrate",
            raw.min_hashrate,
            1,
            1_000_000_000_000_000_000,
        )?;
        within("max_connections", raw.max_connections as u64, 1, 100_000)?;
        within(
            "max_connections_per_ip",
            raw.max_connections_per_ip as u64,
            1,
            100_000,
        )?;
        within("share_log", raw.share_log, 1_000, 500_000)?;
        within(
            "output_modules",
            raw.output_modules.len() as u64,
            0,
            work::MAX_ADDITIONAL_OWNERS as u64,
        )?;
        Ok(Config {
            payout,
            payout_text,
            coinbase_tag: tag,
            pool_port: raw.pool_port,
            template_port: raw.template_port,
            shares_per_minute: raw.shares_per_minute,
            min_hashrate: raw.min_hashrate,
            max_connections: raw.max_connections,
            max_connections_per_ip: raw.max_connections_per_ip,
            share_log: raw.share_log,
            output_modules: raw.output_modules,
            max_output_value_sats: raw.max_output_value_sats,
        })
    }

    /// Whether this configuration can take the place of one in force without a restart.
    ///
    /// # Errors
    /// A changed key that needs a restart.
    pub fn change(changed_keys: &[String]) -> Result<(), ConfigError> {
        match changed_keys
            .iter()
            .find(|key| !LIVE.contains(&key.as_str()))
        {
            None => Ok(()),
            Some(key) => {
                let cure = "Reload the module (`modhost reload stratum-v2`) to have it; miners connect again by themselves";
                Err(fail(key, "cannot change while miners are connected", cure))
            }
        }
    }
}

fn payout(
    address: Option<&str>,
    script: Option<&str>,
    network: &str,
) -> Result<(ScriptBuf, String), ConfigError> {
    match (address, script) {
        (None, None) => Err(fail(
            "payout",
            "is missing, so nobody would be paid",
            "Set `payout` to an address of yours, or `payout_script` to a scriptPubKey in hex",
        )),
        (Some(_), Some(_)) => Err(fail(
            "payout",
            "stands beside payout_script",
            "Keep one of them",
        )),
        (None, Some(hex)) => {
            let script = ScriptBuf::from_hex(hex).map_err(|_| {
                fail(
                    "payout_script",
                    "is no hex",
                    "Write the scriptPubKey as hex digits",
                )
            })?;
            if script.is_empty() || script.len() > MAX_SCRIPT_BYTES {
                let problem = format!("has {} bytes", script.len());
                return Err(fail(
                    "payout_script",
                    problem,
                    "A payout script has 1 to 100 bytes",
                ));
            }
            if script.is_op_return() {
                return Err(fail(
                    "payout_script",
                    "pays to nobody (OP_RETURN)",
                    "Use a script that you can spend from",
                ));
            }
            Ok((script, hex.to_owned()))
        }
        (Some(text), None) => {
            let address: Address<NetworkUnchecked> = text.parse().map_err(|error| {
                fail(
                    "payout",
                    format!("'{}' is no address: {error}", text.escape_default()),
                    "Copy it anew",
                )
            })?;
            let Some(expected) = network_of(network) else {
                return Err(fail(
                    "payout",
                    "cannot be checked, since the host does not know its node's network yet",
                    "Wait until the host has reached its node; the module is started again by itself. Or give payout_script",
                ));
            };
            let address = address.require_network(expected).map_err(|_| {
                let problem = format!("'{text}' is not an address of this network ({network})");
                fail(
                    "payout",
                    problem,
                    "Use an address of the node's own network",
                )
            })?;
            Ok((address.script_pubkey(), text.to_owned()))
        }
    }
}

fn network_of(name: &str) -> Option<Network> {
    match name {
        "main" => Some(Network::Bitcoin),
        "test" => Some(Network::Testnet),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(fail(
        key,
        format!("{value} is out of range"),
        &format!("Use {least} to {most}"),
    ))
}

fn fail(key: &str, problem: impl Into<String>, cure: &str) -> ConfigError {
    ConfigError {
        key: key.to_owned(),
        problem: problem.into(),
        cure: cure.to_owned(),
    }
}

fn default_tag() -> String {
    "modhost".to_owned()
}
fn default_pool_port() -> u16 {
    34_254
}
fn default_template_port() -> u16 {
    8_442
}
fn default_shares() -> u32 {
    6
}
fn default_hashrate() -> u64 {
    10_000
}
fn default_connections() -> usize {
    250
}
fn default_connections_per_ip() -> usize {
    100
}
fn default_log() -> u64 {
    DEFAULT_LOG
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    fn refused(json: &str, network: &str) -> String {
        Config::parse(json, network).unwrap_err().key
    }

    #[test]
    fn a_payout_is_enough() {
        let config = Config::parse(&format!(r#"{{"payout":"{REGTEST}"}}"#), "regtest").unwrap();
        assert_eq!(
            config.payout.to_hex_string(),
            "0014751e76e8199196d454941c45d1b3a323f1433bd6"
        );
        assert_eq!(
            (config.pool_port, config.template_port, config.share_log),
            (34_254, 8_442, 100_000)
        );
        let same = Config::parse(
            r#"{"payout_script":"0014751e76e8199196d454941c45d1b3a323f1433bd6"}"#,
            "unknown",
        );
        assert_eq!(same.unwrap().payout, config.payout);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |rest: &str| format!(r#"{{"payout_script":"51",{rest}}}"#);
        assert_eq!(refused("{}", "main"), "payout");
        assert_eq!(
            refused(&format!(r#"{{"payout":"{MAINNET}"}}"#), "regtest"),
            "payout"
        );
        assert_eq!(
            refused(&format!(r#"{{"payout":"{MAINNET}"}}"#), "unknown"),
            "payout"
        );
        assert_eq!(
            refused(
                &format!(r#"{{"payout":"{MAINNET}","payout_script":"51"}}"#),
                "main"
            ),
            "payout"
        );
        assert_eq!(
            refused(
                r#"{"payout":"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"}"#,
                "main"
            ),
            "payout"
        );
        for script in ["", "5", "xx", "6a00", &"51".repeat(101)] {
            assert_eq!(
                refused(&format!(r#"{{"payout_script":"{script}"}}"#), "main"),
                "payout_script"
            );
        }
        assert_eq!(
            refused(&with(r#""coinbase_tag":"a/b""#), "main"),
            "coinbase_tag"
        );
        assert_eq!(refused(&with(r#""pool_port":0"#), "main"), "pool_port");
        assert_eq!(
            refused(&with(r#""pool_port":7,"template_port":7"#), "main"),
            "template_port"
        );
        assert_eq!(
            refused(&with(r#""shares_per_minute":0"#), "main"),
            "shares_per_minute"
        );
        assert_eq!(refused(&with(r#""share_log":5"#), "main"), "share_log");
        assert_eq!(refused(&with(r#""surprise":5"#), "main"), "config");
        assert_eq!(refused("[", "main"), "config");
    }

    #[test]
    fn only_what_no_connection_depends_on_changes_live() {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(Config::change(&keys(&["payout", "output_modules"])), Ok(()));
        let error = Config::change(&keys(&["payout", "pool_port"])).unwrap_err();
        assert_eq!(error.key, "pool_port");
        assert!(error.to_string().contains("reload"));
    }
}
