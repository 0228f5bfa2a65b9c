//! `jury eval` with a real model, and killed with a tiny one.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::process::{jury, jury_command, model_path};
use super::sandbox::stable_bytes;
use super::tiny;

/// Three items, one without a known best response, an invalid line, a repeated id, and a best index beyond the
/// responses.
const ITEMS: &str = r#"{"id": "capital", "query": "What is the capital of Australia?", "responses": ["Canberra.", "Sydney."], "best": 0}
{"id": "sum", "query": "What is 2 + 2?", "responses": ["5", "4"], "labels": [0, 1], "category": "maths"}
{"id": "open", "query": "Tell me a story.", "responses": ["Once.", "Twice."]}
no item
{"id": "sum", "query": "What is 3 + 3?", "responses": ["6", "7"], "best": 0}
{"id": "beyond", "query": "What is 1 + 1?", "responses": ["2", "3"], "best": 7}
"#;

#[test]
fn an_evaluation_reports_every_method_and_k_and_goes_on_without_drawing_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (items, out, report) = (path("items.jsonl"), path("run"), path("report.json"));
    fs::write(&items, ITEMS).unwrap();
    let model = model_path();
    let settings =
        ["--k", "1,2,4", "--max-critique-tokens", "24", "--draws", "8", "--model", &model];
    let run = |more: &[&str]| {
        let command = ["eval", &items, "--out", &out, "--json", &report];
        jury(&[&command[..], &settings[..], more].concat())
    };

    let ended = run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for named in
        ["line 4: not JSON", "line 5: its id \"sum\" is that of line 2", "line 6: item.best"]
    {
        assert!(ended.stderr.contains(&format!("items.jsonl, {named}")), "{}", ended.stderr);
    }
    let strict = run(&["--strict", "--replay"]);
    assert_eq!(strict.code, Some(65), "{}", strict.stderr);
    assert!(strict.stderr.contains("line 4: not JSON"), "{}", strict.stderr);
    let first = fs::read(&report).unwrap();
    let read: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(read["n_items"], 2, "the one without a truth is left out");
    for method in ["vote", "expected", "majority"] {
        for k in ["1", "2", "4"] {
            let cell = &read["curve"][method][k];
            assert!(cell["accuracy"].is_number() && cell["interval"].is_array(), "{cell}");
            assert_eq!(
                (&cell["n_items"], &cell["n_samples"]),
                (&2.into(), &(2 * k.parse::<u64>().unwrap()).into())
            );
        }
    }
    assert_eq!(read["curve"]["greedy"]["1"]["n_items"], 2);
    assert_eq!(read["baselines"]["random"]["accuracy"], 0.5);
    let files =
        ["report.md", "curve.svg", "curve.png", "stopping.svg", "stopping.png", "samples.parquet"];
    for name in files {
        assert!(fs::metadata(format!("{out}/{name}")).unwrap().len() > 0, "{name}");
    }

    // A kill in the middle of a line loses only that line's item.
    let verdicts = format!("{out}/verdicts.jsonl");
    let whole = fs::read(&verdicts).unwrap();
    fs::write(&verdicts, &whole[..whole.len() - 10]).unwrap();
    assert_eq!(run(&[]).code, Some(0));
    let strip = |report: &[u8]| {
        let mut report: Value = serde_json::from_slice(report).unwrap();
        report["cost"]["seconds"] = Value::Null;
        report
    };
    assert_eq!(strip(&fs::read(&report).unwrap()), strip(&first));

    let replayed = run(&["--replay"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    assert_eq!(strip(&fs::read(&report).unwrap()), strip(&first));

    let compared = jury(&["eval", "compare", &report, &report]);
    assert!(compared.stdout.contains("| method | k |"), "{}", compared.stdout);
    let picture = path("compared.png");
    let compared = jury(&["eval", "compare", &report, &report, "--picture", &picture]);
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let unknown = jury(&["eval", "compare", &report, &report, "--picture", &path("a.gif")]);
    assert_eq!(unknown.code, Some(64), "{}", unknown.stderr);
    let tested = jury(&["eval", "report", &out, "--response", "1", "--min-samples", "1"]);
    assert_eq!(tested.code, Some(0), "{}", tested.stderr);
    assert!(tested.stdout.contains("response 2, judged by"), "{}", tested.stdout);
    let beyond = jury(&["eval", "report", &out, "--response", "2"]);
    assert_eq!(beyond.code, Some(65), "{}", beyond.stderr);

    let other = jury(&["eval", &items, "--out", &out, "--limit", "1", "--model", &model]);
    assert_eq!(other.code, Some(64), "{}", other.stderr);
    assert!(other.stderr.contains("other items"), "{}", other.stderr);
}

/// An evaluation of `n` items that is killed and resumed repeatedly.
struct Killed<'a> {
    folder: &'a Path,
    n: usize,
    settings: &'a [&'a str],
    /// The exit code of an evaluation that is not killed.
    code: i32,
}

