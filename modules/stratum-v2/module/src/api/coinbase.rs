//! The present template, and outputs that other modules put into it.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::{Value, json};
use stratum_core::bitcoin::ScriptBuf;
use work::{AdditionalError, AdditionalOutput};

use super::{Api, ApiError, hex};
use crate::accounts::display;

/// Body of `set_additional_outputs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetOutputs {
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    script: String,
    #[serde(default)]
    value_sats: u64,
}

impl Api {
    /// The template that miners work on now.
    pub(super) fn current_template(&self) -> Result<Value, ApiError> {
        let work = self.parts.work.watch().borrow().clone();
        let work =
            work.ok_or_else(|| ApiError::Failed("the node has given no work yet".to_owned()))?;
        let message = &work.latest.message;
        let path: Vec<String> = message
            .merkle_path
            .iter()
            .map(|hash| hex(hash.as_bytes()))
            .collect();
        Ok(json!({
            "job": format!("{}-{}", self.parts.accounts.ledger().epoch(), work.latest.id),
            "template_id": work.latest.id,
            "height": work.latest.height,
            "previous_hash": display(work.new_prev_hash.prev_hash.to_array()),
            "bits": format!("{:08x}", work.new_prev_hash.n_bits),
            "version": message.version,
            "min_time_unix_s": work.new_prev_hash.header_timestamp,
            "transactions": work.latest.transactions.len(),
            "fees_sats": work.latest.transactions.iter().map(|one| one.fee_sats).sum::<u64>(),
            "payout_sats": message.coinbase_tx_value_remaining,
            "coinbase_prefix": hex(message.coinbase_prefix.as_bytes()),
            "coinbase_outputs_count": message.coinbase_tx_outputs_count,
            "coinbase_outputs": hex(message.coinbase_tx_outputs.as_bytes()),
            "merkle_path": path,
        }))
    }

    /// Replaces the caller's outputs.
    pub(super) fn set_additional(
        &self,
        caller: &str,
        asked: SetOutputs,
    ) -> Result<Value, ApiError> {
        let config = self.parts.config.borrow().clone();
        if !config.output_modules.iter().any(|name| name == caller) {
            let text = format!(
                "{caller} may not add outputs to the coinbase; the operator names the modules that may in \
                 `output_modules` of this module's configuration"
            );
            return Err(ApiError::CallerNotAllowed(text));
        }
        let mut outputs = Vec::with_capacity(
            asked
                .outputs
                .len()
                .min(work::MAX_ADDITIONAL_OUTPUTS_PER_OWNER),
        );
        for output in asked.outputs {
            let script = ScriptBuf::from_hex(&output.script).map_err(|_| {
                ApiError::InvalidParams("`script` is a scriptPubKey in hex".to_owned())
            })?;
            outputs.push(AdditionalOutput {
                script: script.into_bytes(),
                value_sats: output.value_sats,
            });
        }
        self.replace(caller, outputs)
    }

    /// Removes the caller's outputs.
    pub(super) fn clear_additional(&self, caller: &str) -> Result<Value, ApiError> {
        self.replace(caller, Vec::new())
    }

    /// Takes the outputs away from modules that a changed configuration does not name any more.
    pub fn config_changed(&self) {
        let config = self.parts.config.borrow().clone();
        let gone: Vec<String> = {
            let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            owners
                .keys()
                .filter(|owner| !config.output_modules.contains(owner))
                .cloned()
                .collect()
        };
        for owner in gone {
            // removing cannot be refused
            let _ = self.replace(&owner, Vec::new());
        }
    }

    /// Outputs by owner, for status.
    pub(super) fn owned_outputs(&self) -> Value {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let told = owners.iter().map(|(owner, outputs)| {
            let outputs = outputs
                .iter()
                .map(|one| json!({ "script": hex(&one.script), "value_sats": one.value_sats }));
            (owner.clone(), Value::Array(outputs.collect()))
        });
        Value::Object(told.collect())
    }

    fn replace(&self, owner: &str, outputs: Vec<AdditionalOutput>) -> Result<Value, ApiError> {
        // held over the change, so that status and coinbase agree
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let count = outputs.len();
        let changed = self
            .parts
            .work
            .set_additional(owner, outputs.clone())
            .map_err(refusal)?;
        if outputs.is_empty() {
            owners.remove(owner);
        } else {
            owners.insert(owner.to_owned(), outputs);
        }
        Ok(json!({ "changed": changed, "outputs": count }))
    }
}

fn refusal(error: AdditionalError) -> ApiError {
    let text = match error {
        AdditionalError::TooManyOwners => format!(
            "{error}: at most {} modules have outputs",
            work::MAX_ADDITIONAL_OWNERS
        ),
        AdditionalError::TooManyOutputs => format!(
            "{error}: at most {}",
            work::MAX_ADDITIONAL_OUTPUTS_PER_OWNER
        ),
        AdditionalError::TooManyBytes => format!(
            "{error}: at most {} of one module, {} of all",
            work::MAX_ADDITIONAL_BYTES_PER_OWNER,
            work::MAX_ADDITIONAL_BYTES
        ),
        AdditionalError::TooManySigops => format!(
            "{error}: at most {} of all modules",
            work::MAX_ADDITIONAL_SIGOP_COST
        ),
        AdditionalError::ValueNotAllowed => {
            format!(
                "{error}: the operator's `max_output_value_sats` bounds what all modules' outputs pay together"
            )
        }
        AdditionalError::WitnessCommitment => {
            format!("{error}: such a script would replace the block's own commitment")
        }
        AdditionalError::TooOften => format!(
            "{error}: {} changes in a row, then one every {} s, since each is a new job for every miner",
            work::ADDITIONAL_CHANGES_BURST,
            work::ADDITIONAL_CHANGE_INTERVAL.as_secs()
        ),
    };
    ApiError::InvalidParams(text)
}
