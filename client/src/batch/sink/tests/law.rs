//! The law of a file: runs that are cut short in any way, and then one that is not.

use std::collections::HashSet;

use jury_grm::domain::Status;
use proptest::prelude::*;

use super::*;

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
    /// PARTIAL, then UNSCORED for a reason that may pass, then no verdict, and then a whole one.
    Wavering,
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
        1 => Just(Fate::Wavering),
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
    /// Only whole verdicts are wanted.
    whole: bool,
    fates: &'a [Fate],
    /// What each of them asks.
    queries: Vec<&'static str>,
    /// How often each item was asked for.
    asked: Vec<usize>,
    /// The items whose verdicts were taken for good.
    taken: HashSet<usize>,
    /// The items that have rewards, be they PARTIAL.
    rewarded: HashSet<usize>,
}

impl Batch<'_> {
    fn item(&self, item: usize) -> Item {
        asking(&item.to_string(), self.queries[item])
    }

    /// Another query under the same id: what was judged counts no more.
    fn change(&mut self, item: usize) {
        self.queries[item] = "another query";
        self.taken.remove(&item);
        self.rewarded.remove(&item);
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
            Fate::Wavering if self.whole && !passed(1) => {
                Verdict { status: Status::Partial, ..verdict(&id) }
            }
            Fate::Wavering if self.whole && !passed(2) => unscored(&id, ReasonCode::Budget),
            Fate::Wavering if self.whole && !passed(3) => return failed_call(number),
            Fate::Judged | Fate::Passing(_) | Fate::Failing(_) | Fate::Wavering => verdict(&id),
        };
        verdict.provenance.item_digest = Some(item_digest(&self.item(item)));
        let is_passing =
            matches!(&verdict.reasons[0], Some(reason) if reason.code == ReasonCode::Budget);
        if !is_passing && verdict.status != Status::Partial {
            self.taken.insert(item);
        }
        if verdict.status != Status::Unscored {
            self.rewarded.insert(item);
        }
        Event::Judged(place(number), Box::new(verdict))
    }

    /// Runs until `answers` are used up, or to the end; leaves the sink open.
    fn run(&mut self, in_flight: usize, answers: Option<&[usize]>) -> Sink {
        let onto = if self.whole { Onto::SameWhole } else { Onto::Same };
        let opened = Sink::file(&self.output.path(), onto, &request(), self.ordered);
        let (mut sink, finished) = opened.unwrap();
        let stored = read_verdicts(&self.output.path()).unwrap();
        for &item in &self.rewarded {
            let is_there = stored.iter().any(|verdict| {
                verdict.is_of(&self.item(item)) && verdict.status != Status::Unscored
            });
            assert!(is_there, "the rewards of item {item} are lost");
        }
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
                    Before::Again(known) => {
                        sink.take(&Event::Again(place(next as u64), known)).unwrap();
                        open.push(next);
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
        let is_there = |item: usize, and_whole: bool| {
            let starts = format!("{{\"item_id\":\"{item}\",");
            let digest = item_digest(&self.item(item));
            let is_of_item = |line: &str| {
                line.starts_with(&starts)
                    && line.contains(&digest)
                    && line.ends_with('\n')
                    && !line.contains("\"budget\"")
                    && !(and_whole && line.contains("\"PARTIAL\""))
            };
            files.iter().any(|file| file.split_inclusive('\n').any(is_of_item))
        };
        let there = |items: &HashSet<usize>, and_whole| -> HashSet<usize> {
            items.iter().copied().filter(|&item| is_there(item, and_whole)).collect()
        };
        let (taken, rewarded) = (there(&self.taken, true), there(&self.rewarded, false));
        assert!(self.taken.len() - taken.len() <= 1, "one write loses one verdict");
        assert!(self.rewarded.len() - rewarded.len() <= 1, "one write loses the rewards of one");
        (self.taken, self.rewarded) = (taken, rewarded);
    }
}

proptest! {
    #[test]
    fn runs_that_were_cut_short_and_one_that_was_not_leave_the_bytes_of_one(
        ordered in any::<bool>(),
        whole in any::<bool>(),
        items in prop::collection::vec((fate(), any::<bool>()), 0..9),
        cuts in prop::collection::vec(cut(), 0..5),
        cuts_after in prop::collection::vec(cut(), 0..3),
    ) {
        let output = Output::new();
        let (fates, changes): (Vec<Fate>, Vec<bool>) = items.into_iter().unzip();
        let n_items = fates.len();
        let queries = vec!["a query"; n_items];
        let mut batch = Batch { output: &output, ordered, whole, fates: &fates, queries, asked: vec![0; n_items], taken: HashSet::new(), rewarded: HashSet::new() };
        for cut in &cuts {
            batch.cut_short(cut);
        }
        (0..n_items).filter(|&item| changes[item]).for_each(|item| batch.change(item));
        for cut in &cuts_after {
            batch.cut_short(cut);
        }
        // As often as the most patient item asks for.
        for _ in 0..4 {
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
