//! `jury up` and `jury score` without a cluster.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::etcd::free_port;
use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, score, stable_bytes};

#[test]
fn jury_up_gives_the_same_verdict_as_an_embedded_score() {
    let folder = tempfile::tempdir().unwrap();
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).unwrap();
    let item = item.to_str().unwrap();
    let model = model_path();

    let loopback = "127.0.0.1:0";
    let arguments = ["up", "--model", &model, "--listen", loopback, "--http", loopback];
    let mut up = Process::jury("up", &arguments);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let door = text(&up.wait_for("HTTP listening"), "address").to_owned();
    let served = score(item, &["--endpoint", &endpoint]);
    let embedded = score(item, &["--model", &model]);
    assert_eq!(served["status"], "OK", "{served}");
    assert_eq!(stable_bytes(&served), stable_bytes(&embedded));
    assert_eq!(stable_bytes(&over_http(&door)), stable_bytes(&embedded));
    assert_eq!(up.terminate(), Some(0));
}

/// As in README: `jury up &`, and the next line sends a request.
#[test]
fn a_call_that_comes_while_the_model_loads_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).unwrap();
    let (model, address) = (model_path(), format!("127.0.0.1:{}", free_port()));
    let mut up = Process::jury("up", &["up", "--model", &model, "--listen", &address]);
    while TcpStream::connect(&address).is_err() {
        std::thread::yield_now();
    }
    let verdict = score(item.to_str().unwrap(), &["--endpoint", &format!("http://{address}")]);
    assert_eq!(verdict["status"], "OK", "{verdict}");
    assert_eq!(up.terminate(), Some(0));
}

#[test]
fn what_stops_with_its_stdin_ends_where_nobody_holds_it() {
    let nobody_there = ["coordinator", "--worker", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let ended = jury(&[&nobody_there[..], &["--stop-with-stdin"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// The same request over HTTP.
fn over_http(address: &str) -> Value {
    let item: Value = serde_json::from_str(ITEM).expect("the item is JSON");
    let settings = json!({"k": 8, "max_critique_tokens": 96});
    let body = json!({"item": item, "settings": settings, "seed": 7, "include_samples": true,
        "budget_ms": 300_000})
    .to_string();
    let mut connection = TcpStream::connect(address).expect("it listens");
    let n_bytes = body.len();
    write!(
        connection,
        "POST /v1/score HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {n_bytes}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).expect("a verdict")
}
