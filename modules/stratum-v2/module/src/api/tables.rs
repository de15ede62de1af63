//! The answers for people.

use serde_json::Value;

/// Characters of a miner's name in a table; a proxy's names are often longer than anybody reads.
const NAME_WIDTH: usize = 40;
/// Rows of parts that `shares` shows; `--json` has all.
const PARTS: usize = 20;

/// The text of a command's answer.
pub fn show(command: &str, answer: &Value) -> String {
    match command {
        "status" => status(answer),
        "miners" => miners(answer),
        "shares" => shares(answer),
        _ => blocks(answer),
    }
}

fn status(answer: &Value) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<20} {value}"));
    line("authority key", text(&answer["authority_public_key"]));
    let pool = &answer["pool"];
    line(
        "pool",
        format!(
            "port {}, {} connections, {} channels, {}",
            pool["port"],
            pool["connections"],
            pool["channels"],
            rate(&pool["hashrate_hashes_per_second"])
        ),
    );
    let provider = &answer["template_provider"];
    line(
        "template provider",
        match provider {
            Value::Null => "off".to_owned(),
            on => format!("port {}, {} clients", on["port"], on["clients"]),
        },
    );
    line(
        "payout",
        format!(
            "{} on {}",
            text(&answer["payout"]),
            text(&answer["network"])
        ),
    );
    line("coinbase tag", text(&answer["coinbase_tag"]));
    if let Some(owners) = answer["additional_outputs"]
        .as_object()
        .filter(|owners| !owners.is_empty())
    {
        line(
            "added outputs of",
            owners.keys().cloned().collect::<Vec<_>>().join(", "),
        );
    }
    line(
        "work",
        match &answer["work"] {
            Value::Null => "none yet".to_owned(),
            work => format!(
                "block {} on {}, {} transactions, pays {} sat",
                work["height"],
                text(&work["previous_hash"]),
                work["transactions"],
                work["payout_sats"]
            ),
        },
    );
    if let Some(why) = answer["waiting"].as_str() {
        line("waiting", why.to_owned());
    }
    let shares = &answer["shares"];
    line(
        "shares",
        format!(
            "{} accepted, {} rejected, work {}",
            shares["accepted"],
            rejected(&shares["rejected"]),
            number(&shares["work"])
        ),
    );
    line("blocks", counts(&answer["blocks"]));
    if let Some(text) = answer["ledger"]["disagreement"].as_str() {
        line("LEDGER DISAGREES", text.to_owned());
    }
    lines.join("\n") + "\n"
}

fn miners(answer: &Value) -> String {
    let rows = list(&answer["miners"]).iter().map(|miner| {
        vec![
            name(&miner["name"]),
            miner["channels"].to_string(),
            rate(&miner["hashrate_hashes_per_second"]),
            miner["shares_accepted"].to_string(),
            rejected(&miner["shares_rejected"]).to_string(),
            number(&miner["work"]),
            number(&miner["best_difficulty"]),
            miner["blocks_found"].to_string(),
            time(&miner["last_share_unix_ms"]),
        ]
    });
    let heads = [
        "miner",
        "channels",
        "hashrate",
        "accepted",
        "rejected",
        "work",
        "best",
        "blocks",
        "last share",
    ];
    let shown = table(&heads, rows.collect());
    format!(
        "{shown}{} of {} miners\n",
        list(&answer["miners"]).len(),
        answer["total"]
    )
}

fn shares(answer: &Value) -> String {
    let totals = &answer["totals"];
    let window = &answer["window"];
    let mut out = format!(
        "{} accepted, {} rejected, work {}; the log has shares {} to {}\n\nlast {} shares, work {}\n",
        totals["accepted"],
        rejected(&totals["rejected"]),
        number(&totals["work"]),
        totals["log"]["first"],
        totals["log"]["last"],
        window["shares"],
        number(&window["work"]),
    );
    let parts = list(&window["miners"]);
    let rows = parts.iter().take(PARTS).map(|miner| {
        let percent = miner["part"].as_f64().unwrap_or(0.0) * 100.0;
        vec![
            name(&miner["name"]),
            miner["shares"].to_string(),
            number(&miner["work"]),
            format!("{percent:.2} %"),
        ]
    });
    out += &table(&["miner", "shares", "work", "part"], rows.collect());
    if parts.len() > PARTS {
        out += &format!("and {} more (--json has all)\n", parts.len() - PARTS);
    }
    let rows = list(&answer["shares"]).iter().map(|share| {
        vec![
            share["number"].to_string(),
            time(&share["time_unix_ms"]),
            name(&share["miner"]),
            number(&share["work"]),
            text(&share["hash"]),
        ]
    });
    out + "\n" + &table(&["share", "time", "miner", "work", "hash"], rows.collect())
}

