mod again;
mod law;

use std::fs;
use std::path::PathBuf;

use jury_grm::digest::item_digest;
use jury_grm::domain::{Item, Provenance, Query, ReasonCode};
use jury_proto::{ErrorCode, JuryError};
use tempfile::TempDir;

use super::super::Place;
use super::super::fixture::{unscored, verdict};
use super::super::resume::Before;
use super::*;
use crate::ClientError;

/// What the verdicts of the fixture were asked with.
fn request() -> ScoreRequest {
    let settings = verdict("a").provenance.settings;
    let item = Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]);
    ScoreRequest { settings, seed: 7, ..ScoreRequest::new(item) }
}

fn place(number: u64) -> Place {
    Place { line: number + 1, number }
}

fn judged(number: u64, id: &str) -> Event {
    Event::Judged(place(number), Box::new(verdict(id)))
}

/// The item of a verdict, with nothing of its own but its id.
fn item(id: &str) -> Item {
    Item { id: id.to_owned(), ..Item::bare(Query::Text("q".to_owned()), vec!["r".to_owned()]) }
}

/// The item of this id whose query is `query`.
fn asking(id: &str, query: &str) -> Item {
    Item { query: Query::Text(query.to_owned()), ..item(id) }
}

/// A verdict on what `item` asks.
fn verdict_of(item: &Item) -> Verdict {
    let mut verdict = verdict(&item.id);
    verdict.provenance.item_digest = Some(item_digest(item));
    verdict
}

fn judged_item(number: u64, item: &Item) -> Event {
    Event::Judged(place(number), Box::new(verdict_of(item)))
}

fn lines_of(items: &[&Item]) -> String {
    items.iter().map(|item| json_line(&verdict_of(item)).unwrap()).collect()
}

impl Finished {
    /// True when the item of this id has its verdict.
    fn has(&self, id: &str) -> bool {
        matches!(self.before(&item(id)), Before::Judged(_))
    }

    /// That the item has its verdict.
    fn known_item(&self, number: u64, item: &Item) -> Event {
        let Before::Judged(known) = self.before(item) else { panic!("{} has none", item.id) };
        Event::Known(place(number), known)
    }

    /// That the item has a verdict, and is judged again all the same.
    fn again(&self, number: u64, id: &str) -> Event {
        let Before::Again(known) = self.before(&item(id)) else { panic!("{id} is not") };
        Event::Again(place(number), known)
    }

    fn known(&self, number: u64, id: &str) -> Event {
        self.known_item(number, &item(id))
    }
}

fn failed_call(number: u64) -> Event {
    let JuryError { code, message, field, retry_delay } =
        JuryError::new(ErrorCode::Overloaded, "too much");
    Event::Failed(place(number), ClientError { code, message, field, retry_delay, attempts: 1 })
}

fn lines(ids: &[&str]) -> String {
    ids.iter().map(|id| json_line(&verdict(id)).unwrap()).collect()
}

/// An output and its journal, in a folder of their own.
struct Output {
    folder: TempDir,
}

impl Output {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn holding(text: &str) -> Self {
        let output = Self::new();
        fs::write(output.path(), text).unwrap();
        output
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("verdicts.jsonl")
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("verdicts.jsonl.journal")
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn is_alone(&self) -> bool {
        fs::read_dir(self.folder.path()).unwrap().count() == 1
    }

