//! Adapters on one model, from their files to verdicts.

use std::path::Path;

use serde_json::{Value, json};

use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, Sandbox, score, stable_bytes};

/// Sizes of the test model.
const WIDTH: usize = 576;
const HIDDEN: usize = 1536;
const LAYERS: usize = 30;
const RANK: usize = 4;

/// Writes an untrained adapter in PEFT's format; it modifies the network of every layer in its own way.
fn write_adapter(folder: &Path, step: f32) {
    std::fs::create_dir_all(folder).expect("a new folder");
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none",
        "target_modules": ["up_proj"], "base_model_name_or_path": "test"});
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).expect("a new file");
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for layer in 0..LAYERS {
        for (side, shape) in [("A", [RANK, WIDTH]), ("B", [HIDDEN, RANK])] {
            let start = data.len();
            for at in 0..shape[0] * shape[1] {
                let number = ((at + layer) as f32 * step).sin() / 20.0;
                data.extend(number.to_le_bytes());
            }
            let name =
                format!("base_model.model.model.layers.{layer}.mlp.up_proj.lora_{side}.weight");
            let entry =
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
            header.insert(name, entry);
        }
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(folder.join("adapter_model.safetensors"), bytes).expect("a new file");
}

fn digest(verdict: &Value) -> &str {
    assert_eq!(verdict["status"], "OK", "{verdict}");
    text(&verdict["provenance"], "model_digest")
}

#[test]
fn one_worker_serves_two_adapters_and_their_model_and_the_same_after_it_was_killed() {
    let sandbox = Sandbox::new();
    let (model, etcd) = (model_path(), sandbox.etcd.endpoint());
    let folders = ["strict", "kind"].map(|name| sandbox.folder.path().join(name));
    for (folder, step) in folders.iter().zip([0.37, 1.93]) {
        write_adapter(folder, step);
    }
    let [strict, kind] = folders.map(|folder| folder.to_str().expect("it is text").to_owned());
    let adapters = format!("{strict},gentle={kind}");
    let worker = || {
        let mut arguments = vec!["worker", "--etcd", &etcd, "--model", &model, "--id", "w"];
        arguments.extend(["--listen", "127.0.0.1:0", "--threads", "1", "--adapter", &adapters]);
        let mut worker = Process::jury("w", &arguments);
        worker.wait_for("registered");
        worker
    };
    let mut first = worker();
    let (mut coordinator, endpoint) = sandbox.coordinator(1);
    let status = jury(&["status", "--endpoint", &endpoint]);
    assert!(status.stdout.contains("model gentle ("), "{}", status.stdout);

    let item = sandbox.item();
    let of = |name: &str| score(&item, &["--endpoint", &endpoint, "--model", name]);
    let base = text(&score(&item, &["--model", &model])["provenance"], "model").to_owned();
    // Together, so that their samples share a batch.
    let names = ["strict", "gentle", &base];
    let verdicts = std::thread::scope(|scope| {
        let asked = names.map(|name| scope.spawn(move || of(name)));
        asked.map(|asked| asked.join().expect("it was judged"))
    });
    let [one, two, own] = verdicts.each_ref().map(digest);
    assert!(one != two && two != own && one != own);
    let samples = verdicts.each_ref().map(|verdict| &verdict["samples"]);
    assert!(samples[0] != samples[1] && samples[1] != samples[2] && samples[0] != samples[2]);

    // Alone, in this process, with nothing else running.
    let alone = score(&item, &["--model", &model, "--adapter", &strict]);
    assert_eq!(stable_bytes(&alone), stable_bytes(&verdicts[0]));
    assert_eq!(stable_bytes(&score(&item, &["--model", &model])), stable_bytes(&verdicts[2]));

    let unnamed = jury(&["score", &item, "--endpoint", &endpoint, "--json"]);
    let why = format!("{}{}", unnamed.stdout, unnamed.stderr);
    assert!(why.contains("several models") && why.contains("gentle"), "{why}");

    first.kill();
    let _second = worker();
    coordinator.wait_for("worker is ready");
    for (name, before) in names.iter().zip(&verdicts) {
        assert_eq!(stable_bytes(&of(name)), stable_bytes(before), "{name}");
    }
}

