//! Files of verdicts: their contents when a run ended early, and readers that split them into lines.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::process::{jury_command, model_path};
use super::sandbox::stable_bytes;

/// Characters that end a line for some reader. JSON itself escapes the control characters among them.
const LINE_ENDS: [char; 6] = ['\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}', '\u{1c}'];

struct Batch {
    folder: tempfile::TempDir,
}

impl Batch {
    /// Items whose texts contain line ends; the first is followed by an invalid line.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let item = |end: &char| json!({"id": format!("a{end}b"), "query": format!("Fix{end}this"), "responses": ["Yes", "No"]});
        let mut lines: Vec<String> = LINE_ENDS.iter().map(|end| item(end).to_string()).collect();
        lines.insert(1, "not json".to_owned());
        std::fs::write(folder.path().join("items.jsonl"), lines.join("\n")).unwrap();
        Self { folder }
    }

    /// Judges them one after the other.
    fn score(&self, out: &str, more: &[&str]) -> Command {
        let mut command = jury_command();
        command.current_dir(self.folder.path());
        command.args(["score", "--items", "items.jsonl", "--out", out, "--model", &model_path()]);
        command.args(["-k", "1", "--max-critique-tokens", "8", "--concurrency", "1"]).args(more);
        command
    }

    /// The same, ended by `signal` as soon as it continues after its first verdict.
    fn cut_short(&self, out: &str, signal: &str) {
        let mut child = self.score(out, &[]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(stderr.any(|line| line.contains("line 2: not JSON")));
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap();
    }

    fn verdicts(&self, out: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(out)).unwrap()
    }

    fn stable_verdicts(&self, out: &str) -> Vec<String> {
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        self.verdicts(out).lines().map(|line| stable_bytes(&read(line))).collect()
    }
}

#[test]
fn a_batch_that_was_cut_short_and_resumed_is_that_which_ran_through() {
    let batch = Batch::new();
    let ended = batch.score("whole.jsonl", &["--quiet"]).status().unwrap();
    assert_eq!(ended.code(), Some(65), "a line is no item");
    let whole = batch.stable_verdicts("whole.jsonl");
    assert_eq!(whole.len(), LINE_ENDS.len());

    for signal in ["-KILL", "-INT"] {
        let out = format!("after{signal}.jsonl");
        batch.cut_short(&out, signal);
        let n_judged = batch.verdicts(&out).lines().count();
        assert!((1..=whole.len()).contains(&n_judged), "{n_judged} verdicts after {signal}");
        let resumed = batch.score(&out, &["--resume", "--quiet"]).status().unwrap();
        assert_eq!(resumed.code(), Some(65));
        assert_eq!(batch.stable_verdicts(&out), whole, "after {signal}");
    }
    let n_files = std::fs::read_dir(batch.folder.path()).unwrap().count();
    assert_eq!(n_files, 4, "items and three outputs, no journal");
}

#[test]
fn a_verdict_is_one_line_for_every_reader() {
    let batch = Batch::new();
    batch.score("verdicts.jsonl", &["--quiet", "--samples"]).status().unwrap();
    let verdicts = batch.verdicts("verdicts.jsonl");
    let ends = |character: char| character.is_control() || LINE_ENDS.contains(&character);
    assert_eq!(verdicts.matches(ends).count(), LINE_ENDS.len());
    assert!(verdicts.ends_with('\n'));
}

#[test]
fn an_item_that_has_changed_is_judged_again_on_resume_and_the_others_are_not() {
    let batch = Batch::new();
    let record = ["--resume", "--record", "samples.parquet"];
    batch.score("out.jsonl", &record).output().unwrap();
    let before = batch.stable_verdicts("out.jsonl");
    let items = batch.folder.path().join("items.jsonl");
    let changed = std::fs::read_to_string(&items).unwrap().replacen("Yes", "Perhaps", 1);
    std::fs::write(&items, changed).unwrap();

    let ended = batch.score("out.jsonl", &record).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("line 1: item") && stderr.contains("has changed since"), "{stderr}");
    assert!(
        stderr.contains(
            "1 judged, 1 of them again because they changed, 1 bad line, 5 judged before"
        ),
        "{stderr}"
    );
    let after = batch.stable_verdicts("out.jsonl");
    assert_eq!(after[1..], before[1..]);
    assert_ne!(after[0], before[0]);
    let rows = jury_eval::trajectories::read(&batch.folder.path().join("samples.parquet"));
    assert_eq!(rows.unwrap().len(), LINE_ENDS.len(), "one sample an item");
}

#[test]
fn recorded_samples_are_those_of_the_verdicts_and_verdicts_without_any_are_told() {
    let batch = Batch::new();
    let rows = |file: &str| jury_eval::trajectories::read(&batch.folder.path().join(file)).unwrap();
    batch.score("at-once.jsonl", &["--record", "at-once.parquet"]).output().unwrap();
    let at_once = rows("at-once.parquet");
    let verdicts: Vec<Value> = batch
        .verdicts("at-once.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids = |verdict: &Value| verdict["item_id"].as_str().unwrap().to_owned();
    let of_rows: Vec<String> = at_once.iter().map(|row| row.item_id.clone()).collect();
    assert_eq!(of_rows, verdicts.iter().map(ids).collect::<Vec<_>>(), "one sample an item");
    let text = |verdict: &Value| verdict["samples"][0]["critique"].as_str().unwrap().to_owned();
    let of_rows: Vec<String> = at_once.iter().map(|row| row.sample.critique.clone()).collect();
    assert_eq!(of_rows, verdicts.iter().map(text).collect::<Vec<_>>());

    batch.cut_short("resumed.jsonl", "-KILL");
    let resumed = ["--samples", "--resume", "--record", "resumed.parquet"];
    let ended = batch.score("resumed.jsonl", &resumed).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let n_without = LINE_ENDS.len() - rows("resumed.parquet").len();
    assert!(n_without > 0 && stderr.contains(&format!("{n_without} verdicts in")), "{stderr}");
}
