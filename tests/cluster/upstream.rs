//! A fleet of the embedded engine and a real llama-server with the same model: `make upstream-tests`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::process::{Process, model_path, text};
use super::sandbox::Sandbox;

/// Killed when dropped.
struct LlamaServer {
    child: Child,
    url: String,
}

impl LlamaServer {
    fn start() -> Self {
        let program =
            std::env::var_os("JURY_LLAMA_SERVER").expect("make upstream-tests names llama-server");
        let mut child = Command::new(program)
            .args([
                "-m",
                &model_path(),
                "--port",
                "0",
                "-np",
                "2",
                "-c",
                "4096",
                "--metrics",
                "--no-repack",
                "-t",
                "1",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("llama-server starts");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let url = lines
            .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
            .expect("llama-server tells its address");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs a real llama-server: make upstream-tests"]
fn samples_of_the_engine_and_of_an_upstream_never_share_a_vote() {
    let sandbox = Sandbox::new();
    let server = LlamaServer::start();
    let mut engine = sandbox.worker("engine");
    let model = model_path();
    let name = std::path::Path::new(&model).file_stem().expect("a file").to_str().expect("a name");
    let (etcd, listen) = (sandbox.etcd.endpoint(), "127.0.0.1:0");
    let mut upstream = Process::jury(
        "upstream",
        &[
            "worker",
            "--etcd",
            &etcd,
            "--listen",
            listen,
            "--id",
            "upstream",
            "--backend",
            "openai",
            "--url",
            &server.url,
            "--model",
            name,
            "--tokenizer",
            &model,
        ],
    );
    upstream.wait_for("registered");
    let (mut coordinator, endpoint) = sandbox.coordinator(2);

    let first = sandbox.score(&endpoint);
    assert_eq!(first["run"]["workers"], serde_json::json!(["engine"]), "the larger class serves");
    engine.kill();
    let gone = coordinator.wait_for("worker takes no samples");
    assert_eq!(text(&gone, "worker_id"), "engine");
    let second = sandbox.score(&endpoint);
    assert_eq!(second["run"]["workers"], serde_json::json!(["upstream"]));
    for field in ["model_digest", "numerics"] {
        assert_ne!(first["provenance"][field], second["provenance"][field], "{field}");
    }
    assert!(text(&second["provenance"], "numerics").starts_with("upstream:llama.cpp:"));
    for verdict in [&first, &second] {
        assert_eq!(verdict["counts"]["asked"], 8, "{verdict}");
        let rewards = verdict["rewards"].as_array().expect("a list");
        assert!(rewards.iter().all(|reward| reward.is_number()), "{verdict}");
    }
}
