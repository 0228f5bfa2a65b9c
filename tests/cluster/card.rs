//! A judge on an emulated CUDA card: our kernels, compiled for this machine's CPU, behind the calls that a real card
//! would get (`kernels/cuda/emulated`).

mod batch;
mod meta;

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::process::{Ended, Process, jury_command, text};
use super::sandbox::{ITEM, Sandbox, ready, stable_bytes};
use super::tiny;

/// Few and short samples: an emulated card is slow.
const SETTINGS: [&str; 10] = [
    "-k",
    "2",
    "--seed",
    "7",
    "--max-critique-tokens",
    "8",
    "--budget",
    "10m",
    "--min-readout-mass",
    "0",
];
/// Kernels that run before the card is lost: more than loading takes, fewer than a verdict.
const LAUNCHES: &str = "60";

/// `jury` with the emulated libraries.
fn jury_on_a_card(more: &[(&str, &str)]) -> Command {
    let mut command = jury_command();
    command.env("JURY_CUDA_LIBRARIES", libraries()).envs(more.iter().copied());
    command
}

/// The folder of the emulated libraries, compiled on first use.
fn libraries() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/emulated-cuda");
        let made = Command::new(script).output().expect("a shell runs it");
        // Without a C++ compiler, the message says what to do.
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).expect("a path is UTF-8").trim().to_owned()
    })
}

fn ended(mut command: Command, arguments: &[&str]) -> Ended {
    let output = command.args(arguments).output().expect("the jury binary runs");
    Ended {
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// The verdict of an item.
fn verdict(item: &str, more: &[&str]) -> Value {
    let arguments = [&["score", item, "--json", "--samples"], &SETTINGS[..], more].concat();
    let scored = ended(jury_on_a_card(&[]), &arguments);
    assert!(matches!(scored.code, Some(0 | 1 | 3)), "{}\n{}", scored.stderr, scored.stdout);
    serde_json::from_str(&scored.stdout).unwrap_or_else(|_| panic!("{}", scored.stderr))
}

#[test]
fn a_card_that_is_lost_changes_no_byte_of_the_verdict_and_the_worker_comes_back_by_itself() {
    let sandbox = Sandbox::new();
    let (model, item) = (tiny::model(sandbox.folder.path(), "qwen2"), sandbox.item());
    let undisturbed = verdict(&item, &["--model", &model, "--device", "cuda:0"]);
    assert!(text(&undisturbed["provenance"], "numerics").starts_with("cuda-"), "{undisturbed}");

    let etcd = sandbox.etcd.endpoint();
    let mut command = jury_on_a_card(&[("JURY_EMULATED_LOSE_AFTER", LAUNCHES)]);
    command.args(["worker", "--etcd", &etcd, "--model", &model, "--id", "w1"]);
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--log", "info"]);
    let mut worker = Process::start("worker", command);
    let loaded = worker.wait_for("model loaded");
    assert!(!text(&loaded, "message").is_empty());
    worker.wait_for("registered");
    let mut coordinator = sandbox.start_coordinator();
    let endpoint = ready(&mut coordinator, 1);
    let disturbed = std::thread::scope(|scope| {
        let scored = scope.spawn(|| verdict(&item, &["--endpoint", &endpoint]));
        for step in [
            "the card is lost",
            "worker leaves the fleet",
            "the model is loaded anew",
            "worker joins the fleet again",
        ] {
            worker.wait_for(step);
        }
        coordinator.wait_for("worker is ready");
        scored.join().expect("the request is answered")
    });
    assert!(disturbed["run"]["reissued"].as_u64() > Some(0), "{}", disturbed["run"]);
    assert_eq!(stable_bytes(&disturbed), stable_bytes(&undisturbed));
    assert_eq!(worker.terminate(), Some(0));
}

#[test]
fn weights_are_kept_in_8_bits_for_whoever_asks_so_by_option_or_environment() {
    let sandbox = Sandbox::new();
    let (model, item) = (tiny::model(sandbox.folder.path(), "qwen2"), sandbox.item());
    let on_the_card = ["--model", &model, "--device", "cuda:0"];
    let scored = verdict(&item, &[&on_the_card[..], &["--card-weights", "int8"]].concat());
    let numerics = text(&scored["provenance"], "numerics");
    assert!(numerics.starts_with("cuda-int8-"), "{numerics}");

    let mut command = jury_on_a_card(&[("JURY_CARD_WEIGHTS", "int8")]);
    command.args(["up", "--listen", "127.0.0.1:0"]).args(on_the_card);
    command.args(["--log-format", "json", "--log", "info"]);
    let mut up = Process::start("up", command);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let served = verdict(&item, &["--endpoint", &endpoint]);
    assert_eq!(stable_bytes(&served), stable_bytes(&scored));
}

#[test]
fn auto_takes_the_card_and_says_so_and_the_cpu_where_the_model_does_not_fit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = tiny::model(folder.path(), "qwen2");
    let loaded = |more: &[(&str, &str)]| {
        let mut command = jury_on_a_card(more);
        command.args(["up", "--model", &model, "--listen", "127.0.0.1:0"]);
        command.args(["--log-format", "json", "--log", "info"]);
        let mut up = Process::start("up", command);
        let loaded = up.wait_until("a device", |event| event["device"].is_string());
        text(&loaded, "device").to_owned()
    };
    assert_eq!(loaded(&[]), "cuda:0 (Emulated CUDA device)");
    assert!(loaded(&[("JURY_EMULATED_MEMORY", "64000000")]).starts_with("cpu ("));
}

#[test]
fn a_card_that_cannot_be_had_is_refused_with_what_is_needed_and_the_way_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = tiny::model(folder.path(), "qwen2");
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let item = item.to_str().expect("a temporary path is UTF-8");
    let refused = |device: &str, more: &[(&str, &str)]| {
        let arguments = ["score", item, "--model", &model, "--device", device];
        let refused = ended(jury_on_a_card(more), &arguments);
        assert_eq!(refused.code, Some(69), "{}", refused.stderr);
        refused.stderr
    };
    let absent = refused("cuda:7", &[]);
    for words in ["--device", "GPU 7 does not exist, 1 found", "jury doctor"] {
        assert!(absent.contains(words), "{absent}");
    }
    let full = refused("cuda:0", &[("JURY_EMULATED_MEMORY", "64000000")]);
    for words in ["needs", "of weights", "are free"] {
        assert!(full.contains(words), "{full}");
    }
}

#[test]
fn doctor_tells_the_card_its_libraries_and_how_fast_it_is() {
    let told = ended(jury_on_a_card(&[]), &["doctor", "--json"]);
    let told: Value =
        serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{}", told.stderr));
    let cuda = &told["cuda"];
    for library in ["driver", "products"] {
        let file = text(&cuda[library], "works");
        assert!(file.starts_with(libraries()), "{cuda}");
    }
    let card = &cuda["cards"][0];
    assert_eq!((text(card, "device"), text(card, "capability")), ("cuda:0", "8.0"));
    for rate in ["copy_gbps", "product_tflops"] {
        assert!(card["limits"][rate].as_f64() > Some(0.0), "{card}");
    }
}
