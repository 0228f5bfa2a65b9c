//! `jury eval` with a real model, and killed with a tiny one.

use std::fs;

use serde_json::{Value, json};

use super::process::{jury, jury_command, model_path};
use super::sandbox::stable_bytes;
use super::tiny;

/// Three items, one of them without a known best response, and a line that is none.
const ITEMS: &str = r#"{"id": "capital", "query": "What is the capital of Australia?", "responses": ["Canberra.", "Sydney."], "best": 0}
{"id": "sum", "query": "What is 2 + 2?", "responses": ["5", "4"], "labels": [0, 1], "category": "maths"}
{"id": "open", "query": "Tell me a story.", "responses": ["Once.", "Twice."]}
no item
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
    assert!(ended.stderr.contains("line 4"), "{}", ended.stderr);
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
    for name in ["report.md", "curve.svg", "curve.png", "samples.parquet"] {
        assert!(fs::metadata(format!("{out}/{name}")).unwrap().len() > 0, "{name}");
    }

    // A kill in the middle of a line loses that line's item alone.
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

    let other = jury(&["eval", &items, "--out", &out, "--limit", "1", "--model", &model]);
    assert_eq!(other.code, Some(64), "{}", other.stderr);
    assert!(other.stderr.contains("other items"), "{}", other.stderr);
}

const MANY: usize = 60;

/// What ends an evaluation takes no verdict that was written, and none is drawn a second time: lines keep their bytes, those of
/// `run` included, which are never the same twice.
#[test]
fn an_evaluation_that_is_killed_loses_nothing_and_judges_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let items = path("items.jsonl");
    let line = |at: usize| {
        let query = format!("What is in inn {at}?");
        json!({"id": at.to_string(), "query": query, "responses": ["a hat", "a tin"], "best": at % 2}).to_string()
    };
    fs::write(&items, (0..MANY).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let model = tiny::model(folder.path(), "llama");
    let settings = ["--k", "2", "--max-critique-tokens", "2", "--model", &model, "--quiet"];
    let command = |out: &str| {
        let mut command = jury_command();
        command.args(["eval", &items, "--out", out]).args(settings);
        command.stdout(std::process::Stdio::null());
        command
    };
    let lines = |out: &str, name: &str| {
        let text = fs::read_to_string(format!("{out}/{name}")).unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let whole = path("whole");
    // A judge of random weights gives legal scores too little, so there are no rewards.
    const UNSCORED: Option<i32> = Some(3);
    assert_eq!(command(&whole).status().unwrap().code(), UNSCORED);

    let out = path("killed");
    let mut written = Vec::new();
    for (file, most) in [("verdicts.jsonl", 7), ("verdicts.jsonl", 25), ("greedy.jsonl", 11)] {
        let mut child = command(&out).spawn().unwrap();
        while lines(&out, file).len() < most && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        for name in ["verdicts.jsonl", "greedy.jsonl"] {
            written.extend(lines(&out, name));
            written.extend(lines(&out, &format!("{name}.journal")));
        }
    }
    assert_eq!(command(&out).status().unwrap().code(), UNSCORED);
    for name in ["verdicts.jsonl", "greedy.jsonl"] {
        let (found, expected) = (lines(&out, name), lines(&whole, name));
        let stable = |lines: &[String]| -> Vec<String> {
            lines.iter().map(|line| stable_bytes(&serde_json::from_str(line).unwrap())).collect()
        };
        assert_eq!(found.len(), MANY);
        assert_eq!(stable(&found), stable(&expected), "{name}");
    }
    let kept = [lines(&out, "verdicts.jsonl"), lines(&out, "greedy.jsonl")].concat();
    assert!(written.len() > 7, "{}", written.len());
    for line in &written {
        assert!(kept.contains(line), "judged twice: {line}");
    }
}
