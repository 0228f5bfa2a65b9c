//! User errors: each gives a clear message and the documented exit code, and never a panic.

use std::process::Stdio;

use super::etcd::free_port;
use super::process::{Process, jury, jury_command, model_path};
use super::sandbox::ITEM;

/// Writes `content` to a file and returns its path.
fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    path.to_str().expect("a temporary path is UTF-8").to_owned()
}

/// `jury ARGUMENTS` must exit with `code` and print all of `words`.
fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = jury(arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}\n{}\n{}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{arguments:?} must say {word:?}:\n{}", ended.stderr);
    }
}

#[test]
fn a_malformed_item_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_path();
    for (json, field) in [
        (r#"{"query": "q", "responses": []}"#, "responses"),
        (r#"{"query": "", "responses": ["a"]}"#, "query"),
        (r#"{"query": "q"}"#, "responses"),
        (r#"{"query": "q", "responses": ["a"], "best": 4}"#, "best"),
    ] {
        let item = file(&folder, "item.json", json.as_bytes());
        refuses(&["score", &item, "--model", &model], 64, &[field]);
    }
    let not_utf8 =
        file(&folder, "latin1.json", b"{\"query\": \"caf\xe9\", \"responses\": [\"a\"]}");
    refuses(&["score", &not_utf8, "--model", &model], 64, &["UTF-8"]);
}

#[test]
fn a_setting_out_of_range_names_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let item = file(&folder, "item.json", ITEM.as_bytes());
    refuses(&["score", &item, "-k", "0"], 64, &["k", "256"]);
    refuses(&["score", &item, "-k", "257"], 64, &["k", "256"]);
    refuses(&["score", &item, "--temperature", "3"], 64, &["temperature", "2"]);
    refuses(&["score", &item, "--seed", "-1"], 64, &["--seed", "from 0 to 9007199254740991"]);
    refuses(&["score", &item, "--scale", "-5..5", "--min-samples", "999"], 64, &["min"]);
    refuses(&["score", &item, "--threads", "100000"], 64, &["--threads", "4096"]);
    refuses(&["up", "--queue-mib", "0"], 64, &["--queue-mib", "from 4 to"]);
    refuses(&["up", "--hedge-budget", "2"], 64, &["--hedge-budget", "0 (off) to 1"]);
    refuses(&["up", "--default-budget", "48h"], 64, &["--default-budget", "24h"]);
    let learn = ["train", "rft", "--items", &item, "--out", "rft"];
    refuses(&[&learn[..], &["--batch", "0"]].concat(), 64, &["--batch", "from 1"]);
    refuses(&[&learn[..], &["--rank", "0"]].concat(), 64, &["--rank", "1024"]);
    let meta = ["train", "meta", "--items", &item, "--out", "head.safetensors"];
    refuses(&[&meta[..], &["--inner", "100000000"]].concat(), 64, &["--inner", "65536"]);
}

#[test]
fn a_file_that_an_option_names_and_that_is_not_there_is_told_once_by_that_option() {
    let folder = tempfile::tempdir().unwrap();
    let item = file(&folder, "item.json", ITEM.as_bytes());
    refuses(&["score", &item, "--meta", "head:nofile"], 66, &["--meta: cannot read nofile"]);
    let endpoint = ["--endpoint", "http://127.0.0.1:1"];
    for command in [&["status"][..], &["score", &item]] {
        let arguments = [command, &endpoint, &["--token-file", "nofile"]].concat();
        let ended = jury(&arguments);
        assert_eq!(ended.code, Some(66), "{}", ended.stderr);
        assert!(ended.stderr.contains("--token-file: cannot read nofile"), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("os error 2").count(), 1, "{}", ended.stderr);
    }
    let samples = folder.path().join("none");
    let samples = samples.to_str().unwrap();
    let pair = ITEM.replace('\n', " ").replace("\"query\"", "\"best\": 0, \"query\"");
    let items = file(&folder, "items.jsonl", pair.as_bytes());
    let out = folder.path().join("head.safetensors");
    let replay = ["--out", out.to_str().unwrap(), "--samples", samples, "--replay"];
    let learn = [&["train", "meta", "--items", &items], &replay[..]].concat();
    refuses(&learn, 66, &["--replay", "--samples"]);
    refuses(&["eval", &items, &items, "--model", &model_path()], 64, &["given twice"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_stderr_that_is_full_or_unread_ends_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let items = file(&folder, "items.jsonl", ITEM.replace('\n', " ").as_bytes());
    let nobody = ["score", "--items", &items, "--endpoint", "http://127.0.0.1:1"];
    for (arguments, code) in [(&nobody[..], 69), (&["score", "--nothing"], 64)] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (reader, unread) = std::io::pipe().unwrap();
        drop(reader);
        for stderr in [Stdio::from(full), Stdio::from(unread)] {
            let mut command = jury_command();
            let status = command.args(arguments).stderr(stderr).status().unwrap();
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
    }
}

#[test]
fn a_record_is_never_written_over_the_items_or_the_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let items = file(&folder, "items.jsonl", ITEM.replace('\n', " ").as_bytes());
    let link = folder.path().join("link.jsonl");
    std::os::unix::fs::symlink("items.jsonl", &link).unwrap();
    let out = folder.path().join("verdicts.jsonl");
    let out = out.to_str().unwrap();
    let other_name = folder.path().join(".").join("verdicts.jsonl");
    for (record, option) in [
        (out, "--out"),
        (other_name.to_str().unwrap(), "--out"),
        (&items, "--items"),
        (link.to_str().unwrap(), "--items"),
    ] {
        let batch = ["score", "--items", &items, "--out", out, "--record", record];
        refuses(&batch, 64, &["--record: is the file of", option]);
    }
}

#[test]
fn an_option_of_batches_is_refused_for_a_single_item() {
    let folder = tempfile::tempdir().unwrap();
    let item = file(&folder, "item.json", ITEM.as_bytes());
    let out = folder.path().join("out.jsonl");
    let out = out.to_str().unwrap();
    refuses(&["score", &item, "--out", out], 64, &["--out", "--items"]);
    assert!(!std::path::Path::new(out).exists());
}

#[test]
fn a_benchmark_that_could_not_tell_its_results_is_refused_before_it_measures() {
    let folder = tempfile::tempdir().unwrap();
    let items = file(&folder, "items.jsonl", ITEM.replace('\n', " ").as_bytes());
    let nowhere = folder.path().join("no-such-folder/results");
    let nowhere = nowhere.to_str().unwrap();
    let words = |flag| [flag, "no-such-folder is not there", "make it"];
    let markdown = ["--no-peer", "--markdown", nowhere];
    let verdicts = [&["bench", "verdicts", "--items", &items][..], &markdown].concat();
    refuses(&verdicts, 74, &words("--markdown"));
    refuses(&[&["bench", "engine"][..], &markdown].concat(), 74, &words("--markdown"));
    refuses(&["bench", "scaling", "--svg", nowhere], 74, &words("--svg"));
    refuses(&["bench", "verdicts", "--items", nowhere], 66, &["--items", nowhere]);
}

#[test]
fn a_model_that_is_none_is_refused_at_load() {
    let folder = tempfile::tempdir().unwrap();
    let item = file(&folder, "item.json", ITEM.as_bytes());
    let whole = std::fs::read(model_path()).unwrap();
    let truncated = file(&folder, "truncated.gguf", &whole[..whole.len() / 2]);
    refuses(&["score", &item, "--model", &truncated], 65, &["truncated.gguf"]);
    let garbage = file(&folder, "garbage.gguf", b"GGUF but not really");
    refuses(&["score", &item, "--model", &garbage], 65, &["garbage.gguf"]);
    refuses(&["score", &item, "--model", "no-such-model"], 64, &["no-such-model", "jury models"]);
}

#[test]
fn nobody_at_the_endpoint_and_a_port_in_use_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let item = file(&folder, "item.json", ITEM.as_bytes());
    let nobody = format!("http://127.0.0.1:{}", free_port());
    refuses(&["score", &item, "--endpoint", &nobody, "--budget", "2s"], 69, &[&nobody]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(&["up", "--model", &model_path(), "--listen", &address], 69, &[&address, "in use"]);
}

#[test]
fn what_is_no_coordinator_is_told_as_such_and_a_batch_without_workers_stops() {
    let folder = tempfile::tempdir().unwrap();
    let [nobody, grpc, http, metrics] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
    let listen = ["--listen", &grpc, "--http", &http, "--metrics-listen", &metrics];
    let mut coordinator = Process::jury(
        "coordinator",
        &[&["coordinator", "--worker", &nobody], &listen[..]].concat(),
    );
    coordinator.wait_for("listening");
    let item = file(&folder, "item.json", ITEM.as_bytes());
    for other in [http, metrics] {
        let endpoint = format!("http://{other}");
        let says = ["no Jury coordinator answers at", &endpoint, "--listen"];
        refuses(&["score", &item, "--endpoint", &endpoint], 69, &says);
        refuses(&["status", "--endpoint", &endpoint], 69, &says);
    }
    let line = |id: u32| ITEM.replace('\n', " ").replace("capital\",", &format!("{id}\",")) + "\n";
    let items = file(&folder, "items.jsonl", (0..9).map(line).collect::<String>().as_bytes());
    let out = folder.path().join("out.jsonl");
    let out = out.to_str().unwrap();
    let batch = ["score", "--items", &items, "--out", out, "--concurrency", "1"];
    let endpoint = ["--endpoint", &grpc];
    let says = ["no worker for 3 items in a row", "--resume"];
    refuses(&[&batch[..], &endpoint].concat(), 69, &says);
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 3);
}

#[test]
fn a_bad_line_of_a_batch_is_named_and_the_others_still_run() {
    let folder = tempfile::tempdir().unwrap();
    let good = ITEM.replace('\n', " ");
    let other = good.replace("\"capital\"", "\"other\"");
    let lines = format!("{good}\nnot json\n{other}\n{good}\n");
    let items = file(&folder, "items.jsonl", lines.as_bytes());
    let ended = jury(&[
        "score",
        "--items",
        &items,
        "--model",
        &model_path(),
        "-k",
        "1",
        "--max-critique-tokens",
        "8",
        "--json",
    ]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 2: not JSON"), "{}", ended.stderr);
    let repeated = "line 4: its id \"capital\" is that of line 1";
    assert!(ended.stderr.contains(repeated), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 2, "{}", ended.stdout);
}

#[test]
fn what_is_no_batch_is_refused_before_a_model_is_loaded_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let array = file(&folder, "array.json", format!("[\n{ITEM},\n{ITEM}\n]\n").as_bytes());
    let utf16: Vec<u8> = ITEM.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = file(&folder, "utf16.json", &utf16);
    let no_model = ["--model", "no-such-model"];
    for (items, words) in
        [(&array, ["array.json", "jq -c '.[]'"]), (&utf16, ["utf16.json", "iconv"])]
    {
        refuses(&[&["score", "--items", items][..], &no_model].concat(), 65, &words);
        refuses(&["bench", "verdicts", "--items", items], 65, &words);
    }
    refuses(&[&["score", &utf16][..], &no_model].concat(), 64, &["utf16.json", "iconv"]);
}

#[test]
fn a_response_longer_than_the_context_has_no_reward_and_leaves_the_others_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let long = "word ".repeat(20_000);
    let json = serde_json::json!({"query": "q", "responses": ["short", long]}).to_string();
    let item = file(&folder, "long.json", json.as_bytes());
    let ended = jury(&["score", &item, "--model", &model_path(), "-k", "2", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let forced_panel = &verdict["provenance"]["forced_panel"];
    assert_eq!((&verdict["status"], forced_panel), (&"OK".into(), &serde_json::Value::Null));
    assert_eq!(verdict["counts"]["asked"], 2, "all of them show the other");
    assert!(verdict["rewards"][0].is_number() && verdict["rewards"][1].is_null(), "{verdict}");
    let reason = &verdict["reasons"][1];
    assert_eq!(reason["code"], "too_long");
    let detail = reason["detail"].as_str().unwrap();
    assert!(detail.contains("fits no prompt") && detail.contains("left out"), "{detail}");
}

#[test]
fn responses_that_do_not_fit_one_prompt_are_judged_in_panels() {
    let folder = tempfile::tempdir().unwrap();
    let responses: Vec<String> = (0..6).map(|i| format!("{i} {}", "word ".repeat(2_000))).collect();
    let json = serde_json::json!({"query": "q", "responses": responses}).to_string();
    let item = file(&folder, "long.json", json.as_bytes());
    let model = model_path();
    let options = ["-k", "2", "--max-critique-tokens", "8", "--json"];
    let ended = jury(&[&["score", &item, "--model", &model], &options[..]].concat());
    let verdict: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(verdict["status"], "OK", "{verdict}");
    assert!(verdict["rewards"].as_array().unwrap().iter().all(serde_json::Value::is_number));
    let forced = verdict["provenance"]["forced_panel"].as_u64().unwrap();
    assert!((1..6).contains(&forced), "{forced}");
}
