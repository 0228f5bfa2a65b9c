use jury_grm::digest::item_digest;
use jury_grm::domain::{
    Counts, FailureKind, Finish, Item, Outcome, Provenance, Query, Reproducible, RunReport, Sample,
    SampleSpec, Scores, Settings, Status, StoppedBy, Usage, Verdict, Voting,
};

use super::*;
use crate::curve::tests::judged;
use crate::first::first;
use crate::judged::{Strangers, join, of_items};
use crate::report::{Report, markdown, png, svg, tradeoff_png, tradeoff_svg};
use crate::truth::Truth;

const METHODS: [Method; 4] = [Method::Vote, Method::Meta, Method::Weighted, Method::Majority];

fn report(items: &[Judged], ks: &[usize], n_draws: usize) -> Report {
    let config = CurveConfig { ks: ks.to_vec(), methods: METHODS.to_vec(), n_draws, seed: 1 };
    build(About::default(), items, LeftOut::default(), &config, &Beside::default())
}

/// Pairs of two categories: the first is always right, the second never.
fn pairs() -> Vec<Judged> {
    let pair = |at: usize| {
        let row = if at < 6 { (9.0, 2.0, 1.0) } else { (2.0, 9.0, 1.0) };
        let mut judged = judged(&format!("query {at}"), &[row; 4]);
        judged.request.item.source = Some("set".to_owned());
        judged.request.item.category = Some(if at < 6 { "easy" } else { "hard" }.to_owned());
        judged
    };
    (0..12).map(pair).collect()
}

/// Single responses; the good ones have higher scores.
fn singles() -> Vec<Judged> {
    let single = |at: u32| {
        let score = f64::from(at % 2 * 5 + at / 4);
        let mut judged = judged(&format!("single {at}"), &[(score, 1.0, 1.0); 4]);
        judged.request.item.source = Some("single".to_owned());
        judged.request.item.responses.truncate(1);
        judged.truth = Truth::Single(f64::from(at % 2));
        judged.duplicate_of = vec![0];
        for sample in &mut judged.samples {
            sample.spec.order = vec![0];
            if let Outcome::Scored(scores) = &mut sample.outcome {
                scores.scores = vec![score];
            }
        }
        judged
    };
    (0..8).map(single).collect()
}

#[test]
fn the_weighted_panel_is_compared_with_the_hard_choice_of_the_best_half() {
    let found = report(&pairs(), &[2, 4], 4);
    for k in [2, 4] {
        let is_it = |one: &&Comparison| {
            one.one == format!("weighted@{k}") && one.other == format!("meta@{k}")
        };
        let all: Vec<&Comparison> = found.comparisons.iter().filter(is_it).collect();
        let [compared] = all[..] else { panic!("{:?}", found.comparisons) };
        assert_eq!((compared.paired.difference, compared.is_planned), (0.0, false));
    }
}

#[test]
fn categories_and_sizes_have_intervals_and_single_responses_an_auc() {
    let items = [pairs(), singles()].concat();
    let found = report(&items, &[4], 1);
    let names: Vec<&String> = found.categories.keys().collect();
    assert_eq!(names, ["set", "set / easy", "set / hard", "single"]);
    let of = |groups: &BTreeMap<String, Category>, name: &str| groups[name].cells[&Method::Vote];
    let easy = of(&found.categories, "set / easy");
    assert_eq!((easy.accuracy, easy.interval), (Some(1.0), Some([1.0, 1.0])));
    assert_eq!((easy.n_items, easy.n_samples, easy.auc), (6, 24, None));
    let set = of(&found.categories, "set");
    let [low, high] = set.interval.unwrap();
    assert!(set.accuracy == Some(0.5) && low < 0.5 && high > 0.5, "{set:?}");
    let single = of(&found.sizes, "single responses");
    assert_eq!((single.accuracy, single.auc, single.n_items), (None, Some(1.0), 8));
    assert!(single.auc_interval.is_some());
    assert_eq!(of(&found.sizes, "pairs"), set, "all pairs are of one set");
    assert_eq!(found.categories["set"].accuracy[&Method::Vote], Some(0.5));
    let text = markdown(&found);
    assert!(text.contains("| set / easy | 6 | 100.0 (100.0 to 100.0)"), "{text}");
    assert!(text.contains("| single responses | 8 | 100.0 (100.0 to 100.0) AUC"), "{text}");
    let read: Report = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(read, found);
}

#[test]
fn the_trade_off_of_stopping_is_drawn_with_every_rule() {
    let mut items = pairs();
    items.iter_mut().for_each(|judged| judged.request.settings.k = 4);
    let found = report(&items, &[4], 1);
    let drawn = tradeoff_svg(&found).unwrap();
    for name in ["lossless", "confidence=0.95", "width=2", "lossless, meta", "samples saved"] {
        assert!(drawn.contains(name), "{name}: {drawn}");
    }
    assert!(tradeoff_png(&found).unwrap().starts_with(b"\x89PNG"));
}

const MANY: usize = 3000;
const K: u32 = 4;

fn item(at: usize) -> Item {
    let responses = vec!["right".to_owned(), "wrong".to_owned()];
    let category = Some(format!("category {}", at % 7));
    let query = Query::Text(format!("query {at}"));
    Item { id: at.to_string(), best: Some(0), category, ..Item::bare(query, responses) }
}

