//! The book as the node's words come in.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{NOW, Random, SUBSIDY, check, coinbase, mine, solution, template, tip, transactions};
use work::{
    AdditionalOutput, Constraints, ConstraintsError, NodeTemplate, NodeTip, TemplateError, Work,
    WorkBook, WorkOptions,
};

fn book() -> WorkBook {
    WorkBook::new(WorkOptions::default())
}

fn work(book: &WorkBook) -> Arc<Work> {
    book.watch().borrow().clone().expect("work")
}

#[test]
fn a_tip_gives_an_empty_block_at_once_and_its_template_follows() {
    let (book, heard) = (book(), Instant::now());
    assert!(book.watch().borrow().is_none());
    assert_eq!(book.on_tip(tip(1, 100), heard), Ok(true));
    let empty = work(&book);
    assert_eq!((empty.tip_number, empty.tip_heard), (1, heard));
    assert!(Arc::ptr_eq(&empty.first, &empty.latest));
    assert!(empty.first.transactions.is_empty() && empty.first.message.merkle_path.is_empty());
    assert_eq!(empty.first.message.coinbase_tx_value_remaining, SUBSIDY);
    assert_eq!(empty.new_prev_hash.template_id, empty.first.id);
    check(
        &mine(&book, solution(&empty.first, &coinbase(&empty.first, 1))).unwrap(),
        &empty.first,
    );

    assert_eq!(
        book.on_tip(tip(1, 100), Instant::now()),
        Ok(false),
        "a tip equal to the present one changes nothing"
    );
    let transactions = transactions(&mut Random::new(), 40);
    let fees: u64 = transactions.iter().map(|one| one.fee_sats).sum();
    let filled = NodeTemplate {
        transactions,
        ..template(tip(1, 100))
    };
    assert_eq!(book.on_template(filled.clone(), Instant::now()), Ok(true));
    let better = work(&book);
    assert_eq!((better.tip_number, better.tip_heard), (1, heard));
    assert!(Arc::ptr_eq(&better.first, &empty.first) && better.latest.id > better.first.id);
    assert_eq!(better.new_prev_hash, empty.new_prev_hash);
    assert_eq!(
        better.latest.message.coinbase_tx_value_remaining,
        SUBSIDY + fees
    );
    check(
        &mine(
            &book,
            solution(&better.latest, &coinbase(&better.latest, 2)),
        )
        .unwrap(),
        &better.latest,
    );

    let later = NodeTemplate {
        current_time_unix_s: NOW - 5,
        ..filled
    };
    assert_eq!(
        book.on_template(later, Instant::now()),
        Ok(false),
        "only its time is new"
    );
    assert!(Arc::ptr_eq(&work(&book), &better));
}

#[test]
fn a_template_of_another_tip_is_the_news_of_it() {
    let book = book();
    book.on_tip(tip(1, 100), Instant::now()).unwrap();
    assert_eq!(
        book.on_template(template(tip(2, 101)), Instant::now()),
        Ok(true)
    );
    let second = work(&book);
    assert_eq!((second.tip_number, second.first.height), (2, 101));
    assert!(Arc::ptr_eq(&second.first, &second.latest));
    assert_eq!(book.on_tip(tip(2, 101), Instant::now()), Ok(false));
    // back to the first: another tip again, under a number and ids of its own
    book.on_tip(tip(1, 100), Instant::now()).unwrap();
    assert_eq!(work(&book).tip_number, 3);
    assert!(work(&book).first.id > second.first.id);
    // where difficulty falls with time, the same parent may get other bits
    let easier = NodeTip {
        bits: 0x2070_ffff,
        ..tip(1, 100)
    };
    assert_eq!(book.on_template(template(easier), Instant::now()), Ok(true));
    assert_eq!(
        (work(&book).tip_number, work(&book).new_prev_hash.n_bits),
        (4, 0x2070_ffff)
    );
}

#[test]
fn a_subsidy_told_wrongly_with_the_tip_is_corrected_by_the_template() {
    let book = book();
    let generous = NodeTip {
        coinbase_value_sats: SUBSIDY + 1,
        ..tip(1, 100)
    };
    book.on_tip(generous, Instant::now()).unwrap();
    book.on_template(template(tip(1, 100)), Instant::now())
        .unwrap();
    let corrected = work(&book);
    assert_eq!(
        (
            corrected.tip_number,
            corrected.first.message.coinbase_tx_value_remaining
        ),
        (2, SUBSIDY)
    );
}

