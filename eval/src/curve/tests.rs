use jury_grm::domain::{
    FailureKind, Finish, Item, Outcome, Query, SampleSpec, ScoreRequest, Scores, Settings,
};
use jury_grm::plan::plan;

use super::*;
use crate::draws::Orders;
use crate::judged::Cost;
use crate::split::query_key;
use crate::trajectories::DrawnBy;

/// An item whose first response is best, with samples given as (score of the best, score of the other, meta score).
pub(crate) fn judged(query: &str, samples: &[(f64, f64, f64)]) -> Judged {
    let responses = vec!["right".to_owned(), "wrong".to_owned()];
    let item = Item { best: Some(0), ..Item::bare(Query::Text(query.to_owned()), responses) };
    let sample = |(&(best, other, meta), index): (&(f64, f64, f64), u32)| {
        let order = if index % 2 == 0 { vec![0, 1] } else { vec![1, 0] };
        let scores = if index % 2 == 0 { vec![best, other] } else { vec![other, best] };
        let spec = SampleSpec { index, seed: 0, order };
        Sample { meta_score: Some(meta), ..scored(spec, scores) }
    };
    Judged {
        key: query_key(&item),
        truth: Truth::Best(0),
        duplicate_of: vec![0, 1],
        orders: Orders { block: 2, round: 1 },
        samples: samples.iter().zip(0..).map(sample).collect(),
        greedy: None,
        lowest_score: 1.0,
        cost: Cost::default(),
        drawn_by: DrawnBy::default(),
        request: ScoreRequest::new(item),
    }
}

fn scored(spec: SampleSpec, scores: Vec<f64>) -> Sample {
    Sample {
        outcome: Outcome::Scored(Scores {
            scores,
            score_distribution: None,
            readout_mass: None,
            forced: false,
        }),
        finish: Finish::Box,
        ..Sample::failed(spec, FailureKind::NoBox, "")
    }
}

/// An item with a single response, with samples that score it.
fn single(query: &str, source: &str, label: f64, samples: &[f64]) -> Judged {
    let mut judged = judged(query, &vec![(0.0, 0.0, 0.0); samples.len()]);
    judged.request.item.source = Some(source.to_owned());
    judged.request.item.responses.truncate(1);
    (judged.truth, judged.duplicate_of) = (Truth::Single(label), vec![0]);
    let spec = |index| SampleSpec { index, seed: 0, order: vec![0] };
    let samples = samples.iter().zip(0..);
    judged.samples = samples.map(|(score, index)| scored(spec(index), vec![*score])).collect();
    judged.orders = Orders::of(&judged.samples);
    judged.greedy = Some(judged.samples[..1].to_vec());
    judged
}

fn auc(items: &[Judged], method: Method, k: usize) -> f64 {
    let plan = CurveConfig { ks: vec![1, 2, 4], methods: vec![method], n_draws: 64, seed: 1 };
    let (area, interval) =
        summary(items, &points(items, &plan)[&(method, k)], |_| true).auc.unwrap();
    let [low, high] = interval.unwrap();
    assert!(low <= area && area <= high, "{low} {area} {high}");
    area
}

fn accuracy(items: &[Judged], method: Method, k: usize) -> f64 {
    let plan = CurveConfig { ks: vec![1, 2, 4], methods: vec![method], n_draws: 64, seed: 1 };
    let points = points(items, &plan);
    summary(items, &points[&(method, k)], |_| true).accuracy.unwrap()
}

/// Three samples are wrong and one is right, and the perfect Meta RM knows which.
const RARELY_RIGHT: [(f64, f64, f64); 4] =
    [(9.0, 2.0, 5.0), (4.0, 5.0, -5.0), (4.0, 7.0, -5.0), (4.0, 7.0, -4.0)];

#[test]
fn an_oracle_that_ranks_lifts_accuracy_as_computed_by_hand() {
    let items: Vec<Judged> = (0..8).map(|i| judged(&format!("query {i}"), &RARELY_RIGHT)).collect();
    // All four: (9 + 4 + 4 + 4) / 4 = 5.25 and (2 + 5 + 7 + 7) / 4 = 5.25: a tie, which is wrong.
    assert_eq!(accuracy(&items, Method::Vote, 4), 0.0);
    // The two that rank highest: (9 + 4) / 2 = 6.5 and (2 + 7) / 2 = 4.5.
    assert_eq!(accuracy(&items, Method::Meta, 4), 1.0);
    // Majority: one of four picks the right response.
    assert_eq!(accuracy(&items, Method::Majority, 4), 0.0);
    // One sample, from any block: right in one of four.
    let one = accuracy(&items, Method::Vote, 1);
    assert!((0.15..0.35).contains(&one), "{one}");
}

#[test]
fn a_method_without_what_it_needs_has_no_point() {
    let mut item = judged("q", &RARELY_RIGHT);
    item.samples[2].meta_score = None;
    let methods = vec![Method::Meta, Method::Expected, Method::Greedy, Method::Vote];
    let plan = CurveConfig { ks: vec![2, 8], methods, n_draws: 4, seed: 1 };
    let points = points(&[item], &plan);
    let keys: Vec<_> = points.keys().copied().collect();
    assert_eq!(keys, [(Method::Vote, 2)], "and none for more samples than there are");
}

