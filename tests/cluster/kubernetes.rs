//! Workers found through an API server: a fake one, whose endpoint slices refer to real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use super::fake_api::FakeApi;
use super::process::{Process, model_path, text};
use super::sandbox::{ITEM, ready, score, stable_bytes};

fn worker(model: &str) -> (Process, SocketAddr) {
    let line = ["worker", "--model", model, "--threads", "1", "--listen", "127.0.0.1:0"];
    let mut worker = Process::jury("worker", &line);
    let address = text(&worker.wait_for("listening"), "address").parse().unwrap();
    (worker, address)
}

#[test]
fn pods_are_found_and_kept_while_the_api_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).unwrap();
    let (item, model) = (item.to_str().unwrap(), model_path());

    let mut api = FakeApi::start();
    let kubeconfig = api.kubeconfig();
    let found_by =
        ["--kubernetes-service", "workers", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let listen = ["coordinator", "--directory", "kubernetes", "--listen", "127.0.0.1:0"];
    let mut coordinator = Process::jury("coordinator", &[&listen[..], &found_by].concat());
    let (_first, address) = worker(&model);
    api.put_pod_at("jury-worker-0", "first", true, ("127.0.0.1", address.port()));
    let endpoint = ready(&mut coordinator, 1);
    let found = score(item, &["--endpoint", &endpoint]);
    assert_eq!(found["status"], "OK", "{found}");
    assert_eq!(found["run"]["workers"], serde_json::json!(["jury-worker-0"]));

    api.stop();
    coordinator.wait_for("kubernetes lost");
    let known = score(item, &["--endpoint", &endpoint]);
    assert_eq!(stable_bytes(&known), stable_bytes(&found));

    let (_second, address) = worker(&model);
    api.start_again();
    coordinator.wait_for("kubernetes reached");
    api.put_pod_at("jury-worker-1", "first", true, ("127.0.0.1", address.port()));
    coordinator.wait_for("worker is ready");
    assert_eq!(coordinator.terminate(), Some(0));
}
