use std::collections::HashSet;

use clap::Parser;
use jury_eval::split::query_key;
use jury_grm::domain::limits;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::args::{Args, Command};

/// `jury eval FILES --quiet` and `more`, with files of these contents.
fn config(folder: &TempDir, files: &[(&str, &str)], more: &[&str]) -> EvalConfig {
    let paths = files.iter().map(|(name, content)| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let line: Vec<String> = ["jury", "eval", "--quiet"].map(str::to_owned).to_vec();
    let more = more.iter().map(|word| (*word).to_owned());
    let args = Args::try_parse_from(line.into_iter().chain(paths).chain(more)).unwrap();
    let Command::Eval(args) = args.command else { panic!("not eval") };
    EvalConfig::try_from(args.run).unwrap()
}

fn ids(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| &*item.id).collect()
}

fn pair(id: &str, query: &str) -> String {
    json!({"id": id, "query": query, "responses": ["yes", "no"], "best": 0}).to_string()
}

/// Lines that are not valid items of the file, each with a part of its error.
fn bad_lines() -> Vec<(String, &'static str)> {
    let responses: Vec<String> = (0..=limits::MAX_RESPONSES).map(|at| at.to_string()).collect();
    let crowd = json!({"id": "crowd", "query": "q", "responses": responses, "best": 0});
    let beyond = json!({"id": "beyond", "query": "q", "responses": ["a", "b"], "best": 7});
    vec![
        (pair("a", "another query"), "its id \"a\" is that of line 1"),
        (crowd.to_string(), "responses"),
        (beyond.to_string(), "best"),
        (pair("empty", "  "), "query"),
    ]
}

#[test]
fn items_that_nobody_can_judge_are_left_out_by_their_line_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec![pair("a", "q")];
    lines.extend(bad_lines().into_iter().map(|(line, _)| line));
    lines.push(pair("z", "q"));
    let config = config(&folder, &[("items.jsonl", &lines.join("\n"))], &[]);
    let found = chosen(&config, &mut LeftOut::default(), &Meter::new(true)).unwrap();
    assert_eq!(ids(&found), ["a", "z"]);
    assert_eq!(found[0].query, jury_grm::domain::Query::Text("q".to_owned()), "the first stays");
}

#[test]
fn strict_refuses_each_of_them_with_file_and_line() {
    for (line, problem) in bad_lines() {
        let folder = tempfile::tempdir().unwrap();
        let content = [pair("a", "q"), line].join("\n");
        for replay in [&["--strict"][..], &["--strict", "--replay"]] {
            let config = config(&folder, &[("items.jsonl", &content)], replay);
            let refused = chosen(&config, &mut LeftOut::default(), &Meter::new(true)).unwrap_err();
            let told = refused.error.to_string();
            assert_eq!(refused.exit, Exit::BadData, "{told}");
            assert!(told.contains("items.jsonl, line 2: ") && told.contains(problem), "{told}");
        }
    }
}

#[test]
fn files_may_use_the_same_ids_and_a_file_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (pair("a", "one"), [pair("a", "two"), pair("a", "three")].join("\n"));
    let files = [("one.jsonl", &*first), ("two.jsonl", &*second)];
    let found =
        chosen(&config(&folder, &files, &[]), &mut LeftOut::default(), &Meter::new(true)).unwrap();
    assert_eq!(ids(&found), ["a", "two:a"]);
}

#[test]
fn the_parts_of_a_file_with_nearly_equal_queries_share_none() {
    // Each query four times: unchanged, in capitals, with other punctuation, and unchanged under another id.
    let written = |at: usize| {
        let query = format!("What is the capital of country {at}?");
        let forms = [query.clone(), query.to_uppercase(), query.replace([' ', '?'], " - "), query];
        let line = |(form, query): (usize, &String)| pair(&format!("{at}-{form}"), query);
        forms.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let lines: Vec<String> = (0..40).flat_map(written).collect();
    let folder = tempfile::tempdir().unwrap();
    let chosen_by = |seed: &str, part: &str| {
        let more = ["--part", part, "--split-seed", seed];
        let config = config(&folder, &[("items.jsonl", &lines.join("\n"))], &more);
        chosen(&config, &mut LeftOut::default(), &Meter::new(true)).unwrap()
    };
    for seed in ["0", "1", "2"] {
        let [train, test] = ["train", "test"].map(|part| chosen_by(seed, part));
        let keys = |items: &[Item]| items.iter().map(query_key).collect::<HashSet<_>>();
        let (of_train, of_test) = (keys(&train), keys(&test));
        assert!(of_train.is_disjoint(&of_test), "seed {seed}");
        assert_eq!((train.len() + test.len(), of_train.len() + of_test.len()), (160, 40));
        assert!(!train.is_empty() && !test.is_empty());
        let all: HashSet<&str> = [ids(&train), ids(&test)].concat().into_iter().collect();
        assert_eq!(all.len(), 160, "every item is of one part");
    }
}
