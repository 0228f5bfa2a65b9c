//! `content-shapes.jsonl`: items whose texts are in the forms that chat clients use.

use std::collections::HashMap;

use jury_grm::domain::{Item, Turn};
use jury_grm::plan::content_digest;
use serde::Deserialize;
use serde_json::Value;

/// An item, and the expected result: its turns, or an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    item: Value,
    /// As `role: content`.
    turns: Option<Vec<String>>,
    /// The same item in another form: it gets the same seeds, and so the same rewards.
    same_as: Option<String>,
    /// If they are not plain texts.
    responses: Option<Vec<String>>,
    /// If it is not a plain text.
    id: Option<String>,
    /// How the error begins: with the path of the value that is not text, and its type.
    refused: Option<String>,
}

fn shown(turn: &Turn) -> String {
    let role = serde_json::to_value(turn.role).unwrap();
    format!("{}: {}", role.as_str().unwrap(), turn.content)
}

fn digest(item: &Item) -> impl PartialEq + std::fmt::Debug + use<> {
    content_digest(item, &[0, 1])
}

#[test]
fn each_item_reads_as_what_it_says_or_is_refused_by_name_and_path() {
    let lines = include_str!("content-shapes.jsonl").lines();
    let cases: Vec<Case> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 13);
    let mut items = HashMap::new();
    for case in cases {
        let read = Item::from_json(&case.item.to_string());
        if let Some(refused) = case.refused {
            let error = read.unwrap_err().to_string();
            assert!(error.starts_with(&refused), "{error}");
            continue;
        }
        let (item, unknown) = read.unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        let turns: Vec<String> = item.query.turns().iter().map(shown).collect();
        assert_eq!(Some(turns), case.turns);
        let written = || serde_json::from_value(case.item["responses"].clone()).unwrap();
        assert_eq!(item.responses, case.responses.unwrap_or_else(written));
        let written = || case.item["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(item.id, case.id.unwrap_or_else(written));
        if let Some(other) = &case.same_as {
            assert_eq!(digest(&item), digest(&items[other]));
        }
        items.insert(item.id.clone(), item);
    }
}
