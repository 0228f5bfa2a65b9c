//! The client against a fake `RewardService` in memory, scripted call by call.

#![allow(clippy::unwrap_used, reason = "clippy sees tests, but not the fake that serves them")]

use std::collections::VecDeque;
use std::fmt::Display;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use jury_client::batch::{self, Onto, Sink};
use jury_client::{Client, ClientConfig, ClientError, InFlight, RetryPolicy};
use jury_fabric::telemetry::{self, LogConfig, LogFormat};
use jury_fabric::trace;
use jury_fabric::transport::{self, HealthHandle, Listener, ServerConfig};
use jury_grm::domain::{Item, Progress, ScoreRequest, Settings, Verdict};
use jury_proto::v1::reward_service_server::{RewardService, RewardServiceServer};
use jury_proto::v1::score_stream_response::Result as Answer;
use jury_proto::v1::score_with_progress_response::Event;
use jury_proto::{ErrorCode, JuryError, v1};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

/// What the fake does with the next call, or with the next item of a stream.
#[derive(Debug, Clone)]
enum Act {
    Judge,
    Fail(JuryError),
    /// Streams only: ends the stream without an answer.
    HangUp,
    /// Never answers.
    Stall,
}

/// A `RewardService` that follows a script, then judges whatever comes.
#[derive(Clone, Default)]
struct FakeRewardService {
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<v1::ScoreRequest>>>,
    timeouts: Arc<Mutex<Vec<Option<String>>>>,
    traces: Arc<Mutex<Vec<Option<String>>>>,
    /// Streams are not read before this.
    may_read: Option<Arc<tokio::sync::Notify>>,
}

impl FakeRewardService {
    fn scripted(acts: impl IntoIterator<Item = Act>) -> Self {
        let script = Arc::new(Mutex::new(acts.into_iter().collect()));
        Self { script, ..Self::default() }
    }

    fn next_act(&self, request: &v1::ScoreRequest) -> Act {
        self.seen.lock().unwrap().push(request.clone());
        self.script.lock().unwrap().pop_front().unwrap_or(Act::Judge)
    }

    fn seen_ids(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|request| request.request_id.clone()).collect()
    }

    /// A client of this service, over memory.
    fn client(&self, config: ClientConfig) -> Client {
        let (channel, incoming) = transport::in_process();
        let routes = Routes::new(RewardServiceServer::new(self.clone()));
        tokio::spawn(transport::serve(
            routes,
            HealthHandle::new(&[]),
            Listener::InProcess(incoming),
            CancellationToken::new(),
            ServerConfig::default(),
        ));
        Client::new(channel, config)
    }
}

#[tonic::async_trait]
impl RewardService for FakeRewardService {
    async fn score(
        &self,
        request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let header = |name: &str| {
            request.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        self.timeouts.lock().unwrap().push(header("grpc-timeout"));
        self.traces.lock().unwrap().push(header("traceparent"));
        let request = request.into_inner();
        match self.next_act(&request) {
            Act::Judge => Ok(Response::new(v1::ScoreResponse { verdict: Some(verdict(&request)) })),
            Act::Fail(error) => Err(error.into()),
            Act::HangUp => Err(Status::unavailable("hung up")),
            Act::Stall => std::future::pending().await,
        }
    }

    type ScoreWithProgressStream =
        BoxStream<'static, Result<v1::ScoreWithProgressResponse, Status>>;

    async fn score_with_progress(
        &self,
        request: Request<v1::ScoreWithProgressRequest>,
    ) -> Result<Response<Self::ScoreWithProgressStream>, Status> {
        let request = request.into_inner().request.unwrap_or_default();
        let told = |event| Ok(v1::ScoreWithProgressResponse { event: Some(event) });
        let step = told(Event::Progress(Progress::waiting(8).into()));
        let last = match self.next_act(&request) {
            Act::Judge => told(Event::Verdict(verdict(&request))),
            Act::Fail(error) => Err(error.into()),
            Act::HangUp => Err(Status::unavailable("hung up")),
            Act::Stall => {
                return Ok(Response::new(stream::iter([step]).chain(stream::pending()).boxed()));
            }
        };
        Ok(Response::new(stream::iter([step, last]).boxed()))
    }

    type ScoreStreamStream = BoxStream<'static, Result<v1::ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        request: Request<Streaming<v1::ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let answers = stream::unfold((self.clone(), request.into_inner()), next_answer);
        Ok(Response::new(answers.boxed()))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let status = v1::GetStatusResponse { version: "fake".to_owned(), ..Default::default() };
        Ok(Response::new(status))
    }
}

type Call = (FakeRewardService, Streaming<v1::ScoreStreamRequest>);

