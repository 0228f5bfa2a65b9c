//! `jury train meta`: from items to a head, on the judge's own states or on a separate model, and to what it ranks.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::fs;
use std::path::Path;

use jury_eval::trajectories;
use serde_json::{Value, json};

use super::process::{Process, jury, model_path, text};

const QUERIES: [&str; 12] = [
    "Name a colour.",
    "What is 2 + 2?",
    "Greet a friend.",
    "Where is Paris?",
    "Name a tree.",
    "What do cows drink?",
    "How many days has a week?",
    "Name a river.",
    "What is ice?",
    "Who wrote Hamlet?",
    "Name a planet.",
    "What does a baker sell?",
];

/// Every query twice, with either response as the best: a sample that is right for one item is wrong for the other.
fn items(path: &Path) {
    let both = |(at, query): (usize, &&str)| {
        let item = |best: usize| {
            let responses = [format!("The answer to {at} is short."), "I do not know.".to_owned()];
            let id = format!("i{at}-{best}");
            json!({"id": id, "query": query, "responses": responses, "best": best}).to_string()
        };
        [item(0), item(1)]
    };
    let lines: Vec<String> = QUERIES.iter().enumerate().flat_map(both).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn a_head_on_a_model_of_its_own_is_trained_resumed_and_ranks_what_was_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, samples, model) = (path("items.jsonl"), path("drawn"), model_path());
    items(Path::new(&file));
    let both_told = |out: &str, more: &[&str]| {
        let command = ["train", "meta", "--items", &file, "--out", out, "--samples", &samples];
        let settings = ["--model", &model, "--backbone", &model, "-k", "2"];
        let settings = [&settings[..], &["--max-critique-tokens", "8"], more].concat();
        let ended = jury(&[&command[..], &settings].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        (ended.stdout, ended.stderr)
    };
    let trained = |out: &str, more: &[&str]| both_told(out, more).0;
    let (first, second) = (path("first.safetensors"), path("second.safetensors"));
    let said = trained(&first, &["--name", "apart"]);
    assert!(said.contains(&format!("--meta model:{model},head:{first}")), "{said}");
    let read = || {
        let entries = fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut found = entries.filter(|path| name(path).starts_with("states-"));
        found.next().unwrap()
    };
    let states = fs::read_to_string(read()).unwrap();
    assert_eq!(states.lines().count(), 2 * QUERIES.len());

    // After a kill in the middle of the last line, only that item is read again.
    fs::write(read(), &states[..states.len() - 100]).unwrap();
    trained(&second, &["--name", "apart", "--replay"]);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let resumed = fs::read_to_string(read()).unwrap();
    let kept = states.lines().count() - 1;
    assert_eq!(
        states.lines().take(kept).collect::<Vec<_>>(),
        resumed.lines().take(kept).collect::<Vec<_>>()
    );
    assert_eq!(resumed.lines().count(), states.lines().count());

    // The same samples again, as if from another stage: twice as many rows, and nothing is drawn.
    let other = path("other");
    fs::create_dir(&other).unwrap();
    let verdicts = fs::read_to_string(Path::new(&samples).join("verdicts.jsonl")).unwrap();
    let pairs = Path::new(&other).join("pairs.verdicts.jsonl");
    fs::write(&pairs, &verdicts).unwrap();
    let n_rows = |said: &str| said.split(' ').next().unwrap().parse::<usize>().unwrap();
    let third = path("third.safetensors");
    let more = ["--replay", "--more-samples", &other];
    let both = trained(&third, &[&["--name", "apart"][..], &more].concat());
    assert_eq!(n_rows(&both), 2 * n_rows(&said), "{both}");

    // Verdicts from another file, whose items have the same ids or others: this file's labels do not apply to them.
    let elsewhere: String = verdicts
        .lines()
        .map(|line| {
            let mut verdict: Value = serde_json::from_str(line).unwrap();
            verdict["provenance"]["item_digest"] = json!("of another text");
            if verdict["item_id"] == "i3-1" {
                verdict["item_id"] = json!("elsewhere");
            }
            format!("{verdict}\n")
        })
        .collect();
    fs::write(&pairs, elsewhere).unwrap();
    let (none_more, told) = both_told(&third, &[&["--name", "apart"][..], &more].concat());
    assert_eq!(n_rows(&none_more), n_rows(&said), "{none_more}");
    let n_others = 2 * QUERIES.len() - 1;
    for why in [
        format!(
            "{n_others} items left out: the samples in {other} under their ids are of different items"
        ),
        format!(
            "1 items left out: {other} has samples of them, but they are not among the items: elsewhere"
        ),
    ] {
        assert!(told.contains(&why), "{why}: {told}");
    }
    let left_out = fs::read_to_string(Path::new(&samples).join("left-out.jsonl")).unwrap();
    assert_eq!(left_out.lines().count(), n_others + 1, "{left_out}");

    let ranked = |meta: &str| {
        let settings = ["--model", &model, "--meta", meta, "--replay", "--json", "-"];
        let command = ["eval", &file, "--out", &samples, "--k", "2", "--methods", "vote,meta"];
        jury(&[&command[..], &settings].concat())
    };
    let by_model = ranked(&format!("model:{model},head:{first}"));
    assert_eq!(by_model.code, Some(0), "{}", by_model.stderr);
    let report: Value = serde_json::from_str(&by_model.stdout).unwrap();
    assert!(report["curve"]["meta"]["2"]["n_items"].as_u64().unwrap() > 0, "{report}");
    assert!(report["cost"]["rank_tokens"].as_f64().unwrap() > 0.0, "{report}");
    let elsewhere = ranked(&format!("head:{first}"));
    assert_eq!(elsewhere.code, Some(64), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("jury train meta --backbone"), "{}", elsewhere.stderr);
}