    fn open(&self, onto: Onto) -> Result<(Sink, Finished), SinkError> {
        Sink::file(&self.path(), onto, &request(), true)
    }
}

#[test]
fn a_batch_goes_on_after_the_last_whole_verdict() {
    let output = Output::holding(&(lines(&["a"]) + "{\"item_id\":"));
    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    assert!(finished.has("a") && !finished.has("b"));
    sink.take(&finished.known(0, "a")).unwrap();
    sink.take(&judged(1, "b")).unwrap();
    assert_eq!(output.read(), lines(&["a", "b"]));
}

#[test]
fn a_verdict_before_its_turn_waits_in_the_journal_and_outlives_a_kill() {
    let output = Output::new();
    let (mut sink, _) = output.open(Onto::Nothing).unwrap();
    sink.take(&judged(1, "b")).unwrap();
    drop(sink);
    assert_eq!(output.read(), "");
    assert!(
        matches!(output.open(Onto::Nothing), Err(SinkError::NotEmpty { name }) if name.ends_with(".journal"))
    );

    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    assert!(finished.has("b"));
    sink.take(&finished.known(1, "b")).unwrap();
    sink.take(&judged(0, "a")).unwrap();
    assert_eq!(output.read(), lines(&["a", "b"]));
    sink.finish().unwrap();
    assert!(output.is_alone());
}

#[test]
fn an_end_by_a_signal_leaves_all_verdicts_in_the_file_in_order() {
    let output = Output::new();
    let (mut sink, _) = output.open(Onto::Nothing).unwrap();
    for (number, id) in [(4, "e"), (2, "c"), (0, "a")] {
        sink.take(&judged(number, id)).unwrap();
    }
    assert_eq!(output.read(), lines(&["a"]));
    sink.finish().unwrap();
    assert_eq!(output.read(), lines(&["a", "c", "e"]));
    assert!(output.is_alone());
}

#[test]
fn a_file_is_as_it_was_until_the_first_verdict_comes() {
    let retried = json_line(&unscored("b", ReasonCode::Budget)).unwrap();
    let before = lines(&["a"]) + &retried + &lines(&["c"]) + "{\"item";
    let output = Output::holding(&before);
    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    assert!(!finished.has("b"));
    sink.take(&finished.known(0, "a")).unwrap();
    drop(sink);
    assert_eq!(output.read(), before);

    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    for event in
        [finished.known(0, "a"), finished.again(1, "b"), finished.known(2, "c"), judged(1, "b")]
    {
        sink.take(&event).unwrap();
    }
    assert_eq!(output.read(), lines(&["a", "b", "c"]));
}

#[test]
fn the_first_verdict_of_a_run_says_who_judges_the_others() {
    for onto in [Onto::Nothing, Onto::Same, Onto::SameWhole, Onto::Any] {
        let output = Output::new();
        let (mut sink, _) = output.open(onto).unwrap();
        sink.take(&judged(0, "a")).unwrap();
        let mut other = verdict("b");
        other.provenance.model_digest = Some("fedcba9876543210".to_owned());
        let taken = sink.take(&Event::Judged(place(1), Box::new(other)));
        assert_eq!(taken.is_ok(), onto == Onto::Any, "{onto:?}");
        sink.take(&judged(2, "c")).unwrap();
    }
}

#[test]
fn verdicts_of_items_that_the_batch_has_no_more_come_last() {
    let output = Output::holding(&lines(&["x", "a", "y", "a"]));
    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    sink.take(&finished.known(0, "a")).unwrap();
    sink.take(&judged(1, "b")).unwrap();
    sink.finish().unwrap();
    assert_eq!(output.read(), lines(&["a", "b", "x", "y", "a"]));
}

#[test]
fn a_line_in_both_files_counts_once() {
    let output = Output::holding(&lines(&["a", "c"]));
    fs::write(output.journal(), lines(&["c", "d"])).unwrap();
    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    for event in
        [finished.known(0, "a"), judged(1, "b"), finished.known(2, "c"), finished.known(3, "d")]
    {
        sink.take(&event).unwrap();
    }
    sink.finish().unwrap();
    assert_eq!(output.read(), lines(&["a", "b", "c", "d"]));
}

#[test]
fn the_verdict_of_an_item_that_has_changed_goes_when_its_own_is_there_and_no_sooner() {
    let (old, new, b) = (asking("a", "old"), asking("a", "new"), asking("b", "q"));
    let before = lines_of(&[&old, &b]);
    for ordered in [true, false] {
        let output = Output::holding(&before);
        let open = || Sink::file(&output.path(), Onto::Any, &request(), ordered).unwrap();
        let (mut sink, finished) = open();
        assert_eq!(finished.before(&new), Before::Changed);
        sink.take(&finished.known_item(1, &b)).unwrap();
        sink.take(&failed_call(0)).unwrap();
        sink.finish().unwrap();
        assert_eq!(read_verdicts(&output.path()).unwrap().len(), 2, "{ordered}");

        let (mut sink, finished) = open();
        sink.take(&judged_item(0, &new)).unwrap();
        sink.take(&finished.known_item(1, &b)).unwrap();
        sink.finish().unwrap();
        let now = if ordered { [&new, &b] } else { [&b, &new] };
        assert_eq!(output.read(), lines_of(&now));
        assert!(output.is_alone());
    }
}

#[test]
fn a_verdict_that_does_not_tell_what_was_judged_is_not_compared() {
    let output = Output::holding(&lines(&["a"]));
    let (_, finished) = output.open(Onto::Same).unwrap();
    assert!(matches!(finished.before(&asking("a", "anything")), Before::Judged(_)));
}

#[test]
fn without_order_verdicts_come_as_they_are_ready_behind_those_before() {
    let retried = json_line(&unscored("a", ReasonCode::Budget)).unwrap();
    let before = retried + &lines(&["b"]);
    let output = Output::holding(&before);
    let (mut sink, _) = Sink::file(&output.path(), Onto::Same, &request(), false).unwrap();
    sink.take(&judged(2, "c")).unwrap();
    assert_eq!(output.read(), before + &lines(&["c"]));
    sink.take(&judged(0, "a")).unwrap();
    sink.finish().unwrap();
    assert_eq!(output.read(), lines(&["b", "c", "a"]));
    assert!(output.is_alone());
}

#[test]
fn verdicts_are_never_overwritten_and_never_written_by_two() {
    let output = Output::holding(&lines(&["a"]));
    assert!(matches!(output.open(Onto::Nothing), Err(SinkError::NotEmpty { .. })));
    let first = output.open(Onto::Same).unwrap();
    assert!(matches!(output.open(Onto::Same), Err(SinkError::InUse { .. })));
    drop(first);
    assert_eq!(output.read(), lines(&["a"]));
}

#[test]
fn a_verdict_by_another_judge_is_not_written_beside_the_first() {
    let output = Output::holding(&lines(&["a"]));
    let mut other = verdict("b");
    other.provenance.model_digest = Some("fedcba9876543210".to_owned());
    let other = Event::Judged(place(1), Box::new(other));
    for (onto, is_written) in [(Onto::Same, false), (Onto::Any, true)] {
        let (mut sink, finished) = output.open(onto).unwrap();
        sink.take(&finished.known(0, "a")).unwrap();
        assert_eq!(sink.take(&other).is_ok(), is_written);
        sink.finish().unwrap();
        assert_eq!(output.read().lines().count(), 1 + usize::from(is_written));
    }
}

#[test]
fn who_could_judge_now_is_held_to_who_judged_before_even_where_nothing_is_left_to_judge() {
    let output = Output::holding(&lines(&["a"]));
    let same = verdict("a").provenance;
    let same = same.model_digest.as_deref().unwrap();
    let judge = |model_digest| ServedJudge { model: "m", model_digest, numerics: "cpu-2" };
    for (onto, digests, is_same) in [
        (Onto::Same, &[same][..], true),
        (Onto::Same, &["fedcba9876543210", same], true),
        (Onto::Same, &["fedcba9876543210"], false),
        (Onto::Any, &["fedcba9876543210"], true),
        // Nobody is there yet, or nobody tells.
        (Onto::Same, &[], true),
    ] {
        let (sink, _) = output.open(onto).unwrap();
        let judges: Vec<_> = digests.iter().map(|digest| judge(digest)).collect();
        assert_eq!(sink.hold(&judges).is_ok(), is_same, "{digests:?}");
        assert_eq!(sink.numerics(), (onto == Onto::Same).then_some("cpu-1"));
    }
}

#[test]
fn an_error_names_the_file() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let (mut sink, _) = Sink::file(full, Onto::Nothing, &request(), true).unwrap();
    let error = sink.take(&judged(0, "a")).unwrap_err();
    assert!(matches!(&error, SinkError::Io { name, .. } if name == "/dev/full"), "{error}");
}
