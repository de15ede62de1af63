//! `probe mine|frames|idle|handshakes --connect HOST:PORT ...`: what tests do to a pool from the outside, told as
//! lines of JSON. Times are microseconds since 1970.

mod bytes;
mod hostile;
mod link;
mod miner;
mod work;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: probe COMMAND --connect HOST:PORT [--authority KEY] [OPTIONS]
  mine        --identity NAME --hash-rate H --per-second N --shares N --seconds S --standard yes --reconnect yes
  frames      --count N --seed N
  idle        --count N --seconds S
  handshakes  --wrong KEY --count N --seed N";

/// Options by name, each with its value.
struct Options(HashMap<String, String>);

impl Options {
    fn read(words: &[String]) -> Option<Self> {
        let pairs = words.chunks(2).map(|pair| match pair {
            [name, value] => Some((name.strip_prefix("--")?.to_owned(), value.clone())),
            _ => None,
        });
        pairs.collect::<Option<_>>().map(Self)
    }
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
    fn number<T: std::str::FromStr>(&self, name: &str, otherwise: T) -> T {
        self.text(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    }
    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.number("seconds", 0.0_f64).max(0.0))
    }
    fn yes(&self, name: &str) -> bool {
        self.text(name) == Some("yes")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parsed = words
        .split_first()
        .and_then(|(command, rest)| Some((command.as_str(), Options::read(rest)?)));
    let Some((command, options)) = parsed else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(connect) = options.text("connect").and_then(|text| text.parse().ok()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let authority = options.text("authority");
    let (count, seed) = (options.number("count", 100), options.number("seed", 1));
    let outcome = match command {
        "mine" => {
            let plan = miner::Plan {
                connect,
                authority: authority.map(str::to_owned),
                identity: options.text("identity").unwrap_or("probe").to_owned(),
                standard: options.yes("standard"),
                hash_rate: options.number("hash-rate", 100.0),
                per_second: options.number("per-second", 0.0),
                shares: options.number("shares", 0),
                lasting: options.seconds(),
                reconnect: options.yes("reconnect"),
            };
            miner::mine(&plan).await.map(|acknowledged| {
                println!(
                    "{}",
                    serde_json::json!({ "e": "end", "acknowledged": acknowledged })
                );
            })
        }
        "frames" => hostile::frames(connect, authority, count, seed).await,
        "idle" => hostile::idle(connect, count, options.seconds()).await,
        "handshakes" => {
            hostile::handshakes(
                connect,
                options.text("wrong").unwrap_or_default(),
                count,
                seed,
            )
            .await
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
