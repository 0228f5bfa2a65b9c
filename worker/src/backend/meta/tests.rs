//! The Meta RM backend on tiny models from the engine's fixtures.

use jury_engine::head::{Calibration, Head, HeadCard, Network, Standardisation, StatePlace};
use jury_grm::domain::{Failure, Role};
use jury_grm::prompt::{Message, Span, Trust};
use jury_proto::convert::Trajectory;

use super::*;
use crate::backend::engine::EngineBackend;
use crate::models::ResolvedModel;

fn config(fixture: &str) -> EngineBackendConfig {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures");
    let (path, digest, name) = (fixtures.join(fixture), "5c".repeat(32), "tiny".to_owned());
    let mut config = EngineBackendConfig::new(ResolvedModel { path, digest, name });
    config.engine.threads = Some(1); // tests run in parallel
    config.engine.kv_budget_bytes = Some(16 << 20);
    config
}

fn reward() -> MetaBackend {
    MetaBackend::load(config("gemma2_reward"), None).unwrap()
}

fn request(texts: &[&str]) -> RankRequest {
    let said = |(index, text): (u32, &&str)| Trajectory { index, text: (*text).to_owned() };
    let span = Span { text: "the inn".into(), trust: Trust::Untrusted, response: None };
    RankRequest {
        model_digest: "5c".repeat(32),
        numerics: String::new(),
        messages: vec![Message { role: Role::User, spans: vec![span] }],
        trajectories: (10..).zip(texts).map(said).collect(),
        request_id: "example".to_owned(),
        remaining_ms: None,
        cache_salt: None,
    }
}

async fn ranked(backend: &MetaBackend, texts: &[&str]) -> Vec<(u32, Result<f64, Failure>)> {
    let ranked = backend.rank(request(texts)).await.unwrap();
    ranked.into_iter().map(|ranked| (ranked.index, ranked.outcome)).collect()
}

#[tokio::test]
async fn trajectories_are_scored_in_their_order_and_as_each_is_alone() {
    let backend = reward();
    let texts = ["the hat", "a tin", "the hat", "the inn in the tin"];
    let together = ranked(&backend, &texts).await;
    assert_eq!(together.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [10, 11, 12, 13]);
    let scores: Vec<f64> = together.into_iter().map(|(_, outcome)| outcome.unwrap()).collect();
    assert_eq!(scores[0].to_bits(), scores[2].to_bits());
    assert_ne!(scores[0].to_bits(), scores[1].to_bits());
    for (text, score) in texts.iter().zip(scores) {
        let alone = ranked(&reward(), &[text]).await.remove(0).1.unwrap();
        assert_eq!(alone.to_bits(), score.to_bits(), "{text}");
    }
    assert_eq!((backend.load().running, backend.load().queued), (0, 0));
}

#[tokio::test]
async fn a_prompt_is_found_in_the_cache_by_calls_of_its_salt_alone() {
    let backend = reward();
    let (mut cached, mut scores) = (Vec::new(), Vec::new());
    for salt in [None, Some("a"), Some("b"), Some("a")] {
        let before = backend.counters().cached_tokens;
        let salted = RankRequest { cache_salt: salt.map(str::to_owned), ..request(&["the hat"]) };
        let ranked = backend.rank(salted).await.unwrap().remove(0);
        cached.push(backend.counters().cached_tokens - before);
        scores.push(ranked.outcome.unwrap().to_bits());
    }
    assert!(cached[..3] == [0; 3] && cached[3] > 0, "{cached:?}");
    assert!(scores.iter().all(|score| *score == scores[0]));
}

#[tokio::test]
async fn special_tokens_in_a_trajectory_are_text() {
    let backend = reward();
    let marks = ranked(&backend, &["hat<end_of_turn>\n", "hat"]).await;
    assert_ne!(marks[0].1.as_ref().unwrap().to_bits(), marks[1].1.as_ref().unwrap().to_bits());
}

#[tokio::test]
async fn a_trajectory_that_is_too_long_fails_alone() {
    let backend = reward();
    let long = "hat ".repeat(100);
    let outcomes = ranked(&backend, &["the hat", &long, "a tin"]).await;
    let failure = outcomes[1].1.as_ref().unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooLong);
    assert!(failure.detail.contains("context of 128"), "{failure}");
    assert!(outcomes[0].1.is_ok() && outcomes[2].1.is_ok());
}

#[tokio::test]
async fn what_has_no_time_left_is_answered_without_a_score() {
    let backend = reward();
    let hurried = RankRequest { remaining_ms: Some(0), ..request(&["the hat", "a tin"]) };
    for ranked in backend.rank(hurried).await.unwrap() {
        assert_eq!(ranked.outcome.unwrap_err().kind, FailureKind::TimedOut);
    }
}

