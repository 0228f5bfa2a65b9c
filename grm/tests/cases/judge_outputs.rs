//! `judge-outputs.jsonl`: texts of judges, parsed as free output.

use std::collections::HashSet;

use jury_grm::domain::{FailureKind, Finish, Outcome, Scale};
use jury_grm::parse::{ScoreShape, parse_free};
use serde::Deserialize;

/// A text, and the expected result: either scores, or the kind of failure and a part of its message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Responses that the judge was shown.
    n: usize,
    scale: [i32; 2],
    text: String,
    scores: Option<Vec<f64>>,
    failure: Option<FailureKind>,
    /// A part of the failure's detail.
    detail: Option<String>,
}

#[test]
fn each_text_gives_what_it_must() {
    let lines = include_str!("judge-outputs.jsonl").lines();
    let cases: Vec<Case> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!((names.len(), cases.len()), (33, 33));
    for Case { name, n, scale: [min, max], text, scores, failure, detail } in cases {
        let shape = ScoreShape::new(n, Scale { min, max });
        let outcome = parse_free(&text, &shape, Finish::EndOfText).outcome;
        match (&outcome, scores, failure) {
            (Outcome::Scored(read), Some(scores), None) => {
                assert_eq!(read.scores, scores, "{name}");
            }
            (Outcome::Failed { failure: read }, None, Some(kind)) => {
                assert_eq!(read.kind, kind, "{name}: {}", read.detail);
                let named = detail.unwrap_or_default();
                assert!(read.detail.contains(&named), "{name}: {}", read.detail);
            }
            (outcome, ..) => panic!("{name}: {outcome:?}"),
        }
    }
}
