//! Solutions against their templates, and the templates that are remembered for them.

mod support;

use std::sync::Arc;
use std::time::Instant;

use stratum_core::bitcoin::{Amount, ScriptBuf, Sequence, TxOut, Witness};
use support::{EASY_BITS, NOW, Random, coinbase, mine, solution, template, tip, transactions};
use work::{Lookup, MAX_TEMPLATES, NodeTemplate, NodeTip, SolveError, Work, WorkBook, WorkOptions};

fn book() -> WorkBook {
    WorkBook::new(WorkOptions::default())
}

fn work(book: &WorkBook) -> Arc<Work> {
    book.watch().borrow().clone().expect("work")
}

#[test]
fn solutions_are_checked_against_their_template() {
    let book = book();
    let filled = NodeTemplate {
        transactions: transactions(&mut Random::new(), 9),
        ..template(tip(1, 100))
    };
    book.on_template(filled, Instant::now()).unwrap();
    let template = work(&book).latest.clone();
    let good = coinbase(&template, 1);
    let try_with = |change: &dyn Fn(&mut stratum_core::bitcoin::Transaction)| {
        let mut changed = good.clone();
        change(&mut changed);
        mine(&book, solution(&template, &changed)).map_err(|error| error.code())
    };
    assert!(try_with(&|_| ()).is_ok());
    assert!(
        try_with(&|one| one.input[0].witness = Witness::new()).is_ok(),
        "the witness is known"
    );
    assert!(
        try_with(&|one| one.output[0].value = Amount::from_sat(1)).is_ok(),
        "less is allowed"
    );
    let pay = TxOut {
        value: Amount::from_sat(1),
        script_pubkey: ScriptBuf::new(),
    };
    let bad = Err("bad-coinbase");
    assert_eq!(
        try_with(&|one| one.output[0].value += Amount::from_sat(1)),
        bad
    );
    assert_eq!(try_with(&|one| one.output.insert(0, pay.clone())), bad);
    assert_eq!(
        try_with(&|one| one.output[0].value = Amount::from_sat(u64::MAX)),
        bad
    );
    assert_eq!(
        try_with(&|one| one.output.push(TxOut {
            value: Amount::ZERO,
            ..pay.clone()
        })),
        bad
    );
    assert_eq!(try_with(&|one| drop(one.output.pop())), bad);
    assert_eq!(try_with(&|one| one.input[0].sequence = Sequence::ZERO), bad);
    assert_eq!(
        try_with(&|one| one.input[0].witness = Witness::from_slice(&[[1_u8; 32]])),
        bad
    );
    assert_eq!(
        try_with(&|one| one.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51; 20])),
        bad
    );
    assert_eq!(
        try_with(&|one| one.input[0].script_sig =
            ScriptBuf::from_bytes([good.input[0].script_sig.as_bytes(), &[0; 99]].concat())),
        bad
    );
    assert_eq!(try_with(&|one| one.input[0].previous_output.vout = 0), bad);
    assert_eq!(try_with(&|one| one.input.push(one.input[0].clone())), bad);
    assert_eq!(try_with(&|one| one.input.clear()), bad);

    let mut raw = solution(&template, &good);
    raw.coinbase_tx.push(0);
    assert_eq!(book.solve(&raw).unwrap_err().code(), "bad-coinbase");
    let mut version = solution(&template, &good);
    version.version ^= 1;
    assert_eq!(book.solve(&version), Err(SolveError::BadVersion));
    version.version ^= 1 | 0x1fff_e000;
    assert!(
        mine(&book, version).is_ok(),
        "bits of BIP 323 are the miner's"
    );
    let early = work::Solution {
        header_timestamp: NOW - 3601,
        ..solution(&template, &good)
    };
    assert_eq!(book.solve(&early), Err(SolveError::BadTime));
    let unknown = work::Solution {
        template_id: 99,
        ..solution(&template, &good)
    };
    assert_eq!(book.solve(&unknown), Err(SolveError::UnknownTemplate));
    assert_eq!(
        book.solve(&work::Solution {
            template_id: 0,
            ..unknown
        }),
        Err(SolveError::UnknownTemplate)
    );
}

#[test]
fn a_hash_above_the_target_is_no_block() {
    let book = book();
    book.on_tip(
        NodeTip {
            bits: 0x1d00_ffff,
            ..tip(1, 100)
        },
        Instant::now(),
    )
    .unwrap();
    let template = work(&book).latest.clone();
    assert_eq!(
        book.solve(&solution(&template, &coinbase(&template, 1))),
        Err(SolveError::HighHash)
    );
    assert_ne!(EASY_BITS, work(&book).new_prev_hash.n_bits);
}

#[test]
fn the_last_tip_is_remembered_and_no_tip_before_it() {
    let book = book();
    book.on_tip(tip(1, 100), Instant::now()).unwrap();
    let old = work(&book).latest.clone();
    book.on_tip(tip(2, 101), Instant::now()).unwrap();
    assert!(matches!(book.lookup(old.id), Lookup::Stale));
    assert!(
        mine(&book, solution(&old, &coinbase(&old, 1))).is_ok(),
        "the node decides between two blocks of a height"
    );
    book.on_tip(tip(3, 102), Instant::now()).unwrap();
    assert_eq!(
        book.solve(&solution(&old, &coinbase(&old, 1))),
        Err(SolveError::StaleTemplate)
    );
    assert!(matches!(book.lookup(old.id), Lookup::Stale));
    assert!(matches!(
        book.lookup(work(&book).latest.id),
        Lookup::Current(_)
    ));
    assert!(matches!(book.lookup(u64::MAX), Lookup::Unknown));
}

#[test]
fn templates_are_bounded_and_share_their_transactions() {
    let mut random = Random::new();
    let book = book();
    let mut all = transactions(&mut random, 50);
    for _ in 0..MAX_TEMPLATES + 20 {
        all.push(support::transaction(&mut random, &all));
        book.on_template(
            NodeTemplate {
                transactions: all.clone(),
                ..template(tip(1, 100))
            },
            Instant::now(),
        )
        .unwrap();
        if all.len() > 60 {
            all.truncate(50);
        }
    }
    assert!(matches!(book.lookup(1), Lookup::Stale), "the oldest went");
    let newest = work(&book).latest.clone();
    let Lookup::Current(before) = book.lookup(newest.id - 1) else {
        panic!("kept")
    };
    assert!((0..50).all(|position| Arc::ptr_eq(
        &before.transactions[position],
        &newest.transactions[position]
    )));
    assert!(mine(&book, solution(&before, &coinbase(&before, 1))).is_ok());
}
