//! Progress as reported to the caller that waits for a verdict.

use futures::{StreamExt, stream};
use jury_client::{Client, ClientConfig};
use jury_grm::domain::{Phase, Progress, Status};
use jury_proto::v1;
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use tokio::sync::mpsc;

use crate::cluster::{Cluster, request};

/// The first half of each block of samples ends at once, the rest when the test releases it.
fn half_held() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|spec, _| match spec.index < 4 {
        true => Act::now(Ending::BySeed),
        false => Act { progress: vec![7], ..Act::held(Ending::BySeed) },
    })
}

#[tokio::test]
async fn a_caller_sees_samples_and_tokens_while_they_are_drawn_and_then_the_verdict() {
    let backend = half_held();
    let handle = backend.handle();
    let cluster = Cluster::start(&[("w", backend)]).await;
    let client = Client::new(cluster.channel(), ClientConfig::default());
    let (told, mut steps) = mpsc::unbounded_channel();
    let judged = client.score_with_progress(request(8), move |step| {
        let _ = told.send(step);
    });
    let watching = async {
        let mut seen: Vec<Progress> = Vec::new();
        while let Some(step) = steps.recv().await {
            seen.push(step);
            if step.samples_done == 4 && step.generated_tokens > 0 {
                (4..8).for_each(|index| handle.release(index));
            }
        }
        seen
    };
    let (verdict, seen) = tokio::join!(judged, watching);
    assert_eq!(verdict.unwrap().status, Status::Ok);
    assert!(seen.iter().all(|step| step.samples_asked == 8));
    assert!(seen.is_sorted_by_key(|step| step.samples_done), "{seen:?}");
    assert!(seen.iter().any(|step| step.phase == Phase::Drawing && step.samples_done == 4));
}

#[tokio::test]
async fn an_item_of_a_stream_tells_progress_when_it_is_asked_to() {
    let backend = half_held();
    let handle = backend.handle();
    let cluster = Cluster::start(&[("w", backend)]).await;
    let client = Client::new(cluster.channel(), ClientConfig::default());
    let hear = move |_, step: Progress| {
        if step.samples_done == 4 {
            (4..8).for_each(|index| handle.release(index));
        }
    };
    let answers = client.score_many_with_progress(stream::iter([request(8)]), hear);
    let answers: Vec<_> = answers.collect().await;
    assert_eq!(answers[0].1.as_ref().unwrap().status, Status::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_misses_steps_and_gets_the_verdict() {
    let fast = ScriptedBackend::new()
        .on_sample(|_, _| Act { progress: (1..500).collect(), ..Act::now(Ending::BySeed) });
    let cluster = Cluster::start(&[("w", fast)]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let message = v1::ScoreWithProgressRequest { request: Some(request(32).into()) };
    let mut events = client.score_with_progress(message).await.unwrap().into_inner();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    let mut told = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        told.extend(event.event);
    }
    use v1::score_with_progress_response::Event;
    let Some(Event::Verdict(verdict)) = told.pop() else { panic!("the verdict comes last") };
    assert_eq!(verdict.counts.unwrap().valid, 32);
    assert!(verdict.run.unwrap().total_ms < 10_000, "nobody waited for the reader");
    assert!(told.len() < 100, "{} steps of {}", told.len(), 32 * 500);
}

#[tokio::test]
async fn a_watcher_that_goes_away_stops_the_work() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let handle = hanging.handle();
    let cluster = Cluster::start(&[("w", hanging)]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let message = v1::ScoreWithProgressRequest { request: Some(request(4).into()) };
    let events = client.score_with_progress(message).await.unwrap();
    handle.wait_for_groups(2).await;
    drop(events);
    handle.wait_until_idle().await;
}

#[tokio::test]
async fn a_malformed_request_is_refused_before_anything_is_told() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let missing = client.score_with_progress(v1::ScoreWithProgressRequest { request: None }).await;
    assert_eq!(missing.unwrap_err().code(), tonic::Code::InvalidArgument);
    let malformed = v1::ScoreWithProgressRequest { request: Some(request(0).into()) };
    let refused = client.score_with_progress(malformed).await.unwrap_err();
    assert_eq!(jury_proto::JuryError::from(refused).field.as_deref(), Some("settings.k"));
}
