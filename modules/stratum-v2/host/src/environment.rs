use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{HostError, Reason};

/// What the host put into the environment of this process; see "Connect" in `proto/README.md`.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Unix socket of this spawn.
    pub socket: PathBuf,
    /// File with the 32 bytes that prove that this process is the spawn; gone after the handshake.
    pub token_file: PathBuf,
    /// Name of the module.
    pub module_id: String,
    /// Directory that the module may write to and that survives it.
    pub data_dir: PathBuf,
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// Fails with [`Reason::NotStartedByHost`] when a variable is missing.
    pub fn from_process() -> Result<Self, HostError> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads an environment that is handed in.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, HostError> {
        let required = |name: &str| {
            lookup(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| {
                    let message = format!("{name} is not set: a modhost host starts this program");
                    HostError::new(Reason::NotStartedByHost, message)
                })
        };
        Ok(Self {
            socket: required("MODHOST_SOCKET")?.into(),
            token_file: required("MODHOST_TOKEN_FILE")?.into(),
            module_id: required("MODHOST_MODULE_ID")?.into_string().map_err(|_| {
                HostError::new(Reason::NotStartedByHost, "MODHOST_MODULE_ID is no text")
            })?,
            data_dir: required("MODHOST_DATA_DIR")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let error =
            Environment::from_lookup(|name| (name != "MODHOST_TOKEN_FILE").then(|| "x".into()))
                .unwrap_err();
        assert_eq!(error.reason, Reason::NotStartedByHost);
        assert!(error.message.contains("MODHOST_TOKEN_FILE"));
    }
}
