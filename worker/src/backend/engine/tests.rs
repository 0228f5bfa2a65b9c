//! The engine backend on a real model, a few tokens at a time.

mod tokenising_aside;
mod turns;

use std::path::PathBuf;
use std::sync::OnceLock;

use jury_grm::domain::{FailureKind, Outcome, Sample};

use super::*;
use crate::backend::BackendEvent;
use crate::backend::scripted::example_group;
use crate::models::{ModelStore, ResolvedModel, entry};

/// Small enough for the tests to take seconds.
const MAX_TOKENS: u32 = 12;

fn model_path() -> PathBuf {
    let file = entry("smollm2-135m").unwrap().file;
    let path = ModelStore::default_directory().unwrap().join(file);
    assert!(path.exists(), "{} is missing: run `make test`, which fetches it", path.display());
    path
}

fn load(change: impl FnOnce(&mut EngineBackendConfig)) -> EngineBackend {
    EngineBackend::load(config(change)).unwrap()
}

fn config(change: impl FnOnce(&mut EngineBackendConfig)) -> EngineBackendConfig {
    let model = ResolvedModel {
        path: model_path(),
        digest: example_group(1).model_digest,
        name: "smollm2-135m".into(),
    };
    let mut config = EngineBackendConfig::new(model);
    config.engine.context_limit = Some(1024);
    config.engine.max_sequences = Some(8);
    config.engine.threads = Some(1); // tests run in parallel
    change(&mut config);
    config
}

/// One backend for the tests that only examine samples.
fn shared() -> &'static EngineBackend {
    static BACKEND: OnceLock<EngineBackend> = OnceLock::new();
    BACKEND.get_or_init(|| load(|_| {}))
}

fn group(n_samples: u32, max_tokens: u32) -> SampleGroup {
    let mut group = example_group(n_samples);
    group.settings.max_critique_tokens = max_tokens;
    group.settings.min_readout_mass = 0.0;
    group
}

/// A group that continues until it is cancelled: free text whose box never comes.
fn long_group(n_samples: u32) -> SampleGroup {
    let mut group = group(n_samples, 600);
    group.settings.readout = jury_grm::domain::Readout::Free;
    group.settings.temperature = 2.0; // noise seldom ends its turn
    group
}

async fn events_of(backend: &EngineBackend, group: SampleGroup) -> Vec<BackendEvent> {
    let (events, mut receiver) = GroupEvents::channel(&group);
    let _handle = backend.start(group, events);
    let mut received = Vec::new();
    while let Some(event) = receiver.recv().await {
        received.push(event);
    }
    received
}

/// The samples of a group drawn to completion, by index.
async fn samples_of(backend: &EngineBackend, group: SampleGroup) -> Vec<Sample> {
    let events = events_of(backend, group).await;
    assert!(matches!(events[0], BackendEvent::Accepted { .. }), "{events:?}");
    let finished = events.into_iter().filter_map(|event| match event {
        BackendEvent::Finished(sample) => Some(sample),
        BackendEvent::Failed { .. } => panic!("{event:?}"),
        _ => None,
    });
    let mut samples: Vec<Sample> = finished.collect();
    samples.sort_by_key(|sample| sample.spec.index);
    samples
}

#[tokio::test]
async fn a_prompt_is_found_in_the_cache_by_groups_of_its_salt_alone() {
    let backend = load(|_| {});
    let mut seen: Vec<(u32, Sample)> = Vec::new();
    for salt in [None, Some("a"), Some("b"), Some("a")] {
        let salted = SampleGroup { cache_salt: salt.map(str::to_owned), ..group(1, MAX_TOKENS) };
        let mut events = events_of(&backend, salted).await;
        let Some(BackendEvent::Finished(sample)) = events.pop() else { panic!("{events:?}") };
        let BackendEvent::Accepted { cached_tokens, .. } = events[0] else { panic!("{events:?}") };
        seen.push((cached_tokens, sample));
    }
    let cached: Vec<u32> = seen.iter().map(|(cached, _)| *cached).collect();
    assert_eq!(cached, [0, 0, 0, seen[0].1.prompt_tokens - 1]);
    assert!(seen.iter().all(|(_, sample)| *sample == seen[0].1));
}