#[test]
fn a_head_on_the_judges_own_states_is_the_same_from_a_fleet_and_ranks_what_was_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, model) = (path("items.jsonl"), model_path());
    items(Path::new(&file));
    let settings = ["-k", "2", "--max-critique-tokens", "8"];
    let trained = |name: &str, judge: [&str; 2]| {
        let (out, samples) = (path(&format!("{name}.safetensors")), path(name));
        let command = ["train", "meta", "--items", &file, "--out", &out, "--samples", &samples];
        let ended = jury(&[&command[..], &judge, &settings, &["--name", "own"]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        (out, samples)
    };
    let (head, samples) = trained("embedded", ["--model", &model]);
    let card = fs::read_to_string(format!("{head}.md")).unwrap();
    for row in ["| samples an item (k) | 2 |", "| longest critique | 8 tokens |", "split seed 0 |"]
    {
        assert!(card.contains(row), "{row}: {card}");
    }
    let stored =
        |folder: &str| trajectories::read(&Path::new(folder).join("samples.parquet")).unwrap();
    let drawn = stored(&samples);
    assert_eq!(drawn.len(), 2 * 2 * QUERIES.len());
    for one in &drawn {
        let has_scores = one.sample.scores().is_some();
        assert_eq!(
            (one.sample.hidden_state.is_some(), one.is_correct.is_some()),
            (has_scores, has_scores)
        );
    }
    assert!(drawn.iter().all(|one| one.drawn_by.meta_digest.is_none()));

    let mut up = Process::jury("up", &["up", "--model", &model, "--listen", "127.0.0.1:0"]);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let (of_fleet, fleets_samples) = trained("fleet", ["--endpoint", &endpoint]);
    assert_eq!(fs::read(&head).unwrap(), fs::read(&of_fleet).unwrap());

    let meta = format!("head:{head}");
    let ranked = |samples: &str, judge: [&str; 2], more: &[&str]| {
        let command = ["eval", &file, "--out", samples, "--k", "2", "--methods", "vote,meta"];
        let tokens = ["--max-critique-tokens", "8"];
        let report = ["--meta", &meta, "--json", "-"];
        let ended = jury(&[&command[..], &judge, &tokens, &report, more].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let embedded = ranked(&samples, ["--model", &model], &["--replay"]);
    assert_eq!(embedded["curve"]["meta"]["2"]["n_items"], 2 * QUERIES.len(), "{embedded}");
    assert_eq!(embedded["cost"]["rank_tokens"], 0.0, "a head reads nothing");
    let digest = embedded["about"]["meta_digest"].as_str().unwrap().to_owned();
    for one in stored(&samples) {
        assert_eq!(one.sample.meta_score.is_some(), one.sample.scores().is_some());
        assert_eq!(one.drawn_by.meta_digest.as_ref(), Some(&digest));
    }
    // The samples drawn by the fleet are ranked here, and nothing is drawn again.
    let fleet = ranked(&fleets_samples, ["--endpoint", &endpoint], &[]);
    assert_eq!(fleet["curve"], embedded["curve"]);
    assert_eq!(up.terminate(), Some(0));
}