#[test]
fn paired_differences_are_of_the_same_items() {
    let items: Vec<Judged> =
        (0..12).map(|i| judged(&format!("query {i}"), &RARELY_RIGHT)).collect();
    let plan =
        CurveConfig { ks: vec![4], methods: vec![Method::Vote, Method::Meta], n_draws: 4, seed: 1 };
    let points = points(&items, &plan);
    let paired = paired(&items, &points[&(Method::Meta, 4)], &points[&(Method::Vote, 4)]).unwrap();
    assert_eq!((paired.difference, paired.interval), (1.0, [1.0, 1.0]));
}

#[test]
fn the_same_seed_gives_the_same_curve() {
    let items = [judged("a", &RARELY_RIGHT), judged("b", &RARELY_RIGHT)];
    let plan = CurveConfig { ks: vec![1, 2], methods: vec![Method::Vote], n_draws: 16, seed: 9 };
    assert_eq!(points(&items, &plan), points(&items, &plan));
    let other = CurveConfig { seed: 10, ..plan.clone() };
    assert_ne!(points(&items, &plan), points(&items, &other));
}

#[test]
fn a_method_that_ranks_is_not_measured_on_samples_that_all_failed() {
    let mut failed = judged("q", &RARELY_RIGHT);
    for sample in &mut failed.samples {
        *sample = Sample::failed(sample.spec.clone(), FailureKind::NoBox, "");
    }
    let methods = vec![Method::Vote, Method::Meta, Method::Expected];
    let plan = CurveConfig { ks: vec![4], methods, n_draws: 8, seed: 1 };
    let found: Vec<Method> =
        points(&[failed], &plan).into_keys().map(|(method, _)| method).collect();
    assert_eq!(found, [Method::Vote]);
}

#[test]
fn the_auc_of_one_sample_is_that_of_one_sample() {
    // Three of four samples rank the good ones above the bad ones, so four together always do.
    let good = (0..20).map(|i| single(&format!("good {i}"), "s", 1.0, &[9.0, 9.0, 9.0, 1.0]));
    let bad = (0..20).map(|i| single(&format!("bad {i}"), "s", 0.0, &[5.0; 4]));
    let mut items: Vec<Judged> = good.chain(bad).collect();
    assert_eq!(auc(&items, Method::Vote, 4), 1.0);
    let one = auc(&items, Method::Vote, 1);
    assert!((0.70..0.80).contains(&one), "{one}");
    assert_eq!(auc(&items, Method::Greedy, 1), 1.0);
    // A draw without a reward contributes nothing, and the others keep their share.
    for judged in &mut items[..20] {
        let sample = &mut judged.samples[3];
        *sample = Sample::failed(sample.spec.clone(), FailureKind::NoBox, "");
    }
    assert_eq!(auc(&items, Method::Vote, 1), 1.0);
}

#[test]
fn labels_are_good_or_bad_on_the_scale_of_their_source() {
    let of_scale =
        |at: u32| single(&format!("a {at}"), "a", f64::from(at % 5), &[f64::from(at % 5)]);
    let of_two =
        |at: u32| single(&format!("b {at}"), "b", f64::from(at % 2), &[f64::from(at % 2 * 9)]);
    let items: Vec<Judged> = (0..10).map(of_scale).chain((0..10).map(of_two)).collect();
    let config = CurveConfig { ks: vec![1], methods: vec![Method::Vote], n_draws: 4, seed: 1 };
    let point = &points(&items, &config)[&(Method::Vote, 1)];
    for source in ["a", "b"] {
        let is_of = |judged: &Judged| judged.item().source.as_deref() == Some(source);
        assert_eq!(summary(&items, point, is_of).auc.map(|(area, _)| area), Some(1.0), "{source}");
    }
    // A file of good ones and a file of bad ones share one scale.
    let files =
        [("good", 1.0), ("bad", 0.0)].map(|(file, label)| single(file, file, label, &[label]));
    assert_eq!(auc(&files, Method::Vote, 1), 1.0);
}

#[test]
fn an_item_in_panels_is_measured_on_no_less_than_a_round() {
    let responses = (0..16).map(|at| at.to_string()).collect();
    let item = Item { best: Some(3), ..Item::bare(Query::Text("q".to_owned()), responses) };
    let request = ScoreRequest::new(item);
    let samples = |k: u32| -> Vec<Sample> {
        let settings = Settings { k, ..request.settings.clone() };
        let planned = plan(&ScoreRequest { settings, ..request.clone() });
        let score = |response: &usize| if *response == 3 { 9.0 } else { 2.0 };
        let specs = planned.samples.into_iter();
        specs.map(|spec| scored(spec.clone(), spec.order.iter().map(score).collect())).collect()
    };
    let judged = Judged {
        truth: Truth::Best(3),
        duplicate_of: (0..16).collect(),
        orders: Orders::of(&samples(7)),
        samples: samples(7),
        greedy: Some(samples(1)),
        request: request.clone(),
        ..judged("q", &[])
    };
    let methods = vec![Method::Greedy, Method::Vote];
    let config = CurveConfig { ks: vec![1, 3], methods, n_draws: 64, seed: 1 };
    let items = [judged];
    for ((method, k), point) in points(&items, &config) {
        let strict = point.credits[&0].strict;
        assert_eq!((strict, point.n_samples[&0]), (1.0, k.max(2) as u64), "{method}@{k}");
    }
}
