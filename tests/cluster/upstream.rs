//! Fleets of the embedded engine and of real servers with the same model: `make upstream-tests`.

use std::path::{Path, PathBuf};

use super::process::{Process, jury, model_path, text};
use super::programs::{Program, llama_server, named, vllm};
use super::sandbox::{SETTINGS, Sandbox, score};

/// A registered worker in front of a server.
fn worker(sandbox: &Sandbox, id: &str, server: &Program, name: &str, more: &[&str]) -> Process {
    let etcd = sandbox.etcd.endpoint();
    let mut arguments = vec!["worker", "--etcd", &etcd, "--listen", "127.0.0.1:0", "--id", id];
    arguments.extend(["--backend", "openai", "--url", &server.url, "--model", name]);
    arguments.extend(more);
    let mut worker = Process::jury(id, &arguments);
    worker.wait_for("registered");
    worker
}

/// The test model's name in the fleet.
fn model_name() -> String {
    let name = PathBuf::from(model_path());
    name.file_stem().expect("a file").to_str().expect("a name").to_owned()
}

#[test]
#[ignore = "needs a real llama-server and vLLM: make upstream-tests"]
fn samples_of_the_engine_and_of_upstreams_never_share_a_vote() {
    let sandbox = Sandbox::new();
    let (model, name) = (model_path(), model_name());
    let llama_cpp = llama_server(Path::new(&model), &name, 2);
    let vllm = vllm(&named("JURY_VLLM_MODEL"), &name, &["--max-num-seqs", "1"]);
    let mut engine = sandbox.worker("engine");
    let tokenizer = ["--tokenizer", &model];
    let mut second = worker(&sandbox, "llama-cpp", &llama_cpp, &name, &tokenizer);
    let _third =
        worker(&sandbox, "vllm", &vllm, &name, &[&tokenizer[..], &["--capacity", "1"]].concat());
    let (mut coordinator, endpoint) = sandbox.coordinator(3);

    let by_engine = sandbox.score(&endpoint);
    engine.kill();
    let gone = coordinator.wait_for("worker takes no samples");
    assert_eq!(text(&gone, "worker_id"), "engine");
    let by_llama_cpp = sandbox.score(&endpoint);
    second.kill();
    let gone = coordinator.wait_for("worker takes no samples");
    assert_eq!(text(&gone, "worker_id"), "llama-cpp");
    let by_vllm = sandbox.score(&endpoint);

    let verdicts = [("engine", by_engine), ("llama-cpp", by_llama_cpp), ("vllm", by_vllm)];
    for (worker, verdict) in &verdicts {
        assert_eq!(
            verdict["run"]["workers"],
            serde_json::json!([worker]),
            "the largest class serves"
        );
        assert_eq!(verdict["counts"]["asked"], 8, "{verdict}");
        let rewards = verdict["rewards"].as_array().expect("a list");
        assert!(rewards.iter().all(|reward| reward.is_number()), "{verdict}");
    }
    let numerics = |at: usize| text(&verdicts[at].1["provenance"], "numerics").to_owned();
    assert!(numerics(1).starts_with("upstream:llama.cpp:"), "{}", numerics(1));
    assert!(numerics(2).starts_with("upstream:vllm:"), "{}", numerics(2));
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let [one, other] = [one, other].map(|at: usize| &verdicts[at].1["provenance"]);
        assert_ne!(one["numerics"], other["numerics"]);
        assert_ne!(one["model_digest"], other["model_digest"]);
    }
}

/// A verdict on the item, whatever its status.
fn ask(item: &str, endpoint: &str) -> serde_json::Value {
    let mut arguments = vec!["score", item, "--json", "--samples", "--endpoint", endpoint];
    arguments.extend(SETTINGS);
    let ended = jury(&arguments);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr))
}

fn workers(verdict: &serde_json::Value) -> Vec<&str> {
    let workers = verdict["run"]["workers"].as_array().expect("a list").iter();
    workers.map(|worker| worker.as_str().expect("a name")).collect()
}