fn blocks(answer: &Value) -> String {
    let rows = list(&answer["blocks"]).iter().map(|block| {
        let state = match block["reason"].as_str() {
            Some(reason) if !reason.is_empty() => format!("{} ({reason})", text(&block["state"])),
            _ => text(&block["state"]),
        };
        vec![
            block["height"].to_string(),
            time(&block["found_unix_ms"]),
            name(&block["miner"]),
            block["value_sats"].to_string(),
            text(&block["hash"]),
            state,
        ]
    });
    table(
        &["height", "found", "miner", "value (sat)", "hash", "state"],
        rows.collect(),
    ) + &counts(&answer["counts"])
        + "\n"
}

/// Columns as wide as their widest cell, two spaces apart; the last one ragged.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let all: Vec<Vec<String>> =
        std::iter::once(heads.iter().map(|head| (*head).to_owned()).collect())
            .chain(rows)
            .collect();
    let width = |column: usize| {
        all.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for row in &all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Names come from miners: nothing in them may move the terminal's cursor.
fn name(value: &Value) -> String {
    let name = value.as_str().unwrap_or_default();
    if name.is_empty() {
        return "(forgotten)".to_owned();
    }
    let clean: String = name
        .chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect();
    if clean.chars().count() <= NAME_WIDTH {
        clean
    } else {
        clean.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
    }
}

fn rejected(codes: &Value) -> u64 {
    codes
        .as_object()
        .map(|codes| codes.values().filter_map(Value::as_u64).sum())
        .unwrap_or(0)
}

fn counts(counts: &Value) -> String {
    let Some(counts) = counts.as_object() else {
        return String::new();
    };
    let some: Vec<String> = counts
        .iter()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    if some.is_empty() {
        "none found yet".to_owned()
    } else {
        some.join(", ")
    }
}

/// Four digits are enough for people.
fn number(value: &Value) -> String {
    let value = value.as_f64().unwrap_or(0.0);
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(0.001..1e9).contains(&size) => format!("{value:.3e}"),
        size if size < 10.0 => format!("{value:.4}"),
        _ => format!("{value:.1}"),
    }
}

fn rate(value: &Value) -> String {
    let mut rate = value.as_f64().unwrap_or(0.0);
    let mut unit = "H/s";
    for next in ["kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"] {
        if rate < 1_000.0 {
            break;
        }
        rate /= 1_000.0;
        unit = next;
    }
    format!("{rate:.1} {unit}")
}

/// Date and time (UTC) by the civil calendar: days since 1970 in eras of 400 years.
fn time(value: &Value) -> String {
    let Some(unix_ms) = value.as_u64() else {
        return "-".to_owned();
    };
    let seconds = unix_ms / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_names_and_numbers_read_well() {
        assert_eq!(time(&json!(0u64)), "1970-01-01 00:00:00");
        assert_eq!(time(&json!(951_827_696_000u64)), "2000-02-29 12:34:56");
        assert_eq!(time(&json!(1_795_370_000_000u64)), "2026-11-22 17:53:20");
        assert_eq!(time(&Value::Null), "-");
        assert_eq!(name(&json!("\u{1b}[2Jrig")), "?[2Jrig");
        assert_eq!(name(&json!("x".repeat(99))).chars().count(), NAME_WIDTH);
        assert_eq!(rate(&json!(1.5e12)), "1.5 TH/s");
        assert_eq!(number(&json!(4.656e-10)), "4.656e-10");
    }
}
