//! Parts of the cluster die; verdicts stay the same.

use serde_json::Value;

use super::etcd::free_port;
use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, Sandbox, ready, score, stable_bytes};

/// Asks grpc.health.v1, as a container's health check does.
fn assert_serving(process: &mut Process) {
    let events = process.events();
    let listening = events.iter().find(|event| text(event, "message") == "listening");
    let address = text(listening.expect("it listens"), "address");
    let asked = jury(&["health", "--endpoint", &format!("http://{address}")]);
    assert_eq!((asked.stdout.as_str(), asked.code), ("serving\n", Some(0)), "{}", asked.stderr);
}

#[test]
fn a_worker_killed_in_flight_does_not_change_a_byte_of_the_verdict() {
    let sandbox = Sandbox::new();
    let workers = ["w1", "w2"];
    let mut processes = workers.map(|id| sandbox.worker(id));
    let (mut coordinator, endpoint) = sandbox.coordinator(workers.len());
    let undisturbed = sandbox.score(&endpoint);
    assert_eq!(undisturbed["status"], "OK", "{undisturbed}");
    assert_eq!(undisturbed["run"]["workers"], serde_json::json!(workers));
    coordinator.wait_for("request answered");

    // The victim is the worker that starts samples next, killed before it can have finished one. Before it has
    // started, it would refuse them, which loses nothing.
    let item = sandbox.item();
    let disturbed = std::thread::scope(|scope| {
        let scored = scope.spawn(|| score(&item, &["--endpoint", &endpoint]));
        let started = coordinator.wait_for("samples started");
        let victim = workers.iter().position(|id| *id == text(&started, "worker_id"));
        processes[victim.expect("it is one of ours")].kill();
        let lost = coordinator.wait_for("samples in flight were lost");
        assert_ne!(text(&lost, "indices"), "[]", "no sample was in flight at the kill: {lost}");
        let again = coordinator.wait_for("samples issued");
        assert_ne!(again["worker_id"], lost["worker_id"]);
        scored.join().expect("the request is answered")
    });

    assert!(disturbed["run"]["reissued"].as_u64() > Some(0), "{}", disturbed["run"]);
    assert_eq!(stable_bytes(&disturbed), stable_bytes(&undisturbed));

    let embedded = score(&sandbox.item(), &["--model", &model_path()]);
    assert_eq!(stable_bytes(&embedded), stable_bytes(&undisturbed), "one process, same verdict");
}

#[test]
fn a_coordinator_that_restarts_in_a_batch_costs_no_item() {
    let sandbox = Sandbox::new();
    let _worker = sandbox.worker("w1");
    let address = format!("127.0.0.1:{}", free_port());
    let start = || {
        let etcd = sandbox.etcd.endpoint();
        let arguments = ["coordinator", "--etcd", &etcd, "--listen", &address];
        let mut coordinator = Process::jury("coordinator", &arguments);
        ready(&mut coordinator, 1);
        coordinator
    };
    let line = |id: u32| ITEM.replace('\n', " ").replace("capital\",", &format!("{id}\",")) + "\n";
    let file = |name: &str| sandbox.folder.path().join(name).to_str().unwrap().to_owned();
    let (items, out) = (file("items.jsonl"), file("out.jsonl"));
    std::fs::write(&items, (0..8).map(line).collect::<String>()).unwrap();
    let batch = ["score", "--items", &items, "--out", &out, "--concurrency", "1"];
    let judged = ["-k", "1", "--max-critique-tokens", "8", "--endpoint", &address];

    let mut coordinator = start();
    let ended = std::thread::scope(|scope| {
        let ended = scope.spawn(|| jury(&[&batch[..], &judged].concat()));
        coordinator.wait_for("request answered");
        coordinator.kill();
        let _coordinator = start();
        ended.join().expect("the batch ends")
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 8, "{}", ended.stderr);
}

#[test]
fn a_worker_that_comes_back_is_used_again() {
    let sandbox = Sandbox::new();
    let mut worker = sandbox.worker("w1");
    let (mut coordinator, endpoint) = sandbox.coordinator(1);
    let before = sandbox.score(&endpoint);
    assert_eq!(worker.terminate(), Some(0), "SIGTERM ends a worker in order");
    let _worker = sandbox.worker("w1");
    coordinator.wait_for("worker is ready");
    assert_eq!(stable_bytes(&sandbox.score(&endpoint)), stable_bytes(&before));
}

#[test]
fn an_etcd_restart_is_not_noticed_by_requests() {
    let mut sandbox = Sandbox::new();
    let mut worker = sandbox.worker("w1");
    let (mut coordinator, endpoint) = sandbox.coordinator(1);
    let before = sandbox.score(&endpoint);

    sandbox.etcd.kill();
    for process in [&mut coordinator, &mut worker] {
        process.wait_for("etcd lost");
        assert_serving(process);
    }
    let without_etcd = sandbox.score(&endpoint);
    assert_eq!(stable_bytes(&without_etcd), stable_bytes(&before));

    sandbox.etcd.restart();
    worker.wait_for("registered");
    let (_late_coordinator, late_endpoint) = sandbox.coordinator(1);
    assert_eq!(stable_bytes(&sandbox.score(&late_endpoint)), stable_bytes(&before));
}

#[test]
fn etcd_away_at_the_start_is_waited_for() {
    let mut sandbox = Sandbox::new();
    sandbox.etcd.kill();
    let mut worker = sandbox.start_worker("w1");
    let mut coordinator = sandbox.start_coordinator();
    for process in [&mut coordinator, &mut worker] {
        // They may come in either order.
        for message in ["listening", "etcd not reached"] {
            let says = |event: &Value| text(event, "message").starts_with(message);
            if !process.events().iter().any(says) {
                process.wait_until(message, says);
            }
        }
        assert_serving(process);
    }
    sandbox.etcd.restart();
    worker.wait_for("registered");
    coordinator.wait_for("worker is ready");
}
