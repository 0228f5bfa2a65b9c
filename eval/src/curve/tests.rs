use jury_grm::domain::{
    FailureKind, Finish, Item, Outcome, Query, SampleSpec, ScoreRequest, Scores,
};

use super::*;
use crate::judged::Cost;
use crate::split::query_key;
use crate::trajectories::DrawnBy;

/// An item whose first response is best, with samples that score (best, other) and have a meta score.
pub(crate) fn judged(query: &str, samples: &[(f64, f64, f64)]) -> Judged {
    let responses = vec!["right".to_owned(), "wrong".to_owned()];
    let item = Item { best: Some(0), ..Item::bare(Query::Text(query.to_owned()), responses) };
    let sample = |(&(best, other, meta), index): (&(f64, f64, f64), u32)| {
        let order = if index % 2 == 0 { vec![0, 1] } else { vec![1, 0] };
        let scores = if index % 2 == 0 { vec![best, other] } else { vec![other, best] };
        let spec = SampleSpec { index, seed: 0, order };
        Sample {
            outcome: Outcome::Scored(Scores {
                scores,
                score_distribution: None,
                readout_mass: None,
                forced: false,
            }),
            finish: Finish::Box,
            meta_score: Some(meta),
            ..Sample::failed(spec, FailureKind::NoBox, "")
        }
    };
    Judged {
        key: query_key(&item),
        truth: Truth::Best(0),
        duplicate_of: vec![0, 1],
        block: 2,
        samples: samples.iter().zip(0..).map(sample).collect(),
        greedy: None,
        lowest_score: 1.0,
        cost: Cost::default(),
        drawn_by: DrawnBy::default(),
        request: ScoreRequest::new(item),
    }
}

fn accuracy(items: &[Judged], method: Method, k: usize) -> f64 {
    let plan = CurveConfig { ks: vec![1, 2, 4], methods: vec![method], n_draws: 64, seed: 1 };
    let points = points(items, &plan);
    summary(items, &points[&(method, k)], |_| true).accuracy.unwrap()
}

/// Three samples are wrong and one is right; the oracle's Meta RM knows which.
const RARELY_RIGHT: [(f64, f64, f64); 4] =
    [(9.0, 2.0, 5.0), (4.0, 5.0, -5.0), (4.0, 7.0, -5.0), (4.0, 7.0, -4.0)];

#[test]
fn an_oracle_that_ranks_lifts_accuracy_as_computed_by_hand() {
    let items: Vec<Judged> = (0..8).map(|i| judged(&format!("query {i}"), &RARELY_RIGHT)).collect();
    // All four: (9 + 4 + 4 + 4) / 4 = 5.25 and (2 + 5 + 7 + 7) / 4 = 5.25: a tie, which is wrong.
    assert_eq!(accuracy(&items, Method::Vote, 4), 0.0);
    // The two that rank highest: (9 + 4) / 2 = 6.5 and (2 + 7) / 2 = 4.5.
    assert_eq!(accuracy(&items, Method::Meta, 4), 1.0);
    // Majority: one of four picks the right one.
    assert_eq!(accuracy(&items, Method::Majority, 4), 0.0);
    // One sample, whichever block it comes from: right in one of four.
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
