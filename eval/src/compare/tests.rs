use std::collections::BTreeMap;

use super::*;
use crate::curve::tests::judged;
use crate::curve::{CurveConfig, points, summary};
use crate::judged::{Cost, LeftOut};
use crate::method::Method;
use crate::report::{About, Beside, build};
use crate::scalar::Scalar;

/// A report of pairs whose vote is right, with a scalar model, a separate Meta RM and known costs.
fn report(model: &str) -> Report {
    let mut items: Vec<_> =
        (0..4).map(|at| judged(&format!("query {at}"), &[(9.0, 2.0, 1.0); 4])).collect();
    for (at, item) in items.iter_mut().enumerate() {
        item.request.item.id = at.to_string();
        item.cost = Cost { prompt_tokens: 600, generated_tokens: 400, total_ms: 8000 };
    }
    let reward = |at: usize| (at.to_string(), vec![Some(1.0), Some(0.0)]);
    let scalar = Scalar {
        name: "reward-model".to_owned(),
        rewards: (0..4).map(reward).collect(),
        tokens: 150.0,
        seconds: 0.5,
        ..Scalar::default()
    };
    let beside = Beside { scalars: vec![scalar], ranking: (2000.0, 4.0) };
    let methods = vec![Method::Vote, Method::Meta];
    let curve = CurveConfig { ks: vec![2, 4], methods, n_draws: 4, seed: 1 };
    let about = About { model: Some(model.to_owned()), ..About::default() };
    assert!(
        summary(&items, &points(&items, &curve)[&(Method::Vote, 4)], |_| true).accuracy.is_some()
    );
    build(about, &items, LeftOut::default(), &curve, &beside)
}

fn tokens_of(rows: &[Row]) -> BTreeMap<String, (f64, f64, f64)> {
    let name = |row: &Row| match row.k {
        Some(k) => format!("{}@{k}", row.method),
        None => row.method.clone(),
    };
    rows.iter()
        .map(|row| (name(row), (row.read_tokens, row.generated_tokens, row.seconds)))
        .collect()
}

#[test]
fn tokens_are_those_of_prompts_and_ranking_too_and_a_scalar_models_are_told() {
    let rows = rows(&[("a.json".to_owned(), report("small"))]);
    let tokens = tokens_of(&rows);
    assert_eq!(tokens["vote@2"], (600.0, 200.0, 4.0));
    assert_eq!(tokens["vote@4"], (600.0, 400.0, 8.0));
    assert_eq!(tokens["meta@4"], (2600.0, 400.0, 12.0));
    assert_eq!(tokens["scalar"], (150.0, 0.0, 0.5));
    let table = table(&[("a|b.json".to_owned(), report("small"))], &rows);
    assert!(
        table.contains("| reward-model | scalar |  | 100.0 | 100.0 to 100.0 | 150 | 0 | 0.5 |"),
        "{table}"
    );
}

#[test]
fn the_picture_has_a_line_for_each_method_of_each_report() {
    let reports = ["small.json", "large.json"].map(|name| (name.to_owned(), report(name)));
    let rows = rows(&reports);
    let drawn = svg(&rows).unwrap();
    for name in ["small.json, vote", "small.json, meta", "large.json, vote", "reward-model, scalar"]
    {
        assert!(drawn.contains(name), "{name}: {drawn}");
    }
    assert!(drawn.contains("accuracy against tokens an item") && drawn.contains("against seconds"));
    assert!(png(&rows).unwrap().starts_with(b"\x89PNG"));
    assert!(svg(&[]).is_ok(), "reports without a figure are an empty picture");
}