#[tokio::test]
async fn guided_samples_have_scores_in_range_and_repeat_by_seed() {
    let first = samples_of(shared(), group(4, MAX_TOKENS)).await;
    assert_eq!(first.len(), 4);
    for sample in &first {
        let Outcome::Scored(scores) = &sample.outcome else { panic!("{sample:?}") };
        assert_eq!(scores.scores.len(), 2);
        assert!(scores.scores.iter().all(|score| (1.0..=10.0).contains(score)), "{scores:?}");
        for distribution in scores.score_distribution.as_ref().unwrap() {
            assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        assert!(sample.prompt_tokens > 10 && sample.generated_tokens > 0);
    }
    assert_eq!(samples_of(shared(), group(4, MAX_TOKENS)).await, first);

    let mut alone = group(4, MAX_TOKENS);
    alone.samples.drain(..3);
    assert_eq!(samples_of(shared(), alone).await, first[3..], "alone as in a group");

    let mut reseeded = group(4, MAX_TOKENS);
    reseeded.samples.iter_mut().for_each(|spec| spec.seed += 1_000_000);
    assert_ne!(samples_of(shared(), reseeded).await, first);
}

#[tokio::test]
async fn samples_carry_their_hidden_states_when_asked_and_are_the_same_otherwise() {
    let plain = samples_of(shared(), group(2, MAX_TOKENS)).await;
    let mut asking = group(2, MAX_TOKENS);
    asking.hidden_states = true;
    let mut asked = samples_of(shared(), asking).await;
    let states: Vec<_> = asked.iter_mut().map(|sample| sample.hidden_state.take()).collect();
    assert_eq!(asked, plain);
    let width = shared().model().embedding_length;
    assert!(states.iter().all(|state| state.as_ref().map(Vec::len) == Some(width)));
    assert_ne!(states[0], states[1]);
}

#[tokio::test]
async fn an_expected_score_is_the_mean_of_its_distribution() {
    let mut expected = group(2, MAX_TOKENS);
    expected.settings.readout = jury_grm::domain::Readout::Expected;
    for sample in samples_of(shared(), expected).await {
        let scores = sample.scores().unwrap();
        let distributions = scores.score_distribution.as_ref().unwrap();
        for (score, distribution) in scores.scores.iter().zip(distributions) {
            let mean: f64 = (1..).zip(distribution).map(|(s, share)| f64::from(s) * share).sum();
            assert!((score - mean).abs() < 1e-9, "{score} {mean}");
        }
    }
}

#[tokio::test]
async fn a_groups_prompt_is_prefilled_once() {
    let backend = load(|_| {});
    let before = backend.counters();
    let samples = samples_of(&backend, group(4, 4)).await;
    // The last event leaves the thread before the step's counters are updated; waiting for the thread's death orders
    // them.
    let mut availability = backend.availability();
    backend.die();
    availability.wait_for(Availability::is_dead).await.unwrap();
    let after = backend.counters();
    assert_eq!(after.prefills - before.prefills, 1);
    let prompt_tokens = u64::from(samples[0].prompt_tokens);
    assert_eq!(after.prefill_tokens - before.prefill_tokens, prompt_tokens);
}

#[tokio::test]
async fn a_cancelled_sample_frees_its_sequence_and_a_dropped_group_ends() {
    let backend = load(|config| config.engine.max_sequences = Some(1));
    let group = long_group(3);
    let (events, mut receiver) = GroupEvents::channel(&group);
    let handle = backend.start(group, events);
    assert!(matches!(receiver.recv().await, Some(BackendEvent::Accepted { .. })));
    handle.cancel(&[0]);
    loop {
        match receiver.recv().await.unwrap() {
            BackendEvent::Progress { .. } => {}
            BackendEvent::Failed { index, failure } => {
                assert_eq!((index, failure.kind), (0, FailureKind::NotNeeded));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // The only slot is free for the next sample.
    loop {
        if let BackendEvent::Progress { index, .. } = receiver.recv().await.unwrap() {
            assert_eq!(index, 1);
            break;
        }
    }
    drop(handle);
    let mut ended = 0;
    while let Some(event) = receiver.recv().await {
        ended += usize::from(matches!(event, BackendEvent::Failed { .. }));
    }
    assert_eq!(ended, 2);
}

#[tokio::test]
async fn a_reader_that_left_costs_no_more_than_the_step_in_progress() {
    let backend = load(|config| {
        config.engine.max_sequences = Some(1);
        config.max_queued_samples = 0;
    });
    let long = long_group(1);
    let (events, mut receiver) = GroupEvents::channel(&long);
    let _handle = backend.start(long, events);
    assert!(matches!(receiver.recv().await, Some(BackendEvent::Accepted { .. })));
    let busy = events_of(&backend, group(1, 1)).await;
    assert!(matches!(busy[..], [BackendEvent::Busy { .. }]), "{busy:?}");
    drop(receiver);
    while Backend::load(&backend).running > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(samples_of(&backend, group(1, 1)).await.len(), 1);
}

#[tokio::test]
async fn a_prompt_over_the_context_is_told_by_how_much_and_for_which_response() {
    let mut group = group(2, MAX_TOKENS);
    group.messages[0].spans[3].text = "word ".repeat(3000).into();
    let events = events_of(shared(), group).await;
    let [BackendEvent::TooLong(too_long)] = events[..] else { panic!("{events:?}") };
    assert_eq!(too_long.longest_response, Some(1));
    assert!(too_long.longest_response_tokens >= 3000, "{too_long:?}");
    assert_eq!(too_long.prompt_tokens, too_long.limit_tokens + too_long.over_by);
    assert!(too_long.limit_tokens < 1024 - MAX_TOKENS);
}

#[tokio::test]
async fn a_prompt_over_the_memory_is_too_large_for_this_worker_and_not_too_long_for_the_model() {
    const ROOM_TOKENS: u32 = 512;
    let token_bytes = jury_engine::inspect(&model_path()).unwrap().kv_bytes_per_token;
    let backend = load(|config| {
        config.engine.context_limit = None;
        config.engine.kv_budget_bytes = Some(token_bytes * u64::from(ROOM_TOKENS));
    });
    assert_eq!(backend.info().room_tokens, Some(ROOM_TOKENS));
    let with_words = |words: usize| {
        let mut group = group(1, MAX_TOKENS);
        group.messages[0].spans[3].text = "word ".repeat(words).into();
        group
    };
    let events = events_of(&backend, with_words(1000)).await;
    let [BackendEvent::TooLarge(too_large)] = events[..] else { panic!("{events:?}") };
    assert_eq!(too_large.room_tokens, ROOM_TOKENS);
    assert!(too_large.needed_tokens > 1000 + MAX_TOKENS, "{too_large:?}");
    assert_eq!(Backend::load(&backend).queued, 0);
    // One word is one token; pages hold 64.
    let shorter = 1000 - (too_large.needed_tokens - ROOM_TOKENS) as usize;
    assert_eq!(samples_of(&backend, with_words(shorter)).await.len(), 1);
}

#[tokio::test]
async fn too_long_is_decided_by_the_context_alone_whatever_the_memory() {
    let token_bytes = jury_engine::inspect(&model_path()).unwrap().kv_bytes_per_token;
    let small = load(|config| config.engine.kv_budget_bytes = Some(token_bytes * 256));
    let mut group = group(2, MAX_TOKENS);
    group.messages[0].spans[3].text = "word ".repeat(3000).into();
    assert_eq!(events_of(&small, group.clone()).await, events_of(shared(), group).await);
}

#[tokio::test]
async fn the_load_tells_steps_which_grow_with_every_step_of_the_model() {
    let backend = load(|_| {});
    assert_eq!(Backend::load(&backend).steps, 0);
    assert_eq!(samples_of(&backend, group(1, MAX_TOKENS)).await.len(), 1);
    // One step for the prompt's chunk, and one for each token.
    assert!(Backend::load(&backend).steps > u64::from(MAX_TOKENS) / 2);
}

#[tokio::test]
async fn the_death_of_the_thread_reaches_every_caller_and_is_told() {
    let backend = load(|_| {});
    let group = long_group(2);
    let (events, mut receiver) = GroupEvents::channel(&group);
    let _handle = backend.start(group.clone(), events);
    assert!(matches!(receiver.recv().await, Some(BackendEvent::Accepted { .. })));
    backend.die();
    let mut availability = backend.availability();
    let dead = availability.wait_for(Availability::is_dead).await.unwrap().clone();
    assert_eq!(dead, Availability::Dead("asked to die".into()));
    for received in [receiver_rest(receiver).await, events_of(&backend, group).await] {
        let failed: Vec<_> = received
            .iter()
            .filter(|event| matches!(event, BackendEvent::Failed { failure, .. } if failure.kind == FailureKind::Worker))
            .collect();
        assert_eq!(failed.len(), 2);
    }
}

async fn receiver_rest(mut receiver: crate::backend::EventReceiver) -> Vec<BackendEvent> {
    let mut received = Vec::new();
    while let Some(event) = receiver.recv().await {
        received.push(event);
    }
    received
}

#[test]
fn a_file_that_is_no_model_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not.gguf");
    std::fs::write(&path, "not a model").unwrap();
    let model = ResolvedModel { path, digest: String::new(), name: String::new() };
    assert!(EngineBackend::load(EngineBackendConfig::new(model)).is_err());
}
