use jury_client::batch::{BadLine, Place};
use jury_grm::domain::Reason;
use jury_proto::{ErrorCode, JuryError};

use super::*;
use crate::score::render::sample_verdict;

fn tally() -> Tally {
    Tally::new("items.jsonl".to_owned(), Duration::from_secs(60), None)
}

fn error(code: ErrorCode) -> ClientError {
    let JuryError { code, message, field, retry_delay } = JuryError::new(code, "what happened");
    ClientError { code, message, field, retry_delay, attempts: 1 }
}

fn place(line: u64) -> Place {
    Place { line, number: line - 1 }
}

fn bad(line: u64) -> Event {
    Event::Bad { line, problem: BadLine::TooLong }
}

#[test]
fn messages_name_the_line() {
    let mut tally = tally();
    let told = tally.record(bad(1)).unwrap();
    assert!(told.starts_with("jury: items.jsonl: line 1: longer than"), "{told}");
    tally.record(Event::Asked(place(5)));
    assert_eq!(
        tally.record(Event::Failed(place(5), error(ErrorCode::Overloaded))).unwrap(),
        "jury: items.jsonl: line 5: what happened"
    );
}

#[test]
fn a_key_is_warned_of_once() {
    let mut tally = tally();
    let keys = ["colour", "colour", "size"].map(str::to_owned);
    let told = keys.map(|key| tally.record(Event::UnknownKey { line: 1, key }));
    assert_eq!(told.map(|told| told.is_some()), [true, false, true]);
}

#[test]
fn another_numerics_class_is_told_once_of_an_earlier_run_or_of_this_one() {
    let verdict = sample_verdict(&[]);
    let class = verdict.provenance.numerics.clone().unwrap();
    let other = "cuda-int8-v2";
    let earlier = Tally::new("items.jsonl".to_owned(), Duration::from_secs(60), Some(other));
    for (mut tally, is_told) in [(tally(), false), (earlier, true)] {
        (1..=2).for_each(|line| drop(tally.record(Event::Asked(place(line)))));
        let told =
            [1, 2].map(|line| tally.record(Event::Judged(place(line), Box::new(verdict.clone()))));
        assert_eq!(told.map(|told| told.is_some()), [is_told, false]);
        let told = tally.draws_in(other);
        assert_eq!(told.is_some(), !is_told, "{told:?}");
        assert!(told.is_none_or(|told| told.contains(other) && told.contains(&class)));
    }
}

#[test]
fn a_fleet_of_several_classes_is_told_of_only_where_none_is_that_of_the_earlier_run() {
    let other = "cuda-int8-v2";
    let class = sample_verdict(&[]).provenance.numerics.unwrap();
    let earlier = |numerics| Tally::new("items.jsonl".into(), Duration::from_secs(60), numerics);
    for (before, there, is_told) in [
        (Some(&*class), &[other, &*class][..], false),
        (Some(&*class), &[other], true),
        (Some(&*class), &[], false),
        // Nothing was drawn, and who of them draws is not known.
        (None, &[other, &*class], false),
    ] {
        let mut tally = earlier(before);
        assert_eq!(tally.meets(there).is_some(), is_told, "{before:?} {there:?}");
        tally.record(Event::Asked(place(1)));
        let verdict = Box::new(sample_verdict(&[]));
        assert_eq!(tally.record(Event::Judged(place(1), verdict)), None);
    }
}

#[test]
fn a_batch_ends_by_its_worst_line() {
    let mut tally = tally();
    (1..=4).for_each(|line| drop(tally.record(Event::Asked(place(line)))));
    let verdict = sample_verdict(&[]);
    let no_reason = Verdict { status: Status::Unscored, ..verdict.clone() };
    tally.record(Event::Judged(place(1), Box::new(verdict)));
    assert_eq!(tally.exit().unwrap(), Exit::Done);

    tally.record(Event::Judged(place(2), Box::new(no_reason)));
    assert_eq!(tally.exit().unwrap(), Exit::Unscored);
    tally.record(bad(5));
    assert_eq!(tally.exit().unwrap(), Exit::BadData);
    tally.record(Event::Failed(place(3), error(ErrorCode::DeadlineExceeded)));
    assert_eq!(tally.exit().unwrap(), Exit::TryAgain);
    assert_eq!(
        tally.summary(),
        "jury: items.jsonl: 2 judged, 1 of them without reward, 1 bad line, 1 failed, 1 not finished"
    );
}

#[test]
fn the_first_item_without_reward_tells_the_reason_and_the_summary_the_way_out() {
    let mut tally = tally();
    let detail = "no worker of this model is ready".to_owned();
    let reason = Reason { code: ReasonCode::NoWorker, detail };
    let verdict = Verdict {
        status: Status::Unscored,
        rewards: vec![None; 2],
        reasons: vec![Some(reason); 2],
        ..sample_verdict(&[])
    };
    (1..=2).for_each(|line| drop(tally.record(Event::Asked(place(line)))));
    let told =
        [1, 2].map(|line| tally.record(Event::Judged(place(line), Box::new(verdict.clone()))));
    let first = "jury: items.jsonl: line 1: no reward: no worker of this model is ready";
    assert_eq!(told, [Some(first.to_owned()), None], "the second has the same reason");
    assert!(tally.summary().contains("2 of them without reward; resume the batch to retry items"));
}

#[test]
fn items_in_a_row_that_met_no_worker_end_a_batch_and_one_with_a_reward_between_them_does_not() {
    let reason = Reason { code: ReasonCode::NoWorker, detail: "no worker is there".to_owned() };
    let without =
        Verdict { status: Status::Unscored, reasons: vec![Some(reason); 2], ..sample_verdict(&[]) };
    let (mut tally, with) = (tally(), sample_verdict(&[]));
    let mut nobody_draws = |verdict: &Verdict| {
        tally.record(Event::Asked(place(1)));
        tally.record(Event::Judged(place(1), Box::new(verdict.clone())));
        tally.nobody_draws()
    };
    let told = [&without, &without, &with, &without, &without, &without].map(&mut nobody_draws);
    assert_eq!(told, [None, None, None, None, None, Some(3)]);
}

#[test]
fn an_item_that_has_changed_is_told_by_its_line_and_all_of_them_in_the_summary() {
    let mut tally = tally();
    let told = [1, 2].map(|line| tally.record(Event::Changed(place(line), format!("line-{line}"))));
    let first = "jury: items.jsonl: line 1: item \"line-1\" has changed since it was judged, and is judged again";
    assert_eq!(told, [Some(first.to_owned()), None]);
    assert!(
        tally.summary().contains("2 of them again because they changed"),
        "{}",
        tally.summary()
    );
}
