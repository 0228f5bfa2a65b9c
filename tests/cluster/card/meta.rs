//! A Meta RM on the emulated card: beside its judge, and when the card is lost.

use serde_json::{Value, json};

use super::super::process::{Process, text};
use super::super::sandbox::{ITEM, Sandbox, ready, stable_bytes};
use super::super::tiny;
use super::{SETTINGS, ended, jury_on_a_card, verdict};

/// Kernels that run before the card is lost: more than loading takes, fewer than a ranking.
const RANKING_LAUNCHES: &str = "8";
/// What a loading engine leaves free on a card, besides weights, buffers, keys and values.
const CARD_RESERVE_BYTES: u64 = 768 << 20;
/// What an engine uses before it checks how much is free: the workspace of products, and some pages of a tiny model.
/// Less than two engines use.
const CARD_WORKSPACE_BYTES: u64 = 40 << 20;

#[test]
fn a_judge_and_its_meta_rm_share_a_card_and_the_judge_goes_first_where_one_alone_finds_room() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let judge = tiny::model(folder.path(), "qwen2");
    let meta = format!("model:{}", tiny::model(folder.path(), "gemma2_reward"));
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let item = item.to_str().expect("a temporary path is UTF-8");
    let models = ["--model", &judge, "--meta", &meta, "--log", "info", "--log-format", "json"];
    let events_of = |more: &[(&str, &str)]| -> Vec<Value> {
        let arguments = [&["score", item, "--json"], &SETTINGS[..], &models].concat();
        let scored = ended(jury_on_a_card(more), &arguments);
        let verdict: Value = serde_json::from_str(&scored.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", scored.stderr));
        assert!(verdict["provenance"]["meta_digest"].is_string(), "{verdict}");
        scored.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    // The device on which a model computed in the end.
    let device = |events: &[Value], model: &str| {
        let mut loads = events.iter().filter(|event| text(event, "message") == "model loaded");
        let last = loads.rfind(|event| text(event, "model") == model).expect("it is loaded");
        text(last, "device").to_owned()
    };
    let roomy = events_of(&[]);
    for model in ["qwen2", "gemma2_reward"] {
        assert!(device(&roomy, model).starts_with("cuda:0"), "{model}");
    }
    let on_the_card =
        roomy.iter().filter(|event| text(event, "message") == "model loaded to the card");
    let bytes = |event: &Value, field: &str| event[field].as_u64().expect("it is told");
    let model_bytes =
        on_the_card.map(|event| bytes(event, "weight_bytes") + bytes(event, "buffer_bytes"));
    let larger = model_bytes.max().expect("both were there");
    let scarce = (CARD_RESERVE_BYTES + larger + CARD_WORKSPACE_BYTES).to_string();
    let events = events_of(&[("JURY_EMULATED_MEMORY", &scarce)]);
    assert!(device(&events, "qwen2").starts_with("cuda:0"), "{events:?}");
    assert!(device(&events, "gemma2_reward").starts_with("cpu"), "{events:?}");

    let on_the_card = [&["score", item, "--device", "cuda:0"][..], &models].concat();
    let refused = ended(jury_on_a_card(&[("JURY_EMULATED_MEMORY", &scarce)]), &on_the_card);
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    for words in ["are free", "the Meta RM gemma2_reward is on the same GPU", "--device auto"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}

#[test]
fn a_meta_rm_whose_card_is_lost_comes_back_and_ranks_as_before() {
    let sandbox = Sandbox::new();
    let folder = sandbox.folder.path();
    let (judge, reward) = (tiny::model(folder, "qwen2"), tiny::model(folder, "gemma2_reward"));
    let (item, etcd) = (sandbox.item(), sandbox.etcd.endpoint());
    let undisturbed = verdict(&item, &["--model", &judge, "--meta", &format!("model:{reward}")]);
    assert!(undisturbed["provenance"]["meta_digest"].is_string(), "{undisturbed}");

    let worker = |id: &str, model: &str, role: &str, more: &[(&str, &str)]| {
        let mut command = jury_on_a_card(more);
        command.args(["worker", "--etcd", &etcd, "--model", model, "--id", id, "--role", role]);
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--log", "info"]);
        let mut worker = Process::start(id, command);
        worker.wait_for("registered");
        worker
    };
    let _draws = worker("w1", &judge, "grm", &[]);
    let mut ranks =
        worker("m1", &reward, "meta", &[("JURY_EMULATED_LOSE_AFTER", RANKING_LAUNCHES)]);
    let mut coordinator = sandbox.start_coordinator();
    let endpoint = ready(&mut coordinator, 2);
    let at_endpoint = ["--endpoint", &endpoint, "--meta", "gemma2_reward"];
    let disturbed = verdict(&item, &at_endpoint);
    for step in [
        "the card is lost",
        "worker leaves the fleet",
        "the model is loaded anew",
        "worker joins the fleet again",
    ] {
        ranks.wait_for(step);
    }
    coordinator.wait_for("worker is ready");
    // Samples ranked before or after the loss get the same scores; the rest has no meta score, and the vote does
    // without.
    let samples = |verdict: &Value| verdict["samples"].as_array().expect("asked for").clone();
    for (sample, calm) in samples(&disturbed).iter().zip(samples(&undisturbed)) {
        assert_eq!(sample["scores"], calm["scores"]);
        let score = &sample["meta_score"];
        assert!(score.is_null() || *score == calm["meta_score"], "{disturbed}");
    }
    assert!(disturbed["rewards"][0].is_number(), "{disturbed}");
    let ranked = verdict(&item, &at_endpoint);
    assert_eq!(stable_bytes(&ranked), stable_bytes(&undisturbed));
    assert_eq!(ranks.terminate(), Some(0));
}

#[test]
fn states_that_a_lost_card_did_not_give_are_read_by_the_same_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (judge, backbone) =
        (tiny::model(folder.path(), "qwen2"), tiny::model(folder.path(), "gemma2"));
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let line = |at: usize| {
        let query = format!("What is in inn {at}?");
        json!({"id": at.to_string(), "query": query, "responses": ["a hat", "a tin"], "best": at % 2})
            .to_string()
    };
    let (items, samples) = (path("items.jsonl"), path("samples"));
    std::fs::write(&items, (0..3).map(line).collect::<Vec<_>>().join("\n")).expect("ours");
    let judged =
        [&["eval", &items, "--out", &samples, "--model", &judge, "-k", "2"], &SETTINGS[2..]];
    let judged = ended(jury_on_a_card(&[]), &judged.concat());
    assert_eq!(judged.code, Some(0), "{}", judged.stderr);

    let train = ["train", "meta", "--items", &items, "--samples", &samples, "--replay"];
    let head = path("head.safetensors");
    let train =
        [&train[..], &["--model", &judge, "--backbone", &backbone, "--out", &head]].concat();
    let lost = ended(jury_on_a_card(&[("JURY_EMULATED_LOSE_AFTER", RANKING_LAUNCHES)]), &train);
    assert_eq!(lost.code, Some(69), "{}", lost.stderr);
    assert!(lost.stderr.contains("the same command continues"), "{}", lost.stderr);
    let states = || {
        let files = std::fs::read_dir(&samples).expect("it is there").flatten();
        let mut files =
            files.filter(|file| file.file_name().to_string_lossy().starts_with("states-"));
        std::fs::read_to_string(files.next().expect("it was begun").path()).expect("text")
    };
    assert!(states().lines().count() < 3);
    // Whatever three items teach a head: all of them are read now.
    ended(jury_on_a_card(&[]), &train);
    assert_eq!(states().lines().count(), 3);
    assert!(!states().contains("problem"), "{}", states());
}
