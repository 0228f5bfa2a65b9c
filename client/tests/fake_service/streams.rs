//! Streams: in order or not, lost, full, and their window.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use jury_client::{Client, ClientConfig, ClientError, InFlight};
use jury_fabric::transport;
use jury_grm::domain::{ScoreRequest, Verdict};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::Notify;

use crate::service::{Act, FakeRewardService, busy, request};

async fn all(
    client: &Client,
    requests: impl Stream<Item = ScoreRequest> + Send + 'static,
) -> Vec<(u64, Result<Verdict, ClientError>)> {
    let mut answers: Vec<_> = client.score_many(requests).collect().await;
    answers.sort_by_key(|(sequence, _)| *sequence);
    answers
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_stream_is_answered_once_under_its_place() {
    let fake = FakeRewardService::default();
    let client =
        fake.client(ClientConfig { in_flight: InFlight::Fixed(3), ..ClientConfig::default() });
    let answers = all(&client, stream::iter((0..20).map(request))).await;
    for (place, (sequence, answer)) in answers.iter().enumerate() {
        assert_eq!(*sequence, place as u64);
        assert_eq!(answer.as_ref().unwrap().item_id, place.to_string());
    }
    assert_eq!((answers.len(), fake.seen_ids().len()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_made_anew_and_sends_only_what_is_unanswered() {
    let fake = FakeRewardService::scripted([Act::Judge, Act::HangUp]);
    let client =
        fake.client(ClientConfig { in_flight: InFlight::Fixed(2), ..ClientConfig::default() });
    let answers = all(&client, stream::iter((0..4).map(request))).await;
    assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
    let seen = fake.seen.lock().unwrap();
    let times =
        |id: &str| seen.iter().filter(|request| request.item.as_ref().unwrap().id == id).count();
    assert_eq!(times("0"), 1, "what was answered is not sent again");
    let mut ids: Vec<_> = seen.iter().map(|request| &request.request_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "what is sent again keeps its request id");
}

#[tokio::test(start_paused = true)]
async fn a_bad_item_of_a_stream_is_answered_with_its_error_and_the_others_go_on() {
    let fake = FakeRewardService::scripted([
        Act::Fail(JuryError::invalid("item.query", "is odd")),
        busy(Duration::from_secs(1)),
    ]);
    let client = fake.client(ClientConfig::default());
    let mut malformed = request("2");
    malformed.item.responses.clear();
    let answers = all(&client, stream::iter([request("0"), request("1"), malformed])).await;
    let field = |place: usize| answers[place].1.as_ref().unwrap_err().field.clone();
    assert_eq!(field(0).as_deref(), Some("item.query"));
    assert_eq!(answers[1].1.as_ref().unwrap().item_id, "1");
    assert_eq!(field(2).as_deref(), Some("item.responses"));
    assert_eq!(fake.seen_ids().len(), 3, "what is malformed never leaves, what met overload twice");
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_never_answered_ends_at_its_deadline_and_holds_nobody_up() {
    let fake = FakeRewardService::scripted([Act::Stall]);
    let client = fake.client(ClientConfig::default());
    let answers = all(&client, stream::iter((0..3).map(request))).await;
    let error = answers[0].1.as_ref().unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(answers[1].1.is_ok() && answers[2].1.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_item_that_finds_the_connection_full_is_sent_once_there_is_room() {
    let may_read = Arc::new(Notify::new());
    let fake = FakeRewardService::read_after(Arc::clone(&may_read));
    let client = fake.client(ClientConfig { in_flight: InFlight::Fixed(1), ..Default::default() });
    // Large enough to fill what the transport takes unread, and given up before anything is read.
    let large = (0..8).map(|id| {
        let mut large = request(id);
        large.item.responses[0] = "x".repeat(3 << 20);
        large.budget_ms = NonZeroU64::new(1000);
        large
    });
    let mut last = request(8);
    last.budget_ms = NonZeroU64::new(3_600_000);
    let answers = client.score_many(stream::iter(large.chain([last])));
    tokio::pin!(answers);
    for _ in 0..8 {
        let error = answers.next().await.unwrap().1.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    }
    let (sequence, answer) = {
        let next = answers.next();
        tokio::pin!(next);
        assert!(futures::poll!(&mut next).is_pending());
        may_read.notify_one();
        next.await.unwrap()
    };
    assert_eq!((sequence, answer.unwrap().item_id.as_str()), (8, "8"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_takes_no_more_requests_than_its_window() {
    let fake = FakeRewardService::scripted(std::iter::repeat_n(Act::Stall, 100));
    let client =
        fake.client(ClientConfig { in_flight: InFlight::Fixed(4), ..ClientConfig::default() });
    let taken = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&taken);
    let requests =
        stream::iter((0..100).map(request)).inspect(move |_| *counter.lock().unwrap() += 1);
    let answers = client.score_many(requests);
    tokio::pin!(answers);
    answers.next().await.unwrap().1.unwrap_err();
    assert_eq!(*taken.lock().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_unreachable_for_every_item() {
    let (channel, incoming) = transport::in_process();
    drop(incoming);
    let client = Client::new(channel, ClientConfig::default());
    let error = client.score(request("x")).await.unwrap_err();
    assert_eq!((error.code, error.attempts), (ErrorCode::Unreachable, 5));
    for (_, answer) in all(&client, stream::iter((0..3).map(request))).await {
        assert_eq!(answer.unwrap_err().code, ErrorCode::Unreachable);
    }
}
