use jury_grm::domain::{FailureKind, Outcome, Sample, SampleSpec, Scores};

use super::*;
use crate::trajectories::DrawnBy;

const LEAST: Least = Least { samples: 2, queries: 2 };

fn item(id: &str, query: &str) -> Item {
    let responses = vec!["right".to_owned(), "wrong".to_owned()];
    Item {
        id: id.to_owned(),
        best: Some(0),
        ..Item::bare(Query::Text(query.to_owned()), responses)
    }
}

fn trajectory(id: &str, index: u32, principles: &str, scores: [f64; 2]) -> Trajectory {
    let spec = SampleSpec { index, seed: 0, order: vec![1, 0] };
    let failed = Sample::failed(spec, FailureKind::NoBox, "");
    let outcome = Outcome::Scored(Scores {
        scores: vec![scores[1], scores[0]],
        score_distribution: None,
        readout_mass: None,
        forced: false,
    });
    Trajectory {
        item_id: id.to_owned(),
        query_key: id.to_owned(),
        source: Some("set".to_owned()),
        category: Some(if id < "c" { "first" } else { "second" }.to_owned()),
        sample: Sample { principles: principles.to_owned(), outcome, ..failed },
        is_correct: Some(scores[0] > scores[1]),
        drawn_by: DrawnBy { model: "m".to_owned(), ..DrawnBy::default() },
    }
}

/// Samples that consider style lose, those that consider facts win.
fn planted() -> (Vec<Item>, Vec<Trajectory>) {
    let items = ["a", "b", "c", "d"].map(|id| item(id, &format!("query {id}"))).to_vec();
    let of_item = |item: &Item| {
        [
            trajectory(&item.id, 0, "Style: 100 %", [2.0, 9.0]),
            trajectory(&item.id, 1, "Facts: 60 %\nClarity: 40 %", [8.0, 3.0]),
        ]
    };
    let trajectories = items.iter().flat_map(of_item).collect();
    (items, trajectories)
}

#[test]
fn what_is_lost_on_is_told_with_its_lift_and_its_worst_samples() {
    let (items, mut trajectories) = planted();
    trajectories[0].sample.outcome = trajectory("a", 0, "", [1.0, 10.0]).sample.outcome;
    let found = weakness(&items, &trajectories, Subject::Judge, LEAST);
    assert_eq!((found.n_samples, found.n_queries, found.loss), (8, 4, Some(0.5)));
    let [style, clarity, fact] = found.themes.as_slice() else { panic!("{:?}", found.themes) };
    assert_eq!(
        (&*style.name, style.loss, style.lift, style.stands_out),
        ("style", 1.0, Some(2.0), true)
    );
    assert_eq!((&*clarity.name, fact.loss, fact.lift), ("clarity", 0.0, Some(0.0)));
    let worst: Vec<(&str, f64)> =
        style.worst.iter().map(|example| (&*example.item_id, example.behind)).collect();
    assert_eq!(worst, [("a", 9.0), ("b", 7.0), ("c", 7.0)]);
    // Scores are in the order of the caller's responses, whatever order was shown.
    assert_eq!(style.worst[0].scores, [Some(1.0), Some(10.0)]);
    let categories: Vec<(&str, f64)> =
        found.categories.iter().map(|group| (&*group.name, group.loss)).collect();
    assert_eq!(categories, [("set", 0.5), ("set / first", 0.5), ("set / second", 0.5)]);
}

#[test]
fn few_samples_are_not_listed_and_unknown_ones_not_counted() {
    let (items, mut trajectories) = planted();
    trajectories.truncate(2);
    let mut unknown = trajectory("b", 0, "Rare: 1", [1.0, 1.0]);
    unknown.is_correct = None;
    trajectories.push(unknown);
    let found = weakness(&items, &trajectories, Subject::Judge, LEAST);
    assert_eq!((found.n_samples, found.n_unknown, found.themes.len()), (2, 1, 0));
    let nothing = weakness(&[], &[], Subject::Judge, LEAST);
    assert_eq!((nothing.loss, nothing.n_samples), (None, 0));
    assert!(markdown(&nothing).contains("Nothing has enough samples."));
}

#[test]
fn hostile_texts_stay_within_their_line() {
    let query = "# Owned\n\n| a | <img src=x onerror=alert(1)> [x](javascript:alert(1))";
    let mut items = planted().0;
    items[0] = item("a", query);
    let mut trajectories = planted().1;
    trajectories[0].sample.critique = "```\n## All is well\n<script>".to_owned();
    trajectories[0].sample.principles = "Style | <b>bold</b>: 1".to_owned();
    let text = markdown(&weakness(&items, &trajectories, Subject::Judge, LEAST));
    assert!(
        !text.contains("<img") && !text.contains("<script") && !text.contains("\n# Owned"),
        "{text}"
    );
    assert!(!text.contains("](javascript") && !text.contains("\n## All"), "{text}");
    assert!(text.contains("\\# Owned  \\| a \\| &lt;img"), "{text}");
}

#[test]
fn a_source_of_one_category_is_named_once() {
    let (items, mut trajectories) = planted();
    for trajectory in &mut trajectories {
        trajectory.category = Some("only".to_owned());
    }
    let found = weakness(&items, &trajectories, Subject::Judge, LEAST);
    let names: Vec<&str> = found.categories.iter().map(|group| &*group.name).collect();
    assert_eq!(names, ["set"]);
}

#[test]
fn a_model_under_test_loses_where_another_response_is_scored_higher() {
    let (items, mut trajectories) = planted();
    let of_response = |trajectories: &[Trajectory], at| {
        weakness(&items, trajectories, Subject::Response(at), LEAST)
    };
    // The best response need not be known; a tie is not a loss.
    trajectories.iter_mut().for_each(|one| one.is_correct = None);
    trajectories[1].sample.outcome = trajectory("a", 1, "", [5.0, 5.0]).sample.outcome;
    let first = of_response(&trajectories, 0);
    assert_eq!((first.n_samples, first.loss), (8, Some(0.5)));
    assert_eq!((&*first.themes[0].name, first.themes[0].loss), ("style", 1.0));
    let worst: Vec<(&str, f64)> =
        first.themes[0].worst.iter().map(|one| (&*one.item_id, one.behind)).collect();
    assert_eq!(worst, [("a", 7.0), ("b", 7.0), ("c", 7.0)]);
    let second = of_response(&trajectories, 1);
    assert_eq!((second.n_samples, second.loss), (8, Some(3.0 / 8.0)));
    let style = second.themes.iter().find(|group| group.name == "style").unwrap();
    assert_eq!((style.loss, style.worst.len()), (0.0, 0));
    let text = markdown(&second);
    assert!(text.starts_with("# What response 2, judged by m, loses on"), "{text}");
    let nobody = of_response(&trajectories, 2);
    assert_eq!((nobody.n_samples, nobody.n_unknown, nobody.loss), (0, 8, None));
}
