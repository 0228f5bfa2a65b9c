//! `jury bench` as a process: what a script reads from its output, and how it exits.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use super::process::{jury, jury_command, model_path, terminate};

#[test]
fn the_coordinator_is_measured_and_a_script_finds_the_figures_by_name() {
    let few = ["--workers", "1,2", "--k", "64", "--in-flight", "1", "--rounds", "1"];
    let short = ["--seconds", "1", "--tokens", "8", "--decode-rate", "1000"];
    let ended = jury(&[&["bench", "cluster", "--json"], &few[..], &short].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).expect("--json prints one JSON object");
    let figure = |name: &str| told[name].as_f64().unwrap_or_else(|| panic!("{name}: {told}"));
    assert!(figure("samples_per_second") > 0.0);
    assert!(figure("cpu_us_per_sample") > 0.0);
    assert!(figure("overhead_p50_ms") > 0.0);
    assert!(figure("overhead_p99_ms") >= figure("overhead_p50_ms"));
    let efficiency = told["efficiency"].as_object().expect("by number of workers");
    assert_eq!(efficiency.keys().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(efficiency["1"], 1.0);
    assert!(efficiency["2"].as_f64() > Some(0.0));
    let points = told["points"].as_array().expect("every point");
    assert!(points.iter().all(|point| point["not_whole"] == 0), "{told}");
}

#[test]
fn simulated_workers_may_run_in_processes_of_their_own() {
    let few = ["--workers", "3", "--k", "8", "--in-flight", "1", "--rounds", "1"];
    let short = ["--seconds", "0.5", "--tokens", "8", "--decode-rate", "1000"];
    let apart = ["bench", "cluster", "--json", "--processes", "2"];
    let ended = jury(&[&apart[..], &few, &short].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).expect("--json prints one JSON object");
    let points = told["points"].as_array().expect("every point");
    assert!(points.iter().all(|point| point["not_whole"] == 0), "{told}");
    assert!(told["samples_per_second"].as_f64() > Some(0.0));
}

#[test]
fn a_signal_ends_a_measurement_of_a_server_that_keeps_silent_without_a_panic() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", server.local_addr().expect("it is bound"));
    let tokenizer = model_path();
    let mut command = jury_command();
    command.args(["bench", "upstream", "--url", &url, "--model", "m", "--tokenizer", &tokenizer]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the jury binary runs");
    // It has sent its request, and now waits on a timer of the runtime.
    let (_connection, _) = server.accept().expect("it asks the server");
    let code = terminate(&mut child);
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("stderr is UTF-8");
    assert_eq!(code, Some(130), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