#[test]
fn miners_begin_at_the_nodes_time_and_never_before_the_earliest() {
    let (book, start) = (book(), Instant::now());
    book.on_tip(tip(1, 100), start).unwrap();
    assert_eq!(
        work(&book).new_prev_hash.header_timestamp,
        NOW - 3600,
        "no time of the node yet"
    );
    book.on_template(template(tip(1, 100)), start).unwrap();
    book.on_tip(tip(2, 101), start + Duration::from_secs(90))
        .unwrap();
    assert_eq!(work(&book).new_prev_hash.header_timestamp, NOW + 90);
    let fast = NodeTip {
        min_time_unix_s: NOW + 7000,
        ..tip(3, 102)
    };
    book.on_template(template(fast), start + Duration::from_secs(91))
        .unwrap();
    assert_eq!(
        work(&book).new_prev_hash.header_timestamp,
        NOW + 7000,
        "many blocks in a second, as on regtest"
    );
    // an hour without a block: miners begin at the present time again
    let lasting = |after: u32| NodeTemplate {
        current_time_unix_s: NOW + after,
        ..template(tip(2, 101))
    };
    book.on_template(lasting(91), start).unwrap();
    let begun = work(&book);
    assert_eq!(book.on_template(lasting(91 + 3_600), start), Ok(false));
    assert_eq!(book.on_template(lasting(92 + 3_600), start), Ok(true));
    assert_eq!(work(&book).tip_number, begun.tip_number + 1);
    assert_eq!(work(&book).new_prev_hash.header_timestamp, NOW + 92 + 3_600);
}

#[test]
fn what_the_node_says_wrongly_leaves_the_work_as_it_was() {
    let book = book();
    book.on_template(template(tip(1, 100)), Instant::now())
        .unwrap();
    let before = work(&book);
    let mut transactions = transactions(&mut Random::new(), 3);
    transactions[1].depends = vec![1];
    let wrong = |change: &dyn Fn(&mut NodeTemplate)| {
        let mut wrong = template(tip(2, 101));
        change(&mut wrong);
        book.on_template(wrong, Instant::now())
    };
    assert_eq!(
        wrong(&|one| one.transactions = transactions.clone()),
        Err(TemplateError::Order)
    );
    assert_eq!(wrong(&|one| one.tip.bits = 0), Err(TemplateError::Target));
    assert_eq!(
        wrong(&|one| one.tip.bits = 0xffff_ffff),
        Err(TemplateError::Target)
    );
    assert_eq!(
        wrong(&|one| one.tip.coinbase_value_sats = u64::MAX),
        Err(TemplateError::Value)
    );
    assert_eq!(
        wrong(&|one| one.weight_limit = 4_000),
        Err(TemplateError::NoRoom)
    );
    assert!(Arc::ptr_eq(&work(&book), &before));
}

#[test]
fn subsidies_are_reckoned_from_totals() {
    let transactions = transactions(&mut Random::new(), 20);
    let fees: u64 = transactions.iter().map(|one| one.fee_sats).sum();
    assert_eq!(
        NodeTip::subsidy(SUBSIDY + fees, &transactions),
        Some(SUBSIDY)
    );
    assert_eq!(NodeTip::subsidy(fees, &transactions), Some(0));
    assert_eq!(
        fees.checked_sub(1)
            .and_then(|less| NodeTip::subsidy(less, &transactions)),
        None
    );
}

#[test]
fn additional_outputs_stand_before_the_commitment_and_make_new_work() {
    let book = WorkBook::new(WorkOptions {
        max_additional_value_sats: 1_000,
        ..WorkOptions::default()
    });
    book.set_additional(
        "late",
        vec![AdditionalOutput {
            script: vec![0x6a, 1, 2],
            value_sats: 0,
        }],
    )
    .unwrap();
    book.on_template(template(tip(1, 100)), Instant::now())
        .unwrap();
    let one = work(&book);
    assert_eq!(one.latest.message.coinbase_tx_outputs_count, 2);
    let pays = AdditionalOutput {
        script: vec![0x51],
        value_sats: 700,
    };
    assert_eq!(book.set_additional("early", vec![pays.clone()]), Ok(true));
    assert_eq!(book.set_additional("early", vec![pays]), Ok(false));
    let two = work(&book);
    assert_eq!(
        (two.tip_number, two.latest.message.coinbase_tx_outputs_count),
        (1, 3)
    );
    assert_eq!(
        two.latest.message.coinbase_tx_value_remaining,
        SUBSIDY - 700
    );
    let made = coinbase(&two.latest, 1);
    let scripts: Vec<&[u8]> = made
        .output
        .iter()
        .map(|output| output.script_pubkey.as_bytes())
        .collect();
    assert_eq!(scripts[1..3], [&[0x51][..], &[0x6a, 1, 2]]);
    assert!(scripts[3].starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]));
    check(
        &mine(&book, solution(&two.latest, &made)).unwrap(),
        &two.latest,
    );
    let floods = (0..100).map(|number| AdditionalOutput {
        script: vec![0x6a, 1, number],
        value_sats: 0,
    });
    let taken = floods.filter(|output| book.set_additional("early", vec![output.clone()]).is_ok());
    assert!(
        taken.count() < 12,
        "every change is a new job for every miner"
    );
    assert_eq!(book.set_additional("early", vec![]), Ok(true));
    assert_eq!(book.set_additional("late", vec![]), Ok(true));
    assert_eq!(work(&book).latest.message.coinbase_tx_outputs_count, 1);
}

