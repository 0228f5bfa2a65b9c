use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use jury_grm::digest::item_digest;
use jury_grm::domain::{Item, Provenance, Query, ReasonCode};
use jury_proto::{ErrorCode, JuryError};
use proptest::prelude::*;
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
    assert_eq!((finished.n_to_retry(), finished.has("b")), (1, false));
    sink.take(&finished.known(0, "a")).unwrap();
    drop(sink);
    assert_eq!(output.read(), before);

    let (mut sink, finished) = output.open(Onto::Same).unwrap();
    for event in [finished.known(0, "a"), finished.known(2, "c"), judged(1, "b")] {
        sink.take(&event).unwrap();
    }
    assert_eq!(output.read(), lines(&["a", "b", "c"]));
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
    let output = Output::holding(&(retried + &lines(&["b"])));
    let (mut sink, _) = Sink::file(&output.path(), Onto::Same, &request(), false).unwrap();
    sink.take(&judged(2, "c")).unwrap();
    assert_eq!(output.read(), lines(&["b", "c"]));
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

/// What becomes of an item when it is asked for.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Judged,
    /// UNSCORED for good.
    Unscored,
    /// UNSCORED for a reason that may pass, this many times.
    Passing(usize),
    /// No verdict, this many times.
    Failing(usize),
}

/// A run that does not come to its end.
#[derive(Debug, Clone)]
struct Cut {
    /// Which of the items in flight is answered next, out of how many.
    answers: Vec<usize>,
    in_flight: usize,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// Ctrl-C.
    Signal,
    /// SIGKILL, while the last this many bytes of the output or of its journal were being written.
    Kill { output: bool, missing: u64 },
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Judged),
        1 => Just(Fate::Unscored),
        1 => (0..3_usize).prop_map(Fate::Passing),
        1 => (0..3_usize).prop_map(Fate::Failing),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    let end = prop_oneof![
        Just(End::Signal),
        (any::<bool>(), 0..30_u64).prop_map(|(output, missing)| End::Kill { output, missing }),
    ];
    (prop::collection::vec(0..5_usize, 0..12), 1..5_usize, end)
        .prop_map(|(answers, in_flight, end)| Cut { answers, in_flight, end })
}

/// Items that are judged by one run after the other.
struct Batch<'a> {
    output: &'a Output,
    ordered: bool,
    fates: &'a [Fate],
    /// What each of them asks.
    queries: Vec<&'static str>,
    /// How often each item was asked for.
    asked: Vec<usize>,
    /// The items whose verdicts were taken for good.
    taken: HashSet<usize>,
}

