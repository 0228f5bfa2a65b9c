//! A head on the judging model's own hidden states, from its file to the vote.

use std::path::Path;

use jury_engine::head::{Calibration, Head, HeadCard, Network, Standardisation, StatePlace};
use serde_json::Value;

use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, Sandbox, score, stable_bytes};

/// Width of a hidden state of the test model.
const WIDTH: usize = 576;

/// Writes an untrained head, with a different weight for every number of a state.
fn write_head(path: &Path, model_digest: &str, place: StatePlace) {
    let card = HeadCard {
        name: "untrained".to_owned(),
        model_digest: model_digest.to_owned(),
        data_digest: None,
        place,
    };
    let weights = (0..WIDTH).map(|place| (place as f32 * 1.7).sin() / 8.0).collect();
    let standardisation = Standardisation { mean: vec![0.0; WIDTH], deviation: vec![1.0; WIDTH] };
    let network = Network::Linear { weights, bias: 0.0 };
    let head = Head::new(card, standardisation, network, Calibration::NONE).expect("it is sound");
    std::fs::write(path, head.to_bytes()).expect("a new file");
}

fn of_samples<'a>(verdict: &'a Value, field: &str) -> Vec<&'a Value> {
    let samples = verdict["samples"].as_array().expect("they were asked for");
    samples.iter().map(|sample| &sample[field]).collect()
}

fn meta_scores(verdict: &Value) -> Vec<(u64, f64)> {
    let samples = verdict["samples"].as_array().expect("they were asked for");
    let of_sample = |sample: &Value| {
        let index = sample["index"].as_u64().expect("every sample has one");
        (index, sample["meta_score"].as_f64().expect("it is ranked"))
    };
    samples.iter().map(of_sample).collect()
}

#[test]
fn a_head_ranks_the_samples_of_its_model_embedded_as_served_and_refuses_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("it is text").to_owned();
    let (item, head, foreign) = (file("item.json"), file("head"), file("foreign"));
    std::fs::write(&item, ITEM).expect("a new file");
    let model = model_path();
    let plain = score(&item, &["--model", &model]);
    let digest = text(&plain["provenance"], "model_digest");
    write_head(Path::new(&head), digest, StatePlace::ScoreLine);
    write_head(Path::new(&foreign), &"0".repeat(64), StatePlace::ScoreLine);

    let embedded = score(&item, &["--model", &model, "--meta", &format!("head:{head}")]);
    assert_eq!(embedded["status"], "OK", "{embedded}");
    assert!(embedded["provenance"]["meta_digest"].is_string());
    let mut ranked = meta_scores(&embedded);
    let voters = embedded["voters"].as_array().expect("a list").len();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut best: Vec<u64> = ranked[..voters].iter().map(|(index, _)| *index).collect();
    best.sort_unstable();
    assert_eq!(embedded["voters"], serde_json::json!(best));
    assert!(ranked.windows(2).any(|pair| pair[0].1 > pair[1].1), "it tells samples apart");
    // Ranking changes no sample.
    for field in ["critique", "scores", "score_distribution"] {
        assert_eq!(of_samples(&plain, field), of_samples(&embedded, field));
    }

    let arguments = ["up", "--model", &model, "--listen", "127.0.0.1:0", "--head", &head];
    let mut up = Process::jury("up", &arguments);
    let endpoint = format!("http://{}", text(&up.wait_for("listening"), "address"));
    let served = score(&item, &["--endpoint", &endpoint, "--meta", "untrained"]);
    assert_eq!(stable_bytes(&served), stable_bytes(&embedded));
    let status = jury(&["status", "--endpoint", &endpoint]);
    assert!(status.stdout.contains("head untrained ("), "{}", status.stdout);
    assert_eq!(up.terminate(), Some(0));

    let refused =
        jury(&["worker", "--model", &model, "--listen", "127.0.0.1:0", "--head", &foreign]);
    assert_eq!(refused.code, Some(65), "{}", refused.stderr);
    assert!(refused.stderr.contains("trained on the states of model 000"), "{}", refused.stderr);
}

#[test]
fn a_meta_rm_of_its_own_ranks_what_another_worker_draws() {
    let sandbox = Sandbox::new();
    let (model, etcd) = (model_path(), sandbox.etcd.endpoint());
    let plain = score(&sandbox.item(), &["--model", &model]);
    let head = sandbox.folder.path().join("head");
    write_head(&head, text(&plain["provenance"], "model_digest"), StatePlace::EndOfTurn);
    let head = head.to_str().expect("it is text");
    let _grm = sandbox.worker("grm");
    let mut arguments = vec!["worker", "--role", "meta", "--id", "meta", "--etcd", &etcd];
    arguments.extend(["--model", &model, "--head", head, "--listen", "127.0.0.1:0"]);
    let mut meta = Process::jury("meta", &arguments);
    meta.wait_for("registered");
    let (_coordinator, endpoint) = sandbox.coordinator(2);

    let status = jury(&["status", "--endpoint", &endpoint]);
    assert!(status.stdout.contains(": meta, which draws no samples"), "{}", status.stdout);
    let name = text(&plain["provenance"], "model");
    let verdict = score(&sandbox.item(), &["--endpoint", &endpoint, "--meta", name]);
    assert_eq!(verdict["status"], "OK", "{verdict}");
    let (by, of) = (&verdict["provenance"]["meta_digest"], &verdict["provenance"]["model_digest"]);
    assert!(by.is_string() && by != of);
    let mut ranked = meta_scores(&verdict);
    let voters = verdict["voters"].as_array().expect("a list").len();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut best: Vec<u64> = ranked[..voters].iter().map(|(index, _)| *index).collect();
    best.sort_unstable();
    assert_eq!(verdict["voters"], serde_json::json!(best));
    assert!(ranked.windows(2).any(|pair| pair[0].1 > pair[1].1), "it tells samples apart");
    for field in ["critique", "scores", "score_distribution"] {
        assert_eq!(of_samples(&plain, field), of_samples(&verdict, field));
    }
    let again = score(&sandbox.item(), &["--endpoint", &endpoint, "--meta", name]);
    assert_eq!(stable_bytes(&again), stable_bytes(&verdict));
}

#[test]
fn an_embedded_meta_rm_that_the_prompt_does_not_fit_leaves_a_plain_vote_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).expect("a new file");
    let item = item.to_str().expect("it is text");
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/engine/tests/fixtures/gemma2_reward");
    let meta = format!("model:{tiny}");
    let model = model_path();
    let ranked = score(item, &["--model", &model, "--meta", &meta]);
    assert_eq!(ranked["status"], "PARTIAL", "{ranked}");
    let why = text(&ranked, "meta_unavailable");
    assert!(why.contains("context of 128"), "{why}");
    let plain = score(item, &["--model", &model]);
    assert_eq!(ranked["rewards"], plain["rewards"]);
}
