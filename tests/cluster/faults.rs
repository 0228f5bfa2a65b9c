//! Parts die; verdicts stay the same.

use super::process::{model_path, text};
use super::sandbox::{Sandbox, score, stable_bytes};

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

    // The victim is whoever starts samples next, killed before it can have finished one. Before it has started, it
    // would have refused them, which is no loss.
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
    let (_coordinator, endpoint) = sandbox.coordinator(1);
    let before = sandbox.score(&endpoint);

    sandbox.etcd.kill();
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
    worker.wait_for("etcd not reached");
    sandbox.etcd.restart();
    worker.wait_for("registered");
}