#[test]
fn jury_up_serves_its_model_and_an_adapter_over_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (adapter, item) = (folder.path().join("strict"), folder.path().join("item.json"));
    write_adapter(&adapter, 0.37);
    std::fs::write(&item, ITEM).expect("a new file");
    let (adapter, item) = (adapter.to_str().expect("text"), item.to_str().expect("text"));
    let model = model_path();
    let arguments = [
        "up",
        "--model",
        &model,
        "--adapter",
        adapter,
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "1",
    ];
    let mut up = Process::jury("up", &arguments);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let bare = score(item, &["--model", &model]);
    let name = text(&bare["provenance"], "model");
    for (asked, alone) in
        [("strict", score(item, &["--model", &model, "--adapter", adapter])), (name, bare.clone())]
    {
        let served = score(item, &["--endpoint", &endpoint, "--model", asked]);
        assert_eq!(stable_bytes(&served), stable_bytes(&alone), "{asked}");
    }
    assert_eq!(up.terminate(), Some(0));
}

#[test]
fn adapters_that_cannot_be_served_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (adapter, item) = (folder.path().join("mine"), folder.path().join("item.json"));
    write_adapter(&adapter, 0.4);
    std::fs::write(&item, ITEM).expect("a new file");
    let [adapter, item] = [&adapter, &item].map(|path| path.to_str().expect("it is text"));
    let fixture =
        |name: &str| format!("{}/engine/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let model = model_path();
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let ended = jury(arguments);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    };
    let worker = ["worker", "--listen", "127.0.0.1:0", "--model"];
    let tiny = fixture("llama");
    refused(
        &[&worker[..], &[&tiny, "--adapter", adapter]].concat(),
        65,
        "blk.0.ffn_up.lora_A is 4 x 576, but this model needs 4 x 64",
    );
    refused(&[&worker[..], &[&model, "--adapter", "/nowhere.gguf"]].concat(), 66, "/nowhere.gguf");
    let twice = format!("{adapter},{adapter}");
    refused(
        &[&worker[..], &[&model, "--adapter", &twice]].concat(),
        64,
        "two adapters are called \"mine\"",
    );
    refused(
        &["score", item, "--endpoint", "http://127.0.0.1:1", "--adapter", adapter],
        64,
        "select one with --model",
    );
    refused(
        &[&worker[..], &[&model, "--role", "meta", "--adapter", adapter]].concat(),
        64,
        "merge",
    );

    let merged = folder.path().join("merged.gguf");
    let merged = merged.to_str().expect("it is text");
    let merge = ["train", "merge", "--model", &model, "--adapter", adapter, "--out"];
    refused(&[&merge[..], &[&item.replace("item.json", "out")]].concat(), 64, "ends in .gguf");
    let done = jury(&[&merge[..], &[merged, "--json"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let done: Value = serde_json::from_str(&done.stdout).expect("--json prints one JSON object");
    assert_eq!(done["changed"], LAYERS);
    assert_eq!(score(item, &["--model", merged])["status"], "OK");

    let told = jury(&["models", "inspect", adapter]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(
        told.stdout.contains("low-rank adapter") && told.stdout.contains("ffn_up"),
        "{}",
        told.stdout
    );
    let told: Value = serde_json::from_str(&jury(&["models", "inspect", adapter, "--json"]).stdout)
        .expect("--json prints one JSON object");
    assert_eq!((&told["rank"], &told["parts"]), (&json!(RANK), &json!(LAYERS)));
    assert_eq!(text(&told, "digest").len(), 64);
}

#[test]
fn an_adapter_is_named_by_the_run_that_made_it_and_missed_before_a_model_is_looked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("it is text").to_owned();
    let (run, none, item, gone) = (path("rft"), path("none"), path("i.json"), path("gone.gguf"));
    write_adapter(&folder.path().join("rft/adapter"), 0.4);
    std::fs::create_dir(&none).expect("a new folder");
    std::fs::write(&item, ITEM).expect("a new file");

    let told = jury(&["models", "inspect", &run, "--json"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.contains("rft/adapter"), "{}", told.stdout);
    // If the adapter can be read, the missing model is reported; otherwise, the missing adapter is.
    let (out, rl) = (path("out"), path("rl"));
    for line in [
        ["score", &item, "--model", &gone, "--adapter"].as_slice(),
        &["worker", "--listen", "127.0.0.1:0", "--model", &gone, "--adapter"],
        &["train", "merge", "--model", &gone, "--out", &out, "--adapter"],
        &["train", "rl", "--items", &item, "--model", &gone, "--out", &rl, "--init"],
    ] {
        for (adapter, missing) in [(&run, "gone.gguf"), (&none, "none/adapter_config.json")] {
            let ended = jury(&[line, &[adapter.as_str()]].concat());
            assert_eq!(ended.code, Some(66), "{line:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(missing), "{line:?}: {}", ended.stderr);
        }
    }
}