// === impl Killed ===

impl Killed<'_> {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn write_items(&self) {
        let line = |at: usize| {
            let query = format!("What is in inn {at}?");
            json!({"id": at.to_string(), "query": query, "responses": ["a hat", "a tin"], "best": at % 2}).to_string()
        };
        let lines: Vec<String> = (0..self.n).map(line).collect();
        fs::write(self.path("items.jsonl"), lines.join("\n")).unwrap();
    }

    fn command(&self, out: &str) -> Command {
        let mut command = jury_command();
        command.args(["eval", &self.path("items.jsonl"), "--out", &self.path(out), "--quiet"]);
        command.args(self.settings).stdout(Stdio::null());
        command
    }

    /// Complete lines of a file.
    fn lines(&self, out: &str, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(out).join(name)).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(str::to_owned).collect()
    }

    /// Kills it each time that the named file has a given number of lines. The kill must lose no verdict that was
    /// written, and none is drawn a second time: lines keep their bytes, including those of `run`, which are never the
    /// same twice.
    fn loses_nothing_and_judges_nothing_twice(&self, kills: &[(&str, usize)]) {
        self.write_items();
        assert_eq!(self.command("whole").status().unwrap().code(), Some(self.code));
        let mut written = Vec::new();
        for &(file, most) in kills {
            let mut child = self.command("killed").spawn().unwrap();
            while self.lines("killed", file).len() < most && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
            for name in ["verdicts.jsonl", "greedy.jsonl"] {
                written.extend(self.lines("killed", name));
                written.extend(self.lines("killed", &format!("{name}.journal")));
            }
        }
        assert_eq!(self.command("killed").status().unwrap().code(), Some(self.code));
        for name in ["verdicts.jsonl", "greedy.jsonl"] {
            let (found, expected) = (self.lines("killed", name), self.lines("whole", name));
            let stable = |lines: &[String]| -> Vec<String> {
                let bytes = |line: &String| stable_bytes(&serde_json::from_str(line).unwrap());
                lines.iter().map(bytes).collect()
            };
            assert_eq!(found.len(), self.n);
            assert_eq!(stable(&found), stable(&expected), "{name}");
        }
        let kept =
            [self.lines("killed", "verdicts.jsonl"), self.lines("killed", "greedy.jsonl")].concat();
        assert!(!written.is_empty());
        for line in &written {
            assert!(kept.contains(line), "judged twice: {line}");
        }
    }
}

#[test]
fn an_evaluation_that_is_killed_loses_nothing_and_judges_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny::model(folder.path(), "llama");
    let settings = ["--k", "2", "--max-critique-tokens", "2", "--model", &model];
    // A judge with random weights gives the legal scores too little probability, so there are no rewards.
    let killed = Killed { folder: folder.path(), n: 60, settings: &settings, code: 3 };
    let kills = [("verdicts.jsonl", 7), ("verdicts.jsonl", 25), ("greedy.jsonl", 11)];
    killed.loses_nothing_and_judges_nothing_twice(&kills);
}

#[test]
fn a_kill_in_the_middle_of_items_that_score_changes_no_figure() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_path();
    let settings = ["--k", "2", "--max-critique-tokens", "4", "--model", &model];
    let killed = Killed { folder: folder.path(), n: 8, settings: &settings, code: 0 };
    killed.loses_nothing_and_judges_nothing_twice(&[("verdicts.jsonl", 3), ("greedy.jsonl", 2)]);
    let report = |out: &str| -> Value {
        let text = fs::read_to_string(folder.path().join(out).join("report.json")).unwrap();
        let mut report: Value = serde_json::from_str(&text).unwrap();
        report["cost"]["seconds"] = Value::Null;
        report
    };
    assert_eq!(report("killed"), report("whole"));
    assert_eq!(report("whole")["curve"]["vote"]["2"]["n_items"], 8);
    assert!(report("whole")["parse_failed"].as_f64().unwrap() < 0.5, "they do score");
}
