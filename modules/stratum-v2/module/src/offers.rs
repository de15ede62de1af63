//! What the host lets others ask of the module: endpoints, commands and methods, and the way of an answer back.

use host::v1::{CliArgument, CliResult, CliSpec, CliSubcommand, ErrorReason};
use host::{Failure, Host, HostError, Log};
use stratum_v2::api::{
    API_METHODS, API_VERSION, ApiError, COMMANDS, CommandOutput, ENDPOINTS, Flag,
};

/// Word under which people find the commands.
const COMMAND_SET: &str = "stratum-v2";

/// Registers everything. What the operator did not grant is told and left out: mining goes on without it.
pub async fn register(host: &Host, log: &Log) -> Result<(), HostError> {
    for (method, description) in ENDPOINTS {
        let outcome = host.register_endpoint(method, description).await;
        if !granted(outcome, "JSON-RPC methods", log)? {
            break;
        }
    }
    granted(host.register_cli(commands()).await, "commands", log)?;
    granted(
        host.register_api(&API_METHODS, API_VERSION).await,
        "methods for other modules",
        log,
    )?;
    Ok(())
}

fn granted(outcome: Result<(), HostError>, what: &str, log: &Log) -> Result<bool, HostError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.is(ErrorReason::MissingPermission) => {
            log.warn("not granted, so left out", &[("what", &what)]);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn commands() -> CliSpec {
    let subcommands = COMMANDS.iter().map(|command| CliSubcommand {
        name: command.name.to_owned(),
        about: command.about.to_owned(),
        arguments: command.flags.iter().map(argument).collect(),
        timeout_ms: 0,
    });
    CliSpec {
        name: COMMAND_SET.to_owned(),
        about: "Stratum V2: miners, shares and blocks".to_owned(),
        subcommands: subcommands.collect(),
    }
}

fn argument(flag: &Flag) -> CliArgument {
    CliArgument {
        name: flag.name.to_owned(),
        long_name: flag.name.to_owned(),
        short_name: String::new(),
        required: false,
        takes_value: flag.takes_value,
        default_value: flag.usual.to_owned(),
        about: flag.about.to_owned(),
    }
}

/// A command's output as the host carries it.
pub fn printed(output: CommandOutput) -> CliResult {
    CliResult {
        stdout: output.stdout.into(),
        stderr: output.stderr.into(),
        exit_code: u32::from(output.exit_code),
    }
}

/// Why there is no answer, as the host carries it.
pub fn failure(error: ApiError) -> Failure {
    match error {
        ApiError::InvalidParams(text) => Failure::invalid_params(text),
        ApiError::MethodNotFound(name) => Failure::method_not_found(&name),
        ApiError::CallerNotAllowed(text) => Failure::caller_not_allowed(text),
        ApiError::Failed(text) => Failure::failed(text),
    }
}
