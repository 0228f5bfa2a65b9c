//! `jury up` and `jury score` without a cluster.

use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, score, stable_bytes};

#[test]
fn jury_up_gives_the_same_verdict_as_an_embedded_score() {
    let folder = tempfile::tempdir().unwrap();
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).unwrap();
    let item = item.to_str().unwrap();
    let model = model_path();

    let mut up = Process::jury("up", &["up", "--model", &model, "--listen", "127.0.0.1:0"]);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let served = score(item, &["--endpoint", &endpoint]);
    let embedded = score(item, &["--model", &model]);
    assert_eq!(served["status"], "OK", "{served}");
    assert_eq!(stable_bytes(&served), stable_bytes(&embedded));
    assert_eq!(up.terminate(), Some(0));
}

#[test]
fn what_stops_with_its_stdin_ends_where_nobody_holds_it() {
    let nobody_there = ["coordinator", "--worker", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let ended = jury(&[&nobody_there[..], &["--stop-with-stdin"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
