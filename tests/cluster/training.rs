//! `jury train`: user errors that are found before hours of drawing, and full weights from items to a model that
//! judges.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not what they share")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::process::{Ended, Process, jury, jury_command, model_path, text};
use super::sandbox::ITEM;
use super::tiny;

/// Items whose best response alternates between the first and the second, one per line.
fn items(path: &Path, n: usize) -> String {
    let line = |at: usize| {
        let right = format!("{at} and 1 are {}.", at + 1);
        let mut responses = [right, "That is hard to say.".to_owned()];
        responses.rotate_left(at % 2);
        let query = format!("What is {at} and 1?");
        json!({"id": at.to_string(), "query": query, "responses": responses, "best": at % 2})
            .to_string()
    };
    fs::write(path, (0..n).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn short_template() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/examples/short.j2").to_owned()
}

fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = jury(arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}\n{}\n{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{arguments:?} must say {word:?}:\n{}", ended.stderr);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn all_weights_are_tuned_to_a_model_that_judges_and_a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (items, out) = (items(&folder.path().join("items.jsonl"), 6), path("rft"));
    let (judge, base) = (model_path(), tiny::model(folder.path(), "llama"));
    let template = short_template();
    // The drawing model can follow the form; the tiny model that is tuned cannot.
    let command = [
        &["train", "rft", "--items", &items, "--model", &judge, "--base", &base, "--out", &out][..],
        &["--template", &template, "--max-critique-tokens", "8", "--keep-cut", "--quiet"],
        &["--full-weights", "--batch", "2", "--checkpoint-every", "1", "--warmup", "0"],
    ]
    .concat();
    let run = |more: &[&str]| -> Ended { jury(&[&command[..], more].concat()) };
    // Writing to /dev/full fails as on a full disk.
    let checkpoint = folder.path().join("rft/checkpoint.safetensors");
    let stuff = || {
        let partial = checkpoint.with_file_name("checkpoint.safetensors.partial");
        std::os::unix::fs::symlink("/dev/full", partial).unwrap();
    };
    fs::create_dir(&out).unwrap();
    stuff();
    let full = run(&[]);
    assert_eq!(full.code, Some(74), "{}", full.stderr);
    let named = format!("cannot write {}", checkpoint.display());
    assert!(full.stderr.contains(&named) && full.stderr.contains("space"), "{}", full.stderr);
    assert!(!checkpoint.exists());
    let ended = run(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let model = path("rft/model");
    assert!(ended.stdout.contains(&format!("{model} is the model")), "{}", ended.stdout);
    // A PARTIAL verdict is not judged again while there is a checkpoint that has learned from it.
    let verdicts = folder.path().join("rft/pairs.verdicts.jsonl");
    let partial = fs::read_to_string(&verdicts).unwrap().replacen("\"OK\"", "\"PARTIAL\"", 1);
    fs::write(&verdicts, &partial).unwrap();
    let again = run(&[]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("nothing is drawn"), "{}", again.stderr);
    assert!(fs::read_to_string(&verdicts).unwrap() == partial);
    // Without a reader of stdout, learning still runs.
    fs::remove_file(&checkpoint).unwrap();
    fs::remove_dir_all(&model).unwrap();
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    let status = jury_command().args(&command).arg("--sft-only").stdout(unread).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(checkpoint.exists() && Path::new(&model).exists());
    // If later steps do not fit on the disk, the checkpoint stays; a complete run needs no other one.
    let before = fs::read(&checkpoint).unwrap();
    stuff();
    let again = run(&["--sft-only"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(fs::read(&checkpoint).unwrap() == before);

    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let read = |from: &str| fs::read(Path::new(from).join(file)).unwrap();
        assert!(read(&model) == read(&base), "{file}");
    }
    let item = path("item.json");
    fs::write(&item, ITEM).unwrap();
    let digest = |model: &str| {
        let settings = ["-k", "1", "--max-critique-tokens", "2", "--json"];
        let ended = jury(&[&["score", &item, "--model", model][..], &settings].concat());
        // A model with random weights judges without rewards: it gives the legal scores too little probability.
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let verdict: Value = serde_json::from_str(&ended.stdout).unwrap();
        verdict["provenance"]["model_digest"].as_str().unwrap().to_owned()
    };
    assert_ne!(digest(&model), digest(&base));

    // RL cannot start from it as from an adapter; the error says how it can.
    let rl = ["train", "rl", "--items", &items, "--model", &base, "--out", &path("rl")];
    refuses(&[&rl[..], &["--init", &out]].concat(), 64, &["--init", "not an adapter", &model]);
    // An adapter with other settings is another run.
    let lora: Vec<&str> =
        command.iter().copied().filter(|argument| *argument != "--full-weights").collect();
    let other = [&lora[..], &["--sft-only"]].concat();
    refuses(&other, 64, &["checkpoint.safetensors", "other data or settings"]);
}

#[test]
fn full_weights_are_refused_where_they_cannot_be_written_or_drawn_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (items, out) = (items(&folder.path().join("items.jsonl"), 2), path("out"));
    let (gguf, tiny) = (model_path(), tiny::model(folder.path(), "llama"));
    let of = |stage: &'static str, model: &str, more: &[&str]| {
        let command = ["train", stage, "--items", &items, "--out", &out, "--full-weights"];
        let command = [&command[..], &["--model", model], more].concat();
        command.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (command, words) in [
        (of("rft", &gguf, &[]), ["--full-weights", "GGUF", "--base"]),
        (of("rft", &tiny, &["--rank", "8"]), ["--full-weights", "--rank", "cannot be used"]),
        (of("rft", &tiny, &["--data-only"]), ["--full-weights", "--data-only", "cannot be used"]),
        (of("rl", &tiny, &[]), ["--full-weights", "only an adapter", "--model rft/model"]),
    ] {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        refuses(&command, 64, &words);
    }
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_model_without_a_chat_template_is_refused_before_anything_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(&folder.path().join("items.jsonl"), 2);
    let model = tiny::model(folder.path(), "llama");
    let settings = Path::new(&model).join("tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&settings).unwrap()).unwrap();
    let template = config.as_object_mut().unwrap().remove("chat_template").unwrap();
    fs::write(&settings, config.to_string()).unwrap();
    let out = folder.path().join("out");
    for stage in ["rft", "rl"] {
        let out = out.to_str().unwrap();
        let command = ["train", stage, "--items", &items, "--model", &model, "--out", out];
        refuses(&command, 65, &[&model, "no chat template", "chat_template.jinja"]);
    }
    assert!(!out.exists());
    // The remedy in the error message works.
    fs::write(Path::new(&model).join("chat_template.jinja"), template.as_str().unwrap()).unwrap();
    let out = out.to_str().unwrap();
    let nothing = ["--sft-only", "--quiet"];
    let command = ["train", "rft", "--items", &items, "--model", &model, "--out", out];
    refuses(&[&command[..], &nothing].concat(), 65, &["nothing was kept"]);
}

#[test]
fn items_whose_labels_name_no_best_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let line = |id: &str, labels: [f64; 2]| {
        json!({"id": id, "query": "q", "responses": ["a", "b"], "labels": labels}).to_string()
    };
    let lines = |more: &str| {
        [line("equal-1", [1.0, 1.0]), line("equal-2", [0.0, 0.0]), more.to_owned()].join("\n")
    };
    let model = tiny::model(folder.path(), "llama");
    let told = "2 items left out: no `best`, and no single highest label: equal-1, equal-2";
    let items = path("equal.jsonl");
    fs::write(&items, lines("")).unwrap();
    for stage in ["rft", "rl"] {
        let command = ["train", stage, "--items", &items, "--model", &model, "--out", &path(stage)];
        refuses(&command, 65, &[told, "nothing to train on"]);
    }
    // The file has the names that the message leaves out.
    let many: Vec<String> = (0..9).map(|at| line(&format!("many-{at}"), [1.0, 1.0])).collect();
    fs::write(&items, [many.join("\n"), "no JSON".to_owned()].join("\n")).unwrap();
    for stage in ["rft", "rl"] {
        let out = path(&format!("{stage}-many"));
        let command = ["train", stage, "--items", &items, "--model", &model, "--out", &out];
        refuses(&command, 65, &["9 items left out", "line 10"]);
        let left_out = fs::read_to_string(Path::new(&out).join("left-out.jsonl")).unwrap();
        assert!(left_out.contains("many-8") && left_out.contains("line 10"), "{left_out}");
        assert_eq!(left_out.lines().count(), 10);
    }
    // The other items are used all the same.
    fs::write(&items, lines(&line("told", [0.0, 1.0]))).unwrap();
    let out = path("trl");
    let command = ["train", "export", "--to", "trl", "--items", &items];
    let ended = jury(&[&command[..], &["--model", "owner/model", "--out", &out]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let data = fs::read_to_string(Path::new(&out).join("data.jsonl")).unwrap();
    assert!(data.lines().count() == 1 && data.contains("told"), "{data}");
    let left_out = fs::read_to_string(Path::new(&out).join("left-out.jsonl")).unwrap();
    assert!(left_out.contains("equal-1") && left_out.contains("equal-2"), "{left_out}");
    assert_eq!(left_out.lines().count(), 2);
}

/// A run that is killed by `kill -9` in the middle and resumed by the same command ends with the same bytes as an
/// uninterrupted run.
#[test]
fn rl_goes_on_after_a_kill_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (items, model) =
        (items(&folder.path().join("items.jsonl"), 8), tiny::model(folder.path(), "llama"));
    let template = short_template();
    let command = [
        &["train", "rl", "--items", &items, "--model", &model, "--template", &template][..],
        &["--steps", "40", "--groups", "1", "--group", "2", "--max-critique-tokens", "6"],
        &["--checkpoint-every", "3", "--evaluate-every", "8", "--held-out-share", "0.3", "--quiet"],
    ]
    .concat();
    let run = |out: &str| {
        let ended = jury(&[&command[..], &["--out", out]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    };
    let (whole, killed) = (path("whole"), path("killed"));
    run(&whole);
    let mut process = jury_command();
    process.args([&command[..], &["--out", &killed]].concat());
    process.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = process.spawn().unwrap();
    let checkpoint = Path::new(&killed).join("checkpoint.safetensors");
    while !checkpoint.exists() && process.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(checkpoint.exists());
    run(&killed);
    let files = ["report.json", "easy.json", "checkpoint.safetensors"];
    for file in files.into_iter().chain(["adapter/adapter_model.safetensors"]) {
        let read = |out: &str| fs::read(Path::new(out).join(file)).unwrap();
        assert!(read(&whole) == read(&killed), "{file}");
    }
    let report: Value =
        serde_json::from_slice(&fs::read(Path::new(&whole).join("report.json")).unwrap()).unwrap();
    assert_eq!(report["history"].as_array().unwrap().len(), 40);
}

/// Samples that a cluster drew with its own template are learned under that template or not at all.
#[test]
fn samples_of_a_cluster_are_learned_under_the_prompts_that_they_saw() {
    let folder = tempfile::tempdir().unwrap();
    let (template, model) = (short_template(), model_path());
    let items = items(&folder.path().join("items.jsonl"), 6);
    let out = folder.path().join("rft");
    let up = ["up", "--model", &model, "--listen", "127.0.0.1:0", "--template", &template];
    let mut up = Process::jury("up", &up);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let command = ["train", "rft", "--items", &items, "--endpoint", &endpoint, "--data-only"];
    let settings = ["--out", out.to_str().unwrap(), "--max-critique-tokens", "8", "--keep-cut"];
    let command = [&command[..], &settings].concat();
    refuses(&command, 64, &["judged with another template", "--template"]);
    let drawn = || fs::read(out.join("pairs.verdicts.jsonl")).unwrap();
    let before = drawn();
    let ended = jury(&[&command[..], &["--template", &template]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(drawn() == before, "nothing is drawn anew");
    let learned = fs::read_to_string(out.join("sft.jsonl")).unwrap();
    let first = fs::read_to_string(&template).unwrap();
    let first = first.split('{').next().unwrap().trim();
    assert!(learned.lines().count() > 0 && learned.contains(first), "{first}\n{learned}");
    assert_eq!(up.terminate(), Some(0));
}
