//! `jury bench cluster` as a process: what a script finds in its answer.

use serde_json::Value;

use super::process::jury;

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