impl Batch<'_> {
    fn item(&self, item: usize) -> Item {
        asking(&item.to_string(), self.queries[item])
    }

    /// Another query under the same id: what was judged counts no more.
    fn change(&mut self, item: usize) {
        self.queries[item] = "another query";
        self.taken.remove(&item);
    }

    fn answer(&mut self, item: usize) -> Event {
        assert!(!self.taken.contains(&item), "item {item} is judged twice");
        self.asked[item] += 1;
        let (number, id) = (item as u64, item.to_string());
        let passed = |times: usize| self.asked[item] > times;
        let mut verdict = match self.fates[item] {
            Fate::Failing(times) if !passed(times) => return failed_call(number),
            Fate::Passing(times) if !passed(times) => unscored(&id, ReasonCode::Budget),
            Fate::Unscored => unscored(&id, ReasonCode::ParseFailed),
            Fate::Judged | Fate::Passing(_) | Fate::Failing(_) => verdict(&id),
        };
        verdict.provenance.item_digest = Some(item_digest(&self.item(item)));
        if !matches!(&verdict.reasons[0], Some(reason) if reason.code == ReasonCode::Budget) {
            self.taken.insert(item);
        }
        Event::Judged(place(number), Box::new(verdict))
    }

    /// Runs until `answers` are used up, or to the end; leaves the sink open.
    fn run(&mut self, in_flight: usize, answers: Option<&[usize]>) -> Sink {
        let opened = Sink::file(&self.output.path(), Onto::Same, &request(), self.ordered);
        let (mut sink, finished) = opened.unwrap();
        for &item in &self.taken {
            let before = finished.before(&self.item(item));
            assert!(matches!(before, Before::Judged(_)), "the verdict of item {item} is lost");
        }
        let mut answers = answers.map(|answers| answers.iter());
        let mut next = 0;
        let mut open = Vec::new();
        loop {
            while next < self.fates.len() && open.len() < in_flight {
                match finished.before(&self.item(next)) {
                    Before::Judged(known) => {
                        sink.take(&Event::Known(place(next as u64), known)).unwrap();
                    }
                    Before::Changed | Before::Nothing => open.push(next),
                }
                next += 1;
            }
            let choice = match &mut answers {
                Some(answers) => answers.next().copied(),
                None => Some(self.asked.len() / 2),
            };
            let Some(choice) = choice.filter(|_| !open.is_empty()) else { return sink };
            let item = open.remove(choice % open.len());
            let event = self.answer(item);
            sink.take(&event).unwrap();
        }
    }

    fn cut_short(&mut self, cut: &Cut) {
        let sink = self.run(cut.in_flight, Some(&cut.answers));
        let End::Kill { output, missing } = cut.end else { return sink.finish().unwrap() };
        drop(sink);
        // The last line was not whole yet, so it was not taken yet, or is still in the journal.
        let path = if output { self.output.path() } else { self.output.journal() };
        let Ok(text) = fs::read_to_string(&path) else { return };
        let Some(last) = text.split_inclusive('\n').next_back() else { return };
        let missing = missing.min(last.len() as u64);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(text.len() as u64 - missing)
            .unwrap();
        if missing > 0 {
            self.forget_unwritten();
        }
    }

    /// A verdict that is in neither file was being written when the process was killed. Those that may pass are none.
    fn forget_unwritten(&mut self) {
        let files = [self.output.path(), self.output.journal()]
            .map(|path| fs::read_to_string(path).unwrap_or_default());
        let is_there = |item: &usize| {
            let starts = format!("{{\"item_id\":\"{item}\",");
            let digest = item_digest(&self.item(*item));
            let is_of_item = |line: &str| {
                line.starts_with(&starts)
                    && line.contains(&digest)
                    && line.ends_with('\n')
                    && !line.contains("\"budget\"")
            };
            files.iter().any(|file| file.split_inclusive('\n').any(is_of_item))
        };
        let before = self.taken.len();
        let there = self.taken.iter().copied().filter(is_there).collect();
        self.taken = there;
        assert!(before - self.taken.len() <= 1, "one write loses one verdict");
    }
}

proptest! {
    #[test]
    fn runs_that_were_cut_short_and_one_that_was_not_leave_the_bytes_of_one(
        ordered in any::<bool>(),
        items in prop::collection::vec((fate(), any::<bool>()), 0..9),
        cuts in prop::collection::vec(cut(), 0..5),
        cuts_after in prop::collection::vec(cut(), 0..3),
    ) {
        let output = Output::new();
        let (fates, changes): (Vec<Fate>, Vec<bool>) = items.into_iter().unzip();
        let n_items = fates.len();
        let queries = vec!["a query"; n_items];
        let mut batch = Batch { output: &output, ordered, fates: &fates, queries, asked: vec![0; n_items], taken: HashSet::new() };
        for cut in &cuts {
            batch.cut_short(cut);
        }
        (0..n_items).filter(|&item| changes[item]).for_each(|item| batch.change(item));
        for cut in &cuts_after {
            batch.cut_short(cut);
        }
        // As often as the most patient item asks for.
        for _ in 0..3 {
            batch.run(3, None).finish().unwrap();
        }
        let expected = std::iter::zip(0.., &fates).map(|(item, fate): (usize, _)| {
            let item = batch.item(item);
            let verdict = match fate {
                Fate::Unscored => unscored(&item.id, ReasonCode::ParseFailed),
                _ => verdict(&item.id),
            };
            let item_digest = Some(item_digest(&item));
            let provenance = Provenance { item_digest, ..verdict.provenance };
            json_line(&Verdict { provenance, ..verdict }).unwrap()
        });
        let (mut expected, found): (Vec<String>, String) = (expected.collect(), output.read());
        let mut found: Vec<&str> = found.split_inclusive('\n').collect();
        if !ordered {
            expected.sort();
            found.sort_unstable();
        }
        prop_assert_eq!(found, expected);
        prop_assert!(output.is_alone());
    }
}
