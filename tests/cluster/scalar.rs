//! Scalar reward models in an evaluation: as baselines, and as Meta RMs that rank existing samples.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::process::{jury, model_path};
use super::tiny;

const ANSWERS: [[&str; 2]; 4] =
    [["the inn", "a tin hat"], ["hat", "the tin in the inn"], ["a", "in"], ["tin tin", "the hat"]];

/// Items whose best response is given by `best`.
fn items(path: &Path, best: impl Fn(usize) -> usize) {
    let line = |(at, responses): (usize, &[&str; 2])| {
        let query = format!("What is in the inn {at}?");
        json!({"id": format!("i{at}"), "query": query, "responses": responses, "best": best(at)})
            .to_string()
    };
    let lines: Vec<String> = ANSWERS.iter().enumerate().map(line).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

/// The lines of the only file of `folder` whose name begins with `start`.
fn lines(folder: &Path, start: &str) -> Vec<Value> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_it =
        |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(start);
    let found: Vec<_> = entries.filter(is_it).collect();
    let [path] = found.as_slice() else { panic!("{start}: {found:?}") };
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_baseline_earns_all_where_its_scores_are_the_truth_and_nothing_where_they_are_its_opposite() {
    let folder = tempfile::tempdir().unwrap();
    let judge = tiny::model(folder.path(), "llama");
    let baseline = format!("model:{}", tiny::model(folder.path(), "gemma2_reward"));
    let run = |name: &str| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let settings = ["--k", "1", "--max-critique-tokens", "2", "--methods", "vote"];
        let command = ["eval", &path, "--model", &judge, "--baseline", &baseline];
        let ended = jury(&[&command[..], &settings, &["--json", "-"]].concat());
        // The judge has random weights and gives no rewards, which does not affect the baseline.
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    items(&folder.path().join("first.jsonl"), |_| 0);
    run("first.jsonl");
    let scores: Vec<[f64; 2]> = lines(&folder.path().join("first.eval"), "scalar-")
        .iter()
        .map(|line| [number(&line["answers"][0]), number(&line["answers"][1])])
        .collect();
    assert_eq!(scores.len(), ANSWERS.len());
    assert!(scores.iter().all(|[one, other]| one != other), "{scores:?}");

    for (name, is_planted) in [("planted.jsonl", true), ("opposite.jsonl", false)] {
        items(&folder.path().join(name), |at| {
            usize::from((scores[at][1] > scores[at][0]) == is_planted)
        });
        let report = run(name);
        let scalar = &report["scalars"]["gemma2_reward"];
        assert_eq!(scalar["cell"]["accuracy"], if is_planted { 1.0 } else { 0.0 }, "{scalar}");
        assert!(number(&scalar["tokens"]) > 0.0, "{scalar}");
    }
    let table = fs::read_to_string(folder.path().join("planted.eval/report.md")).unwrap();
    assert!(table.contains("| gemma2\\_reward | 100.0 (100.0 to 100.0) |"), "{table}");
    let report = folder.path().join("planted.eval/report.json").to_str().unwrap().to_owned();
    let compared = jury(&["eval", "compare", &report, &report]);
    assert!(
        compared.stdout.contains("| gemma2\\_reward | scalar |  | 100.0 |"),
        "{}",
        compared.stdout
    );
}

/// Ranking afterwards reads the same input as a coordinator gives to a Meta RM.
#[test]
fn a_model_ranks_stored_samples_as_it_ranks_those_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let meta = format!("model:{}", tiny::model(folder.path(), "gemma2_reward"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, out, verdicts) = (path("items.jsonl"), path("run"), path("verdicts.jsonl"));
    items(Path::new(&file), |_| 0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.lines().take(1).collect::<String>()).unwrap();
    let model = model_path();
    let settings = ["--max-critique-tokens", "16", "--model", &model, "--meta", &meta];

    let command =
        ["eval", &file, "--k", "2,4", "--methods", "vote,meta", "--out", &out, "--json", "-"];
    let ended = jury(&[&command[..], &settings].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["curve"]["meta"]["4"]["n_items"], 1, "{report}");
    assert!(number(&report["cost"]["rank_tokens"]) > 0.0);
    let stored = lines(Path::new(&out), "meta-");

    let command =
        ["score", "--items", &file, "--out", &verdicts, "-k", "4", "--readout", "sampled"];
    let ended = jury(&[&command[..], &settings, &["--samples"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let verdict: Value = serde_json::from_str(&fs::read_to_string(&verdicts).unwrap()).unwrap();
    let samples = verdict["samples"].as_array().unwrap().iter();
    let ranked: Vec<&Value> = samples
        .filter(|sample| sample["scores"].is_array())
        .map(|sample| &sample["meta_score"])
        .collect();
    assert!(ranked.len() > 1, "{verdict}");
    let answers: Vec<&Value> = stored[0]["answers"].as_array().unwrap().iter().collect();
    assert_eq!(answers, ranked, "{verdict}\n{}", ended.stderr);

    // Nothing is computed twice.
    let again = jury(
        &[&["eval", &file, "--k", "2,4", "--out", &out, "--replay", "--json", "-"][..], &settings]
            .concat(),
    );
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(lines(Path::new(&out), "meta-"), stored);
}
