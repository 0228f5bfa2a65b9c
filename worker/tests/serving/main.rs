//! A worker over a scripted backend, through gRPC in memory: what it draws, rejects and reports.

#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod cluster;
mod leaving;
mod ranking;

use std::time::Duration;

use futures::StreamExt;
use jury_grm::domain::FailureKind;
use jury_proto::convert::{SampleGroup, TooLarge, TooLong};
use jury_proto::v1::sample_response::Event;
use jury_proto::{ErrorCode, v1};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::{Act, Ending, GroupAct, ScriptedBackend, example_group};

use cluster::{Call, Cluster, failed, finished_index, held};

#[tokio::test]
async fn each_sample_arrives_as_it_finishes() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(3)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    for index in [2, 0, 1] {
        cluster.script.release(index);
        assert_eq!(finished_index(&call.event().await), index);
    }
    assert_eq!(call.next().await.unwrap(), None);
}

#[tokio::test]
async fn the_same_group_gives_the_same_samples_on_another_worker() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let cluster = Cluster::start(ScriptedBackend::new());
        answers.push(cluster.call(example_group(4)).await.unwrap().rest().await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].len(), 5);
}

#[tokio::test]
async fn a_cancel_ends_its_sample_and_no_other() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(3)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    call.cancel(&[1]).await;
    assert_eq!(failed(&call.event().await), (1, FailureKind::NotNeeded));
    cluster.script.release_all();
    let rest: Vec<u32> = call.rest().await.iter().map(finished_index).collect();
    assert_eq!(rest, [0, 2]);
}

#[tokio::test]
async fn a_cancel_is_heard_while_nobody_reads_the_responses() {
    let long = "word ".repeat(10_000);
    let cluster =
        Cluster::start(ScriptedBackend::new().on_sample(move |spec, _| match spec.index {
            0 => Act::held(Ending::BySeed),
            _ => Act::now(Ending::Text(long.clone())),
        }));
    let call = cluster.call(example_group(64)).await.unwrap();
    cluster.script.wait_for_ends(63).await;
    // Many more have been drawn than fit between worker and caller.
    call.cancel(&[0]).await;
    cluster.script.wait_for_cancel(0).await;
    assert_eq!(call.rest().await.len(), 65);
}

#[tokio::test]
async fn a_dropped_call_cancels_what_it_asked_for() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(3)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    drop(call);
    cluster.script.wait_for_cancels(3).await;
}

#[tokio::test]
async fn closing_the_request_side_cancels_nothing() {
    let cluster = Cluster::start(held());
    let Call { requests, responses } = cluster.call(example_group(2)).await.unwrap();
    drop(requests);
    cluster.script.release_all();
    let events: Vec<_> = responses.collect().await;
    assert_eq!(events.len(), 3);
    assert!(cluster.script.cancelled().is_empty());
}

#[tokio::test]
async fn another_model_is_refused_before_anything_is_drawn() {
    let cluster = Cluster::start(ScriptedBackend::new());
    let mut group = example_group(1);
    group.model_digest = "another".into();
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(cluster.script.groups().is_empty());
}

#[tokio::test]
async fn a_call_must_begin_with_its_group() {
    let cluster = Cluster::start(ScriptedBackend::new());
    let cancel = v1::sample_request::Message::Cancel(v1::CancelSamples { indices: vec![0] });
    let error = cluster.call_with(cancel).await.err().unwrap();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("start")));
}

#[tokio::test]
async fn a_full_backend_answers_busy_with_its_delay() {
    let backend = ScriptedBackend::new().on_group(|_| GroupAct::Busy(Duration::from_millis(250)));
    let events = Cluster::start(backend).call(example_group(2)).await.unwrap().rest().await;
    assert_eq!(events, [Event::Busy(v1::Busy { retry_after_ms: 250 })]);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_keeps_its_figures() {
    let figures = TooLong {
        prompt_tokens: 5000,
        limit_tokens: 4000,
        over_by: 1000,
        longest_response: Some(1),
        longest_response_tokens: 3000,
    };
    let backend = ScriptedBackend::new().on_group(move |_| GroupAct::TooLong(figures));
    let events = Cluster::start(backend).call(example_group(2)).await.unwrap().rest().await;
    assert_eq!(events, [Event::TooLong(figures.into())]);
}

#[tokio::test]
async fn the_last_response_of_a_call_tells_the_load_without_it_however_the_call_ends() {
    type Script = fn(ScriptedBackend) -> ScriptedBackend;
    let endings: [Script; 4] = [
        |backend| backend,
        |backend| backend.on_sample(|_, _| Act::now(Ending::Failed(FailureKind::Worker))),
        |backend| backend.on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox))),
        |backend| backend.on_group(|_| GroupAct::Busy(Duration::ZERO)),
    ];
    for ending in endings {
        let cluster = Cluster::start(ending(ScriptedBackend::new()));
        let mut call = cluster.call(example_group(12)).await.unwrap();
        let mut last = None;
        while let Some(response) = call.responses.message().await.unwrap() {
            last = response.load;
        }
        let load = last.unwrap();
        assert_eq!((load.running, load.queued), (0, 0));
    }
}

#[tokio::test]
async fn a_cancelled_call_and_a_dropped_one_leave_nothing_running() {
    let cluster = Cluster::start(held());
    let mut cancelled = cluster.call(example_group(12)).await.unwrap();
    let dropped = cluster.call(example_group(12)).await.unwrap();
    assert!(matches!(cancelled.event().await, Event::Accepted(_)));
    assert_eq!(cluster.load().await.running, 24);
    cancelled.cancel(&(0..12).collect::<Vec<_>>()).await;
    assert_eq!(cancelled.rest().await.len(), 12);
    assert_eq!(cluster.load().await.running, 12);
    drop(dropped);
    cluster.script.wait_for_cancels(24).await;
    assert_eq!(cluster.load().await.running, 0);
}

#[tokio::test(start_paused = true)]
async fn samples_that_nobody_waits_for_any_more_end_as_timed_out_at_the_groups_time() {
    let cluster = Cluster::start(held());
    let group = SampleGroup { remaining_ms: Some(700), ..example_group(3) };
    let mut call = cluster.call(group).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.script.release(1);
    assert_eq!(finished_index(&call.event().await), 1);
    let ends: Vec<_> = call.rest().await.iter().map(failed).collect();
    assert_eq!(ends, [(0, FailureKind::TimedOut), (2, FailureKind::TimedOut)]);
    assert_eq!(cluster.load().await.running, 0);
}

#[tokio::test]
async fn the_load_carries_the_steps_of_the_model() {
    let cluster = Cluster::start(ScriptedBackend::new());
    assert_eq!(cluster.load().await.steps, 0);
    cluster.script.set_steps(17);
    assert_eq!(cluster.load().await.steps, 17);
}

#[tokio::test]
async fn a_group_too_large_for_the_memory_keeps_its_figures() {
    let figures = TooLarge { needed_tokens: 5000, room_tokens: 4096 };
    let backend = ScriptedBackend::new().on_group(move |_| GroupAct::TooLarge(figures));
    let events = Cluster::start(backend).call(example_group(2)).await.unwrap().rest().await;
    assert_eq!(events, [Event::TooLarge(figures.into())]);
}

#[tokio::test]
async fn get_info_tells_what_is_served() {
    let cluster = Cluster::start(ScriptedBackend::new());
    let info = cluster.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    let served = ScriptedBackend::new().info();
    assert_eq!((info.worker_id.as_str(), info.model), ("worker-1", served.model));
    assert_eq!(info.load.unwrap().capacity, served.capacity);
}