/// Right in two of three items, with samples that all agree; in one of a hundred items no sample has scores.
fn verdict(at: usize) -> Verdict {
    let sample = |index: u32| {
        let order = if index.is_multiple_of(2) { vec![0, 1] } else { vec![1, 0] };
        let of_response = if at.is_multiple_of(3) { [3.0, 8.0] } else { [8.0, 3.0] };
        let scores = order.iter().map(|response| of_response[*response]).collect();
        let spec = SampleSpec { index, seed: u64::from(index), order };
        let failed = Sample::failed(spec, FailureKind::NoBox, "");
        let scores = Scores { scores, score_distribution: None, readout_mass: None, forced: false };
        match at.is_multiple_of(100) {
            true => failed,
            false => Sample {
                outcome: Outcome::Scored(scores),
                finish: Finish::Box,
                meta_score: Some(f64::from(index)),
                ..failed
            },
        }
    };
    Verdict {
        item_id: at.to_string(),
        status: Status::Ok,
        rewards: vec![None; 2],
        reasons: vec![None; 2],
        pick: None,
        tied: Vec::new(),
        confidence: None,
        agreement: None,
        stopped_by: StoppedBy::Complete,
        voters: Vec::new(),
        weights: Vec::new(),
        meta_unavailable: None,
        counts: Counts { asked: K, ..Counts::default() },
        usage: Usage { prompt_tokens: 500, generated_tokens: 100 },
        provenance: Provenance {
            model: Some("m".to_owned()),
            model_digest: None,
            numerics: None,
            method_digest: "d".to_owned(),
            meta_digest: None,
            meta_numerics: None,
            seed: 0,
            settings: Settings { k: K, ..Settings::default() },
            voting: Voting::default().effective(K),
            min_samples: None,
            hinted: false,
            forced_panel: None,
            escaped_markers: 0,
            reproducible: Reproducible::Bitwise,
            item_digest: None,
            version: String::new(),
        },
        samples: Some((0..K).map(sample).collect()),
        run: RunReport::default(),
    }
}

#[test]
fn a_report_of_thousands_of_verdicts_is_built() {
    let items = (0..MANY).map(item).collect();
    let (judged, left_out) = join(items, (0..MANY).rev().map(verdict).collect(), Vec::new());
    assert_eq!((judged.len(), left_out), (MANY, LeftOut::default()));
    let config = CurveConfig { ks: vec![2, 4], methods: METHODS.to_vec(), n_draws: 2, seed: 1 };
    let found = build(About::default(), &judged, left_out, &config, &Beside::default());
    // Of 3000 items, 1000 are multiples of 3, 30 of 100, and 10 of both.
    let right = (3000.0 - 1000.0 - 30.0 + 10.0) / 3000.0;
    let vote = found.curve[&Method::Vote][&4];
    assert!((vote.accuracy.unwrap() - right).abs() < 1e-12, "{vote:?}");
    assert_eq!((vote.n_items, vote.n_samples, found.n_queries), (MANY, 4 * MANY as u64, MANY));
    let [low, high] = vote.interval.unwrap();
    assert!(low < right && high > right && high - low < 0.04, "{vote:?}");
    assert_eq!(found.categories.len(), 8);
    assert_eq!(found.stopping[0].n_items, MANY);
    assert!((found.parse_failed - 0.01).abs() < 1e-12);
    assert!(markdown(&found).contains("| category") || markdown(&found).contains("/ category 6"));
    assert!(svg(&found).is_ok() && png(&found).is_ok());
}

#[test]
fn the_first_samples_of_many_are_those_of_a_run_with_fewer() {
    let mut first_two = verdict(3);
    first(&mut first_two, 2);
    let samples = first_two.samples.as_deref().unwrap();
    assert_eq!(samples, &verdict(3).samples.unwrap()[..2]);
    assert_eq!((first_two.counts.asked, first_two.provenance.settings.k), (2, 2));
    let tokens = |of: fn(&Sample) -> u32| samples.iter().map(|s| u64::from(of(s))).sum::<u64>();
    assert_eq!(first_two.usage.generated_tokens, tokens(|s| s.generated_tokens));
    let (judged, left_out) = join(vec![item(3)], vec![first_two], Vec::new());
    assert_eq!((judged[0].samples.len(), left_out), (2, LeftOut::default()));
    let (mut all, whole) = (verdict(3), verdict(3));
    first(&mut all, K as usize);
    assert_eq!(all, whole, "there are no more");
}

#[test]
fn the_first_sample_of_an_item_in_panels_is_a_round() {
    let mut in_panels = verdict(3);
    for sample in in_panels.samples.iter_mut().flatten() {
        sample.spec.order.truncate(1);
    }
    first(&mut in_panels, 1);
    assert_eq!(in_panels.samples.map(|samples| samples.len()), Some(2));
    assert_eq!((in_panels.counts.asked, in_panels.provenance.settings.k), (2, 1));
}

/// Files number their items from 1, so samples of another file have the same ids.
#[test]
fn verdicts_of_something_else_under_an_items_id_are_told_apart() {
    let judged = |at: usize, of: &Item| {
        let mut verdict = verdict(at);
        verdict.provenance.item_digest = Some(item_digest(of));
        verdict
    };
    let items: Vec<Item> = (1..4).map(item).collect();
    let verdicts = vec![
        judged(1, &item(7)),
        judged(2, &items[1]),
        judged(2, &item(7)),
        judged(9, &item(9)),
        judged(1, &item(8)),
        verdict(3),
    ];
    let (kept, strangers) = of_items(&items, verdicts);
    let ids: Vec<&str> = kept.iter().map(|verdict| &*verdict.item_id).collect();
    assert_eq!(ids, ["2", "3"], "one that does not tell what it is of is taken by its id");
    let Strangers { of_others, unknown } = strangers;
    assert_eq!((of_others, unknown), (vec!["1".to_owned()], vec!["9".to_owned()]));
}
