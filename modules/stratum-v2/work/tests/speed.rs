//! How long the book takes from the node's word to published work. Printed, not judged.

mod support;

use std::time::{Duration, Instant};

use support::{Random, template, tip, transactions};
use work::{NodeTemplate, WorkBook, WorkOptions};

#[test]
#[ignore = "a measurement: cargo test --release -p work --test speed -- --ignored --nocapture"]
fn from_the_nodes_word_to_published_work() {
    let mut random = Random::new();
    let all = transactions(&mut random, 3_000);
    let book = WorkBook::new(WorkOptions::default());
    let (mut full, mut tips) = (Vec::new(), Vec::new());
    let (mut templates, mut better) = (Vec::new(), Vec::new());
    for round in 0..200_u32 {
        let tip = tip(round as u8, 1_000 + round);
        let started = Instant::now();
        book.on_tip(support::tip(!(round as u8), 1_000 + round), started)
            .unwrap();
        full.push(started.elapsed());
        let started = Instant::now();
        book.on_tip(tip.clone(), started).unwrap();
        tips.push(started.elapsed());
        let first = NodeTemplate {
            transactions: all[..2_900].to_vec(),
            ..template(tip.clone())
        };
        let started = Instant::now();
        book.on_template(first, started).unwrap();
        templates.push(started.elapsed());
        let second = NodeTemplate {
            transactions: all.clone(),
            ..template(tip)
        };
        let started = Instant::now();
        book.on_template(second, started).unwrap();
        better.push(started.elapsed());
    }
    for (what, mut times) in [
        ("on_tip", full),
        (
            "on_tip, which frees 3,000 transactions once published",
            tips,
        ),
        ("on_template, 2,900 new transactions", templates),
        ("on_template, 100 of 3,000 new", better),
    ] {
        times.sort();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!(
            "{what}: median {:.3} ms, p99 {:.3} ms ({} rounds)",
            at(50),
            at(99),
            times.len()
        );
        assert!(times[0] > Duration::ZERO);
    }
}
