//! The client against a fake `RewardService` in memory, scripted call by call.

#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod batches;
mod service;
mod streams;

use std::time::Duration;

use jury_client::ClientConfig;
use jury_fabric::telemetry::{self, LogConfig, LogFormat};
use jury_fabric::trace;
use jury_grm::domain::Progress;
use jury_proto::{ErrorCode, JuryError};
use tonic::metadata::MetadataMap;
use tracing::Instrument;

use service::{Act, FakeRewardService, busy, request};

#[tokio::test(start_paused = true)]
async fn a_retried_call_keeps_its_request_id_and_waits_as_told() {
    let fake = FakeRewardService::scripted([busy(Duration::from_secs(3)), Act::HangUp]);
    let started = tokio::time::Instant::now();
    let client = fake.client(ClientConfig::default());
    assert_eq!(client.score(request("x")).await.unwrap().item_id, "x");
    let ids = fake.seen_ids();
    assert_eq!(ids.len(), 3);
    assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(started.elapsed() >= Duration::from_secs(3));
    let seen = fake.seen.lock().unwrap();
    assert!(seen.iter().all(|attempt| *attempt == seen[0]), "another payload is another request");
}

#[tokio::test(start_paused = true)]
async fn a_call_sends_its_deadline_and_its_trace() {
    let logs = LogConfig { format: LogFormat::Text, filter: "off".to_owned() };
    let _telemetry = telemetry::start(logs, None).unwrap();
    let mut callers = MetadataMap::new();
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    callers.insert("traceparent", header.parse().unwrap());
    let span = trace::server_span("p.S/M", &callers);

    let fake = FakeRewardService::default();
    let client = fake.client(ClientConfig::default());
    client.score(request("x")).instrument(span).await.unwrap();
    let timeout = fake.timeouts.lock().unwrap()[0].clone().unwrap();
    let timeout = jury_fabric::deadline::parse(&timeout).unwrap();
    let expected = Duration::from_secs(65);
    assert!(timeout <= expected && timeout > expected - Duration::from_secs(1), "{timeout:?}");
    let sent = fake.traces.lock().unwrap()[0].clone().unwrap();
    assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_call_with_progress_is_retried_and_given_up_like_any_other() {
    let fake = FakeRewardService::scripted([busy(Duration::from_secs(3)), Act::HangUp]);
    let client = fake.client(ClientConfig::default());
    let mut steps = Vec::new();
    let judged = client.score_with_progress(request("x"), |step| steps.push(step)).await;
    assert_eq!(judged.unwrap().item_id, "x");
    assert_eq!(steps, [Progress::waiting(8); 3], "each of three attempts tells anew");

    let fake = FakeRewardService::scripted([Act::Stall]);
    let started = tokio::time::Instant::now();
    let client = fake.client(ClientConfig::default());
    let error = client.score_with_progress(request("x"), |_| {}).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 65);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_given_up_at_budget_and_grace() {
    let fake = FakeRewardService::scripted([Act::Stall]);
    let started = tokio::time::Instant::now();
    let error = fake.client(ClientConfig::default()).score(request("x")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 65);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_retried_and_keeps_its_field() {
    let fake = FakeRewardService::scripted([Act::Fail(JuryError::invalid("k", "is too large"))]);
    let error = fake.client(ClientConfig::default()).score(request("x")).await.unwrap_err();
    assert_eq!((error.code, error.attempts), (ErrorCode::InvalidArgument, 1));
    assert_eq!(error.field.as_deref(), Some("k"));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_read() {
    let status = FakeRewardService::default().client(ClientConfig::default()).status().await;
    assert_eq!(status.unwrap().version, "fake");
}
