//! Unusual model files: guesses are reported, and what cannot run is rejected before it is used.

use std::path::Path;

use serde_json::Value;

use super::process::{Process, jury, model_path};
use super::sandbox::ITEM;
use super::tiny;

/// Writes the test model to `path`, with `old` in its metadata replaced by `new`, which must have the same length.
fn write_changed(path: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut bytes = std::fs::read(model_path()).expect("the test model can be read");
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let (old, new) = (text(old), text(new));
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is there");
    bytes[at..at + old.len()].copy_from_slice(&new);
    std::fs::write(path, bytes).expect("the folder is ours");
}

#[test]
fn a_guessed_pre_tokenizer_is_told_by_inspect_and_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("no-pre.gguf");
    write_changed(&model, "tokenizer.ggml.pre", "tokenizer.ggml.prx");
    let model = model.to_str().expect("a temporary path is UTF-8");

    let page = jury(&["models", "inspect", model]);
    let row = page.stdout.lines().find(|line| line.starts_with("pre-tokenizer"));
    let row = row.expect("the page has a row for it");
    assert!(row.contains("a guess, since the file does not name one"), "{row}");
    let json = jury(&["models", "inspect", model, "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(json["info"]["pre_tokenizer_is_assumed"], true, "{json}");

    let arguments = ["up", "--model", model, "--threads", "1", "--listen", "127.0.0.1:0"];
    let mut up = Process::jury("up", &arguments);
    let told = up.wait_for("the file does not name its pre-tokenizer");
    assert_eq!(told["level"], "WARN", "{told}");
    assert_eq!(told["pre_tokenizer"], json["info"]["pre_tokenizer"]);
}

/// As in the templates of R1 and QwQ.
#[test]
fn a_thought_that_the_chat_template_opens_is_closed_before_the_scores_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (model, item) = (tiny::model(folder.path(), "qwen2"), folder.path().join("item.json"));
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let settings = Path::new(&model).join("tokenizer_config.json");
    let text = std::fs::read_to_string(&settings).expect("it was copied");
    let opened =
        text.replace("<|im_start|>assistant\\\\n'", "<|im_start|>assistant\\\\n<think>\\\\n'");
    assert_ne!(text, opened);
    let scored = |settings_text: &str| -> Value {
        std::fs::write(&settings, settings_text).expect("the folder is ours");
        let item = item.to_str().expect("it is UTF-8");
        let options = ["-k", "2", "--max-critique-tokens", "8", "--min-readout-mass", "0"];
        let command = ["score", item, "--model", &model, "--json", "--samples"];
        let ended = jury(&[&command[..], &options].concat());
        let verdict: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
        verdict["samples"].clone()
    };
    let thinks = |samples: &Value| -> Vec<bool> {
        let samples = samples.as_array().expect("they were asked for").iter();
        samples
            .map(|sample| sample["critique"].as_str().is_some_and(|it| it.ends_with("</think>")))
            .collect()
    };
    assert_eq!(thinks(&scored(&text)), [false, false]);
    assert_eq!(thinks(&scored(&opened)), [true, true]);
}

#[test]
fn inspect_refuses_what_score_refuses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (model, item) = (folder.path().join("unknown.gguf"), folder.path().join("item.json"));
    write_changed(&model, "smollm", "smollx");
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let [model, item] = [&model, &item].map(|path| path.to_str().expect("it is UTF-8"));
    let inspected = jury(&["models", "inspect", model]);
    let scored = jury(&["score", item, "--model", model]);
    assert!(inspected.stderr.contains("pre-tokenizer \"smollx\""), "{}", inspected.stderr);
    assert!(inspected.stderr.contains("known are"), "{}", inspected.stderr);
    assert_eq!((inspected.code, inspected.stderr), (scored.code, scored.stderr));
    assert_ne!(inspected.code, Some(0));
}
