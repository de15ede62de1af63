//! The commands of `modhost cli stratum-v2`.

use serde_json::Value;

use super::{Api, ApiError, MAX_COUNT, tables};

/// A flag of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Without its dashes.
    pub name: &'static str,
    /// Whether a number follows.
    pub takes_value: bool,
    /// What help shows as default; empty for none.
    pub usual: &'static str,
    pub about: &'static str,
}

/// A command, as the host shows it in help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    pub flags: &'static [Flag],
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    pub stdout: String,
    pub stderr: String,
    /// 0 done, 1 could not, 2 typed wrongly.
    pub exit_code: u8,
}

const JSON: Flag = Flag {
    name: "json",
    takes_value: false,
    usual: "",
    about: "print JSON, in the shape of the RPC method's answer",
};
const COUNT: Flag = Flag {
    name: "count",
    takes_value: true,
    usual: "20",
    about: "entries to show, at most 5,000",
};
const WINDOW: Flag = Flag {
    name: "window",
    takes_value: true,
    usual: "",
    about: "reckon parts over this many newest shares instead of all of the log",
};

/// All commands.
pub const COMMANDS: [Command; 4] = [
    Command {
        name: "status",
        about: "authority key, ports, work, shares and blocks at a glance",
        flags: &[JSON],
    },
    Command {
        name: "miners",
        about: "miners by work, most first",
        flags: &[COUNT, JSON],
    },
    Command {
        name: "shares",
        about: "sums over all shares, each miner's part, the newest shares",
        flags: &[WINDOW, COUNT, JSON],
    },
    Command {
        name: "blocks",
        about: "blocks found here and what became of them",
        flags: &[COUNT, JSON],
    },
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    json: bool,
    count: Option<u64>,
    window: Option<u64>,
}

impl Api {
    /// Runs a command. Whatever happens, something is printed.
    pub async fn command(&self, subcommand: &str, args: &[String]) -> CommandOutput {
        let Some(command) = COMMANDS.iter().find(|command| command.name == subcommand) else {
            return wrong(format!(
                "there is no command '{}'",
                subcommand.escape_default()
            ));
        };
        let asked = match parse(command, args) {
            Ok(asked) => asked,
            Err(text) => return wrong(text),
        };
        match self.answer(command.name, &asked).await {
            Ok(answer) => {
                let stdout = if asked.json {
                    format!("{answer}\n")
                } else {
                    tables::show(command.name, &answer)
                };
                CommandOutput {
                    stdout,
                    stderr: String::new(),
                    exit_code: 0,
                }
            }
            Err(error) => CommandOutput {
                stdout: String::new(),
                stderr: format!("{error}\n"),
                exit_code: 1,
            },
        }
    }

    async fn answer(&self, name: &str, asked: &Asked) -> Result<Value, ApiError> {
        let count = asked.count.unwrap_or(20);
        match name {
            "status" => Ok(self.status()),
            "miners" => Ok(self.miners(count)),
            "blocks" => Ok(self.blocks(count)),
            _ => self.shares(asked.window.unwrap_or(u64::MAX), count).await,
        }
    }
}

fn parse(command: &Command, args: &[String]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (name, joined) = match arg.strip_prefix("--").map(|flag| flag.split_once('=')) {
            Some(Some((name, value))) => (name, Some(value.to_owned())),
            Some(None) => (arg.trim_start_matches('-'), None),
            None => ("", None),
        };
        let Some(flag) = command.flags.iter().find(|flag| flag.name == name) else {
            let known: Vec<String> = command
                .flags
                .iter()
                .map(|flag| format!("--{}", flag.name))
                .collect();
            return Err(format!(
                "'{}' is not understood; {} takes {}",
                arg.escape_default(),
                command.name,
                known.join(", ")
            ));
        };
        if !flag.takes_value {
            asked.json = true;
            continue;
        }
        let value = joined.or_else(|| rest.next().cloned()).unwrap_or_default();
        let most = if flag.name == "count" {
            MAX_COUNT
        } else {
            u64::MAX
        };
        let number = value.parse().ok().filter(|number| *number <= most);
        let number = number
            .ok_or_else(|| format!("--{} takes a whole number, at most {most}", flag.name))?;
        if flag.name == "count" {
            asked.count = Some(number)
        } else {
            asked.window = Some(number)
        }
    }
    Ok(asked)
}

fn wrong(text: String) -> CommandOutput {
    CommandOutput {
        stdout: String::new(),
        stderr: format!("{text}\n"),
        exit_code: 2,
    }
}