#[tokio::test]
async fn a_dropped_call_frees_its_seats() {
    let backend = reward();
    let texts = vec!["the inn in the tin"; 64];
    let mut call = backend.rank(request(&texts));
    assert!(futures::poll!(&mut call).is_pending());
    assert!(backend.load().running + backend.load().queued > 0);
    drop(call);
    while backend.load().running + backend.load().queued > 0 {
        tokio::task::yield_now().await;
    }
    assert!(ranked(&backend, &["the hat"]).await[0].1.is_ok());
}

#[tokio::test]
async fn a_head_on_states_that_were_read_scores_as_the_served_one_does() {
    let texts = ["the hat", "a tin", &"hat ".repeat(100)];
    let RankRequest { messages, trajectories, .. } = request(&texts);
    let mut reader = StateReader::load(config("gemma2")).unwrap();
    let states = reader.read(&messages, &trajectories).unwrap();
    assert_eq!(states.iter().map(|state| state.index).collect::<Vec<_>>(), [10, 11, 12]);
    assert_eq!(states[2].outcome.as_ref().unwrap_err().kind, FailureKind::TooLong);
    assert!(reader.computed_tokens() > 0);

    let file = head(reader.digest(), StatePlace::EndOfTurn);
    let (head, _) = Head::load(file.path()).unwrap();
    let backend = MetaBackend::load(config("gemma2"), Some(file.path())).unwrap();
    for (ranked, read) in ranked(&backend, &texts[..2]).await.into_iter().zip(states) {
        let score = head.score(&read.outcome.unwrap()).unwrap();
        assert_eq!(ranked.1.unwrap().to_bits(), score.to_bits());
    }
}

#[tokio::test]
async fn a_caller_without_a_seat_is_told_when_to_ask_again() {
    let mut config = config("gemma2_reward");
    config.engine.max_sequences = Some(1);
    config.max_queued_samples = 0;
    let backend = MetaBackend::load(config, None).unwrap();
    let _first = backend.rank(request(&["the hat"]));
    let error = backend.rank(request(&["a tin"])).await.unwrap_err();
    assert_eq!((error.code, error.retry_delay), (ErrorCode::Overloaded, Some(RETRY_AFTER)));
}

#[test]
fn each_role_takes_its_own_kind_of_model() {
    let Err(LoadError::Unsupported { why, .. }) = EngineBackend::load(config("gemma2_reward"))
    else {
        panic!("a scalar reward model draws nothing");
    };
    assert!(why.contains("--role meta"), "{why}");
    let Err(error) = MetaBackend::load(config("gemma2"), None) else { panic!("it has no score") };
    assert!(matches!(error, MetaError::NoScore { .. }), "{error}");
}

fn head(digest: &str, place: StatePlace) -> tempfile::NamedTempFile {
    let (name, model_digest) = ("meta-1".to_owned(), digest.to_owned());
    let card = HeadCard { name, model_digest, data_digest: None, place };
    let width = 64;
    let standardisation = Standardisation { mean: vec![0.0; width], deviation: vec![1.0; width] };
    let network = Network::Linear { weights: vec![0.125; width], bias: 2.5 };
    let head = Head::new(card, standardisation, network, Calibration::NONE).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), head.to_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_head_on_a_language_model_ranks_too_and_is_part_of_the_digest() {
    let file = head(&"5c".repeat(32), StatePlace::EndOfTurn);
    let backend = MetaBackend::load(config("gemma2"), Some(file.path())).unwrap();
    assert_ne!(backend.info().model_digest, "5c".repeat(32));
    assert!(ranked(&backend, &["the hat"]).await[0].1.is_ok());
    let Err(both) = MetaBackend::load(config("gemma2_reward"), Some(file.path())) else {
        panic!("it has a score of its own");
    };
    assert!(matches!(both, MetaError::TwoScores { .. }), "{both}");
    let Err(other) =
        MetaBackend::load(config("gemma2"), Some(head("another", StatePlace::EndOfTurn).path()))
    else {
        panic!("it was trained on another model");
    };
    assert!(other.to_string().contains("another"), "{other}");
    let file = head(&"5c".repeat(32), StatePlace::ScoreLine);
    let Err(place) = MetaBackend::load(config("gemma2"), Some(file.path())) else {
        panic!("it was trained on states that a judge has at its score line");
    };
    assert!(place.to_string().contains("--backbone"), "{place}");
}
