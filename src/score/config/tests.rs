use clap::Parser;
use jury_engine::CardWeights;
use jury_grm::domain::{StopRule, VoteRule};

use super::*;
use crate::args::{Args, Command};

fn config(line: &str) -> Result<ScoreConfig, Refused> {
    let words = ["jury", "score"].into_iter().chain(line.split_whitespace());
    let args = Args::try_parse_from(words).unwrap();
    let Command::Score(args) = args.command else { panic!("not score") };
    (*args).try_into()
}

#[test]
fn a_refusal_names_its_option_and_the_limit() {
    for (line, message) in [
        ("a.json --temperature 3", "--temperature: must be between 0 and 2, is 3"),
        ("a.json --temperature -1", "--temperature: must be between 0 and 2, is -1"),
        ("a.json --top-p 0", "--top-p: must be above 0 and at most 1, is 0"),
        ("a.json -k 4 --min-samples 5", "--min-samples: must be between 1 and k = 4, is 5"),
        (
            "a.json --vote top",
            "--vote: needs meta scores; name a Meta RM (--meta, or meta in JSON), or take \"mean\" or \"majority\"",
        ),
        (
            "--items a.jsonl --record s.parquet",
            "--record: needs --out for a batch: the samples are read from its verdicts at the end",
        ),
        (
            "--items - --out v.jsonl --record s.parquet",
            "--record: needs --items from a file: it is read again at the end",
        ),
        ("a.json --record a.json", "--record: is the file of the item; name another one"),
        (
            "a.json --endpoint http://h:1 --meta m -k 4 --k-meta 5",
            "--k-meta: must be between 1 and k = 4, is 5",
        ),
        ("a.json --stop confidence=0.3", "--stop: must be above 0.5 and below 1, is 0.3"),
        ("a.json -k 4 --refill 5", "--refill: must be at most k = 4, is 5"),
        ("a.json --scale 5..5", "--scale: must be 0 <= min < max <= 100, is 5..5"),
        ("a.json --budget 0s", "--budget: must be at least 1 ms"),
        ("--items a.jsonl --concurrency 0", "--concurrency: must be between 1 and 1024, is 0"),
    ] {
        assert_eq!(config(line).unwrap_err().to_string(), message, "{line}");
    }
}

#[test]
fn what_only_an_embedded_judge_can_do_is_refused_with_an_endpoint() {
    for flag in ["--template t.j2", "--threads 2", "--device cpu", "--card-weights int8"] {
        let error = config(&format!("a.json --endpoint http://h:1 {flag}")).unwrap_err();
        assert!(flag.starts_with(&error.flag), "{error}");
    }
}

#[test]
fn weights_on_a_card_are_bf16_unless_it_is_said_otherwise() {
    for (options, kind) in [
        ("", CardWeights::Bfloat16),
        ("--card-weights bf16", CardWeights::Bfloat16),
        ("--card-weights int8", CardWeights::Int8),
    ] {
        let judge = config(&format!("a.json {options}")).unwrap().judge;
        let Judge::Embedded { model, .. } = judge else { panic!("not embedded") };
        assert_eq!(model.card_weights, kind, "{options}");
    }
}

#[test]
fn what_only_a_judge_at_an_endpoint_can_use_is_refused_without_one() {
    for (options, flag) in
        [("--token t", "--token"), ("--token-file f", "--token"), ("--tls-ca ca.pem", "--tls-ca")]
    {
        assert_eq!(config(&format!("a.json {options}")).unwrap_err().flag, flag, "{options}");
    }
}

#[test]
fn an_option_of_batches_is_refused_for_a_single_item_and_never_ignored() {
    for (line, flag) in [
        ("a.json --out v.jsonl", "--out"),
        ("a.json --out v.jsonl --resume", "--out"),
        ("a.json --unordered", "--unordered"),
    ] {
        let error = config(line).unwrap_err();
        assert_eq!(error.flag, flag, "{line}");
        assert!(error.problem.starts_with("needs --items"), "{error}");
    }
    assert!(config("--items a.jsonl --out v.jsonl --resume --allow-mixed").is_ok());
    assert!(config("a.json --concurrency 2").is_ok(), "it may come from the environment");
}

#[test]
fn the_budget_depends_on_who_judges() {
    let budget_ms = |line| config(line).unwrap().request.budget_ms.unwrap().get();
    assert_eq!(budget_ms("a.json"), 300_000);
    assert_eq!(budget_ms("a.json --endpoint http://h:1"), 60_000);
    assert_eq!(budget_ms("a.json --budget 90s"), 90_000);
}

#[test]
fn a_person_gets_samples_and_a_machine_only_when_it_asks() {
    let samples = |line| config(line).unwrap().request.include_samples;
    assert!(samples("a.json"));
    assert!(!samples("a.json --json"));
    assert!(samples("a.json --json --samples"));
    assert!(!samples("--items a.jsonl"));
    let states = |line| config(line).unwrap().request.include_hidden_states;
    assert!(states("a.json --samples --hidden-states"));
    assert!(!states("a.json --samples"));
}

#[test]
fn votes_and_stop_rules_reach_the_request() {
    let voting = |line| config(line).unwrap().request.voting;
    assert_eq!(voting("a.json"), Voting::default());
    assert_eq!(voting("a.json --meta none"), Voting::default());
    let line =
        "a.json --endpoint http://h:1 --meta m --vote top --k-meta 2 --stop lossless --refill 1";
    let asked = Voting {
        meta: Some("m".to_owned()),
        rule: Some(VoteRule::Top),
        k_meta: Some(2),
        stop: StopRule::Lossless,
        refill: 1,
    };
    assert_eq!(voting(line), asked);
}

#[test]
fn a_dash_is_stdin() {
    assert_eq!(config("-").unwrap().input, Input::One(Source::Stdin));
    assert_eq!(config("--items -").unwrap().input, Input::Many(Source::Stdin));
}

#[test]
fn a_named_model_is_asked_of_an_endpoint_and_run_without_one() {
    let asked = config("a.json --endpoint http://h:1 --model m").unwrap();
    assert_eq!(asked.request.model.as_deref(), Some("m"));
    let embedded = config("a.json --model m").unwrap();
    assert_eq!(embedded.request.model, None);
    assert!(matches!(embedded.judge, Judge::Embedded { model, .. } if model.name == "m"));
}