#[test]
#[ignore = "needs a real llama-server: make upstream-tests"]
fn a_worker_killed_in_the_middle_is_replaced_by_its_class_alone() {
    let sandbox = Sandbox::new();
    let (model, name) = (model_path(), model_name());
    let server = llama_server(Path::new(&model), &name, 2);
    let mut engine = sandbox.worker("engine");
    let tokenizer = ["--tokenizer", &model];
    let ids = ["llama-a", "llama-b"];
    let mut fronts = ids.map(|id| worker(&sandbox, id, &server, &name, &tokenizer));
    let (mut coordinator, endpoint) = sandbox.coordinator(3);
    let item = sandbox.item();

    // The only worker of its class, although others could draw: its request ends with the samples that it had drawn
    // itself.
    let alone = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&item, &endpoint));
        let started = coordinator.wait_for("samples started");
        assert_eq!(text(&started, "worker_id"), "engine", "the largest class serves");
        engine.kill();
        coordinator.wait_for("samples in flight were lost");
        asked.join().expect("the request is answered")
    });
    assert_ne!(alone["status"], "OK", "{alone}");
    assert!(alone["counts"]["failed"].as_u64() > Some(0), "{alone}");
    assert!(workers(&alone).iter().all(|id| *id == "engine"), "{alone}");
    assert!(!text(&alone["provenance"], "numerics").starts_with("upstream:"), "{alone}");

    // One of two: the other one draws what it lost.
    let replaced = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&item, &endpoint));
        let started = coordinator.wait_for("samples started");
        let victim = ids.iter().position(|id| *id == text(&started, "worker_id"));
        fronts[victim.expect("the engine is gone")].kill();
        coordinator.wait_for("samples in flight were lost");
        asked.join().expect("the request is answered")
    });
    assert_eq!(replaced["status"], "OK", "{replaced}");
    assert!(replaced["run"]["reissued"].as_u64() > Some(0), "{replaced}");
    assert!(workers(&replaced).iter().all(|id| ids.contains(id)), "{replaced}");
    assert!(text(&replaced["provenance"], "numerics").starts_with("upstream:llama.cpp:"));
}

#[test]
#[ignore = "needs a real vLLM: make upstream-tests"]
fn a_meta_rm_behind_vllm_ranks_what_the_engine_draws_as_one_in_the_engine_does() {
    let sandbox = Sandbox::new();
    let folder = named("JURY_VLLM_REWARD_MODEL");
    let folder = folder.to_str().expect("it is text");
    let server = vllm(Path::new(folder), "metarm", &["--runner", "pooling"]);
    let _judge = sandbox.worker("judge");
    let _meta =
        worker(&sandbox, "meta", &server, "metarm", &["--role", "meta", "--tokenizer", folder]);
    let (_coordinator, endpoint) = sandbox.coordinator(2);
    let behind = score(&sandbox.item(), &["--endpoint", &endpoint, "--meta", "metarm"]);
    let within =
        score(&sandbox.item(), &["--model", &model_path(), "--meta", &format!("model:{folder}")]);
    let scores = |verdict: &serde_json::Value| -> Vec<f64> {
        assert_eq!(verdict["status"], "OK", "{verdict}");
        let samples = verdict["samples"].as_array().expect("they were asked for").iter();
        samples.map(|sample| sample["meta_score"].as_f64().expect("it is ranked")).collect()
    };
    let (behind, within) = (scores(&behind), scores(&within));
    println!("vLLM {behind:?}, engine {within:?}");
    for (behind, within) in behind.iter().zip(&within) {
        assert!((behind - within).abs() < 0.1, "{behind} and {within}");
    }
    let spread = within.iter().copied().fold(f64::MIN, f64::max)
        - within.iter().copied().fold(f64::MAX, f64::min);
    assert!(spread > 0.3, "scores that are all alike would agree by chance: {within:?}");
}