async fn next_answer(call: Call) -> Option<(Result<v1::ScoreStreamResponse, Status>, Call)> {
    let (mut fake, mut requests) = call;
    if let Some(may_read) = fake.may_read.take() {
        may_read.notified().await;
    }
    loop {
        let message = requests.message().await.ok()??;
        let request = message.decode_request().ok()?;
        let result = match fake.next_act(&request) {
            Act::Judge => Answer::Verdict(verdict(&request)),
            Act::Fail(error) => Answer::Error(v1::ScoreError {
                grpc_code: error.code.grpc() as i32,
                message: error.message,
                reason: error.code.name().to_owned(),
                field: error.field.unwrap_or_default(),
                retry_delay_ms: error.retry_delay.map(|delay| delay.as_millis() as u64),
            }),
            Act::HangUp => return None,
            Act::Stall => continue,
        };
        let answer = v1::ScoreStreamResponse { sequence: message.sequence, result: Some(result) };
        return Some((Ok(answer), (fake, requests)));
    }
}

fn verdict(request: &v1::ScoreRequest) -> v1::Verdict {
    v1::Verdict {
        item_id: request.item.as_ref().map(|item| item.id.clone()).unwrap_or_default(),
        status: v1::VerdictStatus::Ok.into(),
        counts: Some(v1::Counts::default()),
        usage: Some(v1::Usage::default()),
        provenance: Some(v1::Provenance {
            settings: Some(Settings::default().into()),
            ..Default::default()
        }),
        run: Some(v1::RunReport::default()),
        ..Default::default()
    }
}

fn request(id: impl Display + Copy) -> ScoreRequest {
    let json = serde_json::json!({"id": id.to_string(), "query": "q", "responses": ["a", "b"]});
    ScoreRequest::new(Item::from_json(&json.to_string()).unwrap().0)
}

fn busy(after: Duration) -> Act {
    Act::Fail(JuryError::overloaded("the queue is full", after))
}

async fn all(
    client: &Client,
    requests: impl Stream<Item = ScoreRequest> + Send + 'static,
) -> Vec<(u64, Result<Verdict, ClientError>)> {
    let mut answers: Vec<_> = client.score_many(requests).collect().await;
    answers.sort_by_key(|(sequence, _)| *sequence);
    answers
}

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
    let may_read = Arc::new(tokio::sync::Notify::new());
    let fake = FakeRewardService { may_read: Some(may_read.clone()), ..Default::default() };
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
async fn the_status_is_read() {
    let status = FakeRewardService::default().client(ClientConfig::default()).status().await;
    assert_eq!(status.unwrap().version, "fake");
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

/// Judges `lines`, of which `judged_before` need it no more; each event as one word with its line.
async fn events_of(
    client: &Client,
    lines: impl std::io::Read + Send + 'static,
    judged_before: &[&str],
) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("verdicts.jsonl");
    let before = judged_before.iter().map(|id| format!("{{\"item_id\":\"{id}\"}}\n"));
    std::fs::write(&out, before.collect::<String>()).unwrap();
    let (_, finished) = Sink::file(&out, Onto::Any, &request("any"), true).unwrap();
    let lines = Box::new(std::io::BufReader::new(lines));
    let events = batch::score(client, request("any"), finished, lines);
    let word = |event| match event {
        batch::Event::Bad { line, .. } => format!("{line} bad"),
        batch::Event::UnknownKey { line, key } => format!("{line} key {key}"),
        batch::Event::Asked(place) => format!("{} asked", place.line),
        batch::Event::Known(place, id) => format!("{} known {id}", place.line),
        batch::Event::Judged(place, verdict) => {
            format!("{} judged {}", place.line, verdict.item_id)
        }
        batch::Event::Failed(place, _) => format!("{} failed", place.line),
        batch::Event::BrokeOff(_) => "broke off".to_owned(),
    };
    events.map(word).collect().await
}

fn one_at_a_time() -> ClientConfig {
    let retry = RetryPolicy::NEVER;
    ClientConfig { in_flight: InFlight::Fixed(1), retry, ..ClientConfig::default() }
}

#[tokio::test]
async fn every_line_of_a_batch_is_told_of_once_and_before_its_answer() {
    let item = |id: &str| {
        format!("{{\"id\": \"{id}\", \"query\": \"q\", \"responses\": [\"r\"], \"colour\": 1}}\n")
    };
    let lines = [&item("a"), "oops\n", "\n", &item("b"), &item("a"), &item("c")].concat();
    let fake = FakeRewardService::scripted([Act::Judge, busy(Duration::ZERO)]);
    let events =
        events_of(&fake.client(one_at_a_time()), std::io::Cursor::new(lines), &["b"]).await;
    let expected = [
        "1 key colour",
        "1 asked",
        "1 judged a",
        "2 bad",
        "4 key colour",
        "4 known b",
        "5 key colour",
        "5 bad",
        "6 key colour",
        "6 asked",
        "6 failed",
    ];
    assert_eq!(events, expected);
    assert_eq!(fake.seen_ids().len(), 2, "what is known is not asked for");
}

#[tokio::test]
async fn lines_that_cannot_be_read_on_leave_those_before_their_answers() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let item = "{\"query\": \"q\", \"responses\": [\"r\"]}\n";
    let lines = std::io::Read::chain(item.as_bytes(), Broken);
    let fake = FakeRewardService::default();
    let mut events = events_of(&fake.client(one_at_a_time()), lines, &[]).await;
    events.sort();
    assert_eq!(events, ["1 asked", "1 judged line-1", "broke off"]);
}
