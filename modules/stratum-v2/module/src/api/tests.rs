//! Answers over in-memory twins of what the host gives.

use std::time::Instant;

use pool::{AcceptedShare, Books};
use serde_json::json;
use work::{NodeTip, WorkOptions};

use super::*;
use crate::accounts::PoolBooks;
use crate::announce::Announcer;
use crate::ledger::{Ledger, LedgerOptions};
use crate::memory::{MemoryEvents, MemoryLog, MemoryNode, MemoryStore};
use crate::metrics::Metrics;

async fn api(config: &str) -> (Api, watch::Sender<Arc<Config>>) {
    let metrics = Arc::new(Metrics::default());
    let options = LedgerOptions {
        log_length: 1_000,
        max_value_bytes: 1_048_576,
    };
    let ledger = Ledger::open(Arc::new(MemoryStore::default()), options, metrics.clone())
        .await
        .unwrap();
    let work = Arc::new(WorkBook::new(WorkOptions {
        max_additional_value_sats: 1_000,
        ..WorkOptions::default()
    }));
    let tip = NodeTip {
        previous_hash: [3; 32],
        bits: 0x207f_ffff,
        height: 77,
        min_time_unix_s: 1_700_000_000,
        coinbase_value_sats: 5_000_000_000,
    };
    work.on_tip(tip, Instant::now()).unwrap();
    let accounts = Accounts::new(crate::accounts::Parts {
        ledger,
        work: work.clone(),
        node: Arc::new(MemoryNode::default()),
        announcer: Announcer::new(Arc::new(MemoryEvents::default()), metrics.clone(), 100),
        metrics,
        log: Arc::new(MemoryLog::default()),
    });
    let books = PoolBooks(accounts.clone());
    for number in 0..4u8 {
        let share = AcceptedShare {
            miner: if number == 0 {
                "small".into()
            } else {
                "large".into()
            },
            channel_id: 1,
            sequence_number: 1,
            template_id: 5,
            job_id: 1,
            hash: [number; 32],
            work: 2.0,
            time_unix_ms: 1_700_000_000_000,
        };
        books.accepted(share).await.unwrap();
    }
    books.rejected("small", "stale-share");
    accounts.ledger().flush().await;
    let (changed, config) = watch::channel(Arc::new(Config::parse(config, "regtest").unwrap()));
    let live = Live {
        pool: pool::Stats {
            connections: Vec::new(),
            jobs_created: 0,
            blocks_found: 0,
        },
        provider: None,
        waiting: None,
    };
    let parts = Parts {
        accounts,
        work,
        live: Arc::new(move || live.clone()),
        config,
        network: "regtest".into(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
        version: "0.1.0",
    };
    (Api::new(parts), changed)
}

const CONFIG: &str = r#"{"payout_script":"51","output_modules":["merge"]}"#;

#[tokio::test]
async fn people_and_programs_get_the_same_answers() {
    let (api, _changed) = api(CONFIG).await;
    let shares: Value =
        serde_json::from_str(&api.rpc("stratumv2_shares", "[3, 2]").await.unwrap()).unwrap();
    assert_eq!(shares["totals"]["accepted"], json!(4));
    assert_eq!(
        shares["totals"]["log"],
        json!({ "first": 1, "last": 4, "shares": 4 })
    );
    assert_eq!(
        shares["window"],
        json!({
            "shares": 3, "work": 6.0,
            "miners": [{ "name": "large", "shares": 3, "work": 6.0, "part": 1.0 }],
        })
    );
    assert_eq!(shares["shares"][1]["number"], json!(3));
    assert_eq!(shares["shares"].as_array().unwrap().len(), 2);
    let args: Vec<String> = ["--json", "--window=3", "--count", "2"]
        .map(str::to_owned)
        .into();
    let printed = api.command("shares", &args).await;
    assert_eq!(
        serde_json::from_str::<Value>(&printed.stdout).unwrap(),
        shares
    );

    let miners: Value =
        serde_json::from_slice(&api.call("miners", "any", b"{\"count\":1}").unwrap()).unwrap();
    assert_eq!(
        (&miners["total"], &miners["miners"][0]["name"]),
        (&json!(2), &json!("large"))
    );
    let all: Value = serde_json::from_str(&api.rpc("stratumv2_miners", "").await.unwrap()).unwrap();
    assert_eq!(
        all["miners"][1]["shares_rejected"],
        json!({ "stale-share": 1 })
    );
    let status: Value =
        serde_json::from_str(&api.rpc("stratumv2_status", "{}").await.unwrap()).unwrap();
    assert_eq!(
        (&status["work"]["height"], &status["ledger"]["agrees"]),
        (&json!(77), &json!(true))
    );
    for command in COMMANDS {
        let printed = api.command(command.name, &[]).await;
        assert_eq!((printed.exit_code, printed.stderr.as_str()), (0, ""));
        assert!(printed.stdout.ends_with('\n'));
    }
    assert!(
        api.command("status", &[])
            .await
            .stdout
            .contains("9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72")
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let (api, _changed) = api(CONFIG).await;
    for params in ["[1,2]", "{\"x\":1}", "[-1]", "[\"a\"]", "[6000]", "7", "["] {
        assert!(
            matches!(
                api.rpc("stratumv2_miners", params).await,
                Err(ApiError::InvalidParams(_))
            ),
            "{params}"
        );
    }
    assert!(matches!(
        api.rpc("stratumv2_no", "").await,
        Err(ApiError::MethodNotFound(_))
    ));
    assert!(matches!(
        api.call("no", "merge", b""),
        Err(ApiError::MethodNotFound(_))
    ));
    for args in [
        &["--count"][..],
        &["--count", "x"],
        &["--count=5001"],
        &["--window", "1"],
        &["x"],
        &["-json-"],
    ] {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(api.command("miners", &args).await.exit_code, 2, "{args:?}");
    }
}

#[tokio::test]
async fn only_modules_that_the_operator_names_put_outputs_into_the_coinbase() {
    let (api, changed) = api(CONFIG).await;
    let outputs = br#"{"outputs":[{"script":"6a0401020304"},{"script":"51","value_sats":900}]}"#;
    assert!(matches!(
        api.call("set_additional_outputs", "other", outputs),
        Err(ApiError::CallerNotAllowed(_))
    ));
    api.call("set_additional_outputs", "merge", outputs)
        .unwrap();
    let template = || {
        serde_json::from_slice::<Value>(&api.call("current_template", "x", b"").unwrap()).unwrap()
    };
    let present = template();
    assert!(
        present["coinbase_outputs"]
            .as_str()
            .unwrap()
            .contains("6a0401020304")
    );
    assert_eq!(present["payout_sats"], json!(4_999_999_100u64));
    for wrong in [
        "{\"outputs\":[{\"script\":\"51\",\"value_sats\":2000}]}",
        "{\"outputs\":[{\"script\":\"xx\"}]}",
        "{}",
        "[",
    ] {
        assert!(matches!(
            api.call("set_additional_outputs", "merge", wrong.as_bytes()),
            Err(ApiError::InvalidParams(_))
        ));
    }
    assert_eq!(template()["payout_sats"], present["payout_sats"]);
    // a name that the operator takes back takes its outputs along
    changed.send_replace(Arc::new(
        Config::parse(r#"{"payout_script":"51"}"#, "regtest").unwrap(),
    ));
    api.config_changed();
    assert_eq!(template()["payout_sats"], json!(5_000_000_000u64));
    api.call("clear_additional_outputs", "merge", b"").unwrap();
}
