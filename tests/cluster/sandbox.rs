//! A whole cluster on loopback.

use serde_json::Value;
use tempfile::TempDir;

use super::etcd::Etcd;
use super::process::{Process, jury, model_path, text};

/// The item that every test scores: small enough for a slow machine, long enough to be killed halfway.
pub const ITEM: &str = r#"{"id": "capital", "query": "What is the capital of Australia?",
  "responses": ["Canberra is the capital of Australia.", "Sydney is the capital."]}"#;
/// Settings of every score in this suite, so that verdicts can be compared.
pub const SETTINGS: [&str; 8] =
    ["-k", "8", "--seed", "7", "--max-critique-tokens", "96", "--budget", "5m"];

/// etcd, and a folder for files.
pub struct Sandbox {
    pub folder: TempDir,
    pub etcd: Etcd,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let etcd = Etcd::start(folder.path());
        Self { folder, etcd }
    }

    /// A worker of the test model, registered and serving.
    pub fn worker(&self, worker_id: &str) -> Process {
        let mut worker = self.start_worker(worker_id);
        worker.wait_for("registered");
        worker
    }

    /// The same, without waiting for its registration.
    pub fn start_worker(&self, worker_id: &str) -> Process {
        let (model, endpoint) = (model_path(), self.etcd.endpoint());
        Process::jury(
            worker_id,
            &[
                "worker",
                "--etcd",
                &endpoint,
                "--model",
                &model,
                "--id",
                worker_id,
                "--listen",
                "127.0.0.1:0",
                "--threads",
                "1",
            ],
        )
    }

    /// A coordinator that knows `n_workers` ready workers, and its endpoint.
    pub fn coordinator(&self, n_workers: usize) -> (Process, String) {
        let mut coordinator = self.start_coordinator();
        let endpoint = ready(&mut coordinator, n_workers);
        (coordinator, endpoint)
    }

    /// A coordinator, without waiting for anything.
    pub fn start_coordinator(&self) -> Process {
        let endpoint = self.etcd.endpoint();
        let arguments = ["coordinator", "--etcd", &endpoint, "--listen", "127.0.0.1:0"];
        Process::jury("coordinator", &arguments)
    }

    /// Path of a file that contains [`ITEM`].
    pub fn item(&self) -> String {
        let path = self.folder.path().join("item.json");
        std::fs::write(&path, ITEM).expect("the folder is ours");
        path.to_str().expect("a temporary path is UTF-8").to_owned()
    }

    /// The verdict of [`ITEM`] from a coordinator.
    pub fn score(&self, endpoint: &str) -> Value {
        score(&self.item(), &["--endpoint", endpoint])
    }
}

/// Waits until a coordinator listens and knows `n_workers` ready workers; returns its endpoint.
pub fn ready(coordinator: &mut Process, n_workers: usize) -> String {
    let listening = coordinator.wait_for("listening");
    // Workers may have become ready earlier.
    let is_ready = |event: &&Value| text(event, "message") == "worker is ready";
    let n_ready = coordinator.events().iter().filter(is_ready).count();
    for _ in n_ready..n_workers {
        coordinator.wait_for("worker is ready");
    }
    format!("http://{}", text(&listening, "address"))
}

/// Runs `jury score --json` and reads the verdict.
pub fn score(item: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["score", item, "--json", "--samples"];
    arguments.extend(SETTINGS);
    arguments.extend(more);
    let ended = jury(&arguments);
    assert_eq!(ended.code, Some(0), "stderr:\n{}\nstdout:\n{}", ended.stderr, ended.stdout);
    serde_json::from_str(&ended.stdout).expect("--json prints one JSON object")
}

/// Everything in a verdict that must be byte-stable, as the bytes that a caller sees.
pub fn stable_bytes(verdict: &Value) -> String {
    let mut verdict = verdict.clone();
    verdict.as_object_mut().expect("a verdict is an object").remove("run");
    verdict.to_string()
}
