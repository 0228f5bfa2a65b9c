//! Workers in front of other servers: recorded answers, answers that no server should give, and (`live`, ignored by
//! default) real servers.

#[path = "../../../fabric/tests/grpc/authority.rs"]
mod authority;
mod faults;
mod gateway;
mod live;
mod monitor;
mod programs;
mod ranking;
mod recorded;
mod secure;
mod seeds;
mod server;
mod tokens;
mod unseen;
mod vllm;

use std::time::Duration;

use jury_grm::domain::{Readout, Sample, Settings};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};
use jury_worker::backend::scripted::example_group;
use jury_worker::backend::{Backend, BackendEvent, EventReceiver, GroupEvents, GroupHandle};

use server::{Asked, Reply};

/// llama-server's answers, byte for byte.
pub(crate) const MODELS: &[u8] = include_bytes!("llama_cpp/models.http");
pub(crate) const PROPS: &[u8] = include_bytes!("llama_cpp/props.http");
pub(crate) const HEALTH: &[u8] = include_bytes!("llama_cpp/health.http");
pub(crate) const COUNT: &[u8] = include_bytes!("llama_cpp/count.http");
pub(crate) const BOX: &[u8] = include_bytes!("llama_cpp/box.http");
pub(crate) const LIMIT: &[u8] = include_bytes!("llama_cpp/limit.http");
pub(crate) const SCORE: &[u8] = include_bytes!("llama_cpp/score.http");
pub(crate) const TOO_LONG: &[u8] = include_bytes!("llama_cpp/too_long.http");

/// Answers every request that a llama-server gets, except those for texts.
pub(crate) fn llama_cpp(asked: &Asked, text: impl FnOnce() -> Reply) -> Reply {
    match asked.path.as_str() {
        "/v1/models" => Reply::bytes(MODELS),
        "/props" => Reply::bytes(PROPS),
        "/health" => Reply::bytes(HEALTH),
        "/v1/chat/completions" if asked.body["stream"] == true => text(),
        "/v1/chat/completions" if asked.body["logprobs"] == true => Reply::bytes(SCORE),
        "/v1/chat/completions" => Reply::bytes(COUNT),
        _ => Reply::with_status("404 Not Found", "application/json", "{}"),
    }
}

pub(crate) fn config(url: &str) -> OpenAiConfig {
    OpenAiConfig {
        url: url.to_owned(),
        api_key: None,
        tls: None,
        model: "judge".to_owned(),
        upstream_model: None,
        flavour: None,
        tokenizer: None,
        model_digest: None,
        context_tokens: None,
        capacity: None,
        max_thinking_tokens: 0,
        opens_thought: false,
        stall: Duration::from_secs(60),
    }
}

pub(crate) async fn connect(url: &str) -> OpenAiBackend {
    OpenAiBackend::connect(config(url)).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn group(n_samples: u32, readout: Readout) -> SampleGroup {
    let settings = Settings { readout, max_critique_tokens: 64, ..Settings::default() };
    SampleGroup { settings, ..example_group(n_samples) }
}

pub(crate) fn start(backend: &OpenAiBackend, group: SampleGroup) -> (GroupHandle, EventReceiver) {
    let (events, receiver) = GroupEvents::channel(&group);
    (backend.start(group, events), receiver)
}

/// All events of a group except progress.
pub(crate) async fn draw(backend: &OpenAiBackend, group: SampleGroup) -> Vec<BackendEvent> {
    let (_handle, mut receiver) = start(backend, group);
    let mut events = Vec::new();
    while let Some(event) = receiver.recv().await {
        if !matches!(event, BackendEvent::Progress { .. }) {
            events.push(event);
        }
    }
    events
}

pub(crate) fn samples(events: &[BackendEvent]) -> Vec<&Sample> {
    let mut samples = Vec::new();
    for event in events {
        if let BackendEvent::Finished(sample) = event {
            samples.push(sample);
        }
    }
    samples
}