#[test]
fn transactions_that_constraints_leave_no_room_for_go_with_all_that_need_them() {
    let mut random = Random::new();
    let all = transactions(&mut random, 300);
    let weight: u32 = all.iter().map(|one| one.weight).sum();
    let sigops: u32 = all.iter().map(|one| one.sigops).sum();
    let book = book();
    let node = NodeTemplate {
        transactions: all.clone(),
        weight_limit: weight + 10_000,
        sigop_limit: sigops + 400,
        ..template(tip(1, 100))
    };
    book.on_template(node, Instant::now()).unwrap();
    let whole = work(&book).latest.clone();
    assert_eq!(whole.transactions.len(), 300);
    let small = Constraints {
        output_bytes: 0,
        sigop_cost: 0,
    };
    assert!(
        Arc::ptr_eq(&book.view(small).unwrap().unwrap().template, &whole),
        "who needs less shares the template"
    );
    let mut last = whole.id;
    for constraints in [
        Constraints {
            output_bytes: 3_000,
            sigop_cost: 0,
        },
        Constraints {
            output_bytes: 0,
            sigop_cost: 500,
        },
        Constraints {
            output_bytes: 9_000,
            sigop_cost: 600,
        },
    ] {
        let view = book.view(constraints).unwrap().unwrap();
        let kept = view.template.transactions.len();
        assert!(kept < 300 && view.template.id > last, "{kept}");
        last = view.template.id;
        let fees: u64 = all[..kept].iter().map(|one| one.fee_sats).sum();
        assert_eq!(
            view.template.message.coinbase_tx_value_remaining,
            SUBSIDY + fees
        );
        assert_eq!(view.new_prev_hash.template_id, view.template.id);
        check(
            &mine(
                &book,
                solution(&view.template, &coinbase(&view.template, 7)),
            )
            .unwrap(),
            &view.template,
        );
        assert!(Arc::ptr_eq(
            &book.view(constraints).unwrap().unwrap().template,
            &view.template
        ));
        // one transaction more would have been one too many
        let used: u64 = all[..=kept].iter().map(|one| u64::from(one.weight)).sum();
        let operations: u32 = all[..=kept].iter().map(|one| one.sigops).sum();
        let full =
            used + 4 * u64::from(constraints.output_bytes) + 1_200 > u64::from(weight + 10_000);
        assert!(full || operations + constraints.sigop_cost > sigops + 400);
    }
    let impossible = Constraints {
        output_bytes: u32::MAX,
        sigop_cost: 0,
    };
    assert_eq!(
        book.view(impossible).unwrap_err(),
        ConstraintsError::TooLarge
    );
    assert_eq!(
        book.view(Constraints {
            output_bytes: 0,
            sigop_cost: u32::MAX
        })
        .unwrap_err(),
        ConstraintsError::TooLarge
    );
}

#[test]
fn bytes_of_the_nodes_message_are_not_kept_alive() {
    let mut random = Random::new();
    let mut all = transactions(&mut random, 2);
    let message = bytes::Bytes::from([all[0].raw.clone(), all[1].raw.clone()].concat());
    let first = all[0].raw.len();
    all[0].raw = message.slice(..first);
    all[1].raw = message.slice(first..);
    let book = book();
    book.on_template(
        NodeTemplate {
            transactions: all,
            ..template(tip(1, 100))
        },
        Instant::now(),
    )
    .unwrap();
    assert!(message.is_unique());
    check(
        &mine(
            &book,
            solution(&work(&book).latest, &coinbase(&work(&book).latest, 1)),
        )
        .unwrap(),
        &work(&book).latest,
    );
}
