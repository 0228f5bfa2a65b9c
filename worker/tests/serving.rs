//! A worker over a scripted backend, through gRPC in memory.

#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jury_fabric::connector::Connector;
use jury_fabric::directory::{Directory, InProcess, Update};
use jury_fabric::transport::{Channel, HealthHandle, Listener, in_process};
use jury_grm::domain::FailureKind;
use jury_proto::convert::{RankRequest, Ranked, SampleGroup, TooLarge, TooLong};
use jury_proto::v1::sample_response::Event;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::{ErrorCode, JuryError, v1};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::{
    Act, Ending, GroupAct, RankAct, ScriptHandle, ScriptedBackend, example_group, example_head,
    example_ranking, scripted_score, scripted_state,
};
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig, WorkerError, run};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// A running worker with everything that a test may want to hold.
struct Cluster {
    client: SamplingServiceClient<Channel>,
    script: ScriptHandle,
    directory: InProcess,
    health: HealthHandle,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), WorkerError>>,
}

/// One call of `Sample`.
struct Call {
    requests: mpsc::Sender<v1::SampleRequest>,
    responses: Streaming<v1::SampleResponse>,
}

fn worker(
    backend: ScriptedBackend,
    heads: Heads,
    announce: Announce,
    health: HealthHandle,
    grace: Duration,
) -> Worker {
    Worker {
        config: WorkerConfig {
            worker_id: "worker-1".into(),
            advertised_address: "http://here:1".into(),
            grace,
        },
        backend: Arc::new(backend),
        heads,
        announce,
        health,
        metrics: WorkerMetrics::unregistered(),
    }
}

// === impl Cluster ===

impl Cluster {
    fn start(backend: ScriptedBackend) -> Self {
        Self::start_with_grace(backend, Duration::from_secs(60))
    }

    fn start_with_grace(backend: ScriptedBackend, grace: Duration) -> Self {
        Self::start_with_heads(backend, Heads::default(), grace)
    }

    fn start_with_heads(backend: ScriptedBackend, heads: Heads, grace: Duration) -> Self {
        let (channel, incoming) = in_process();
        let (directory, script) = (InProcess::new(), backend.handle());
        let health = HealthHandle::new(&[SERVICE_NAME]);
        let shutdown = CancellationToken::new();
        let announce = Announce::InProcess(directory.clone());
        let worker = worker(backend, heads, announce, health.clone(), grace);
        let ended = tokio::spawn(run(worker, Listener::InProcess(incoming), shutdown.clone()));
        let client = SamplingServiceClient::new(channel);
        Self { client, script, directory, health, shutdown, ended }
    }

    async fn call(&self, group: SampleGroup) -> Result<Call, JuryError> {
        let start = v1::sample_request::Message::Start(group.into());
        self.call_with(start).await
    }

    async fn call_with(&self, first: v1::sample_request::Message) -> Result<Call, JuryError> {
        let (requests, messages) = mpsc::channel(8);
        requests.send(v1::SampleRequest { message: Some(first) }).await.unwrap();
        let response = self.client.clone().sample(ReceiverStream::new(messages)).await?;
        Ok(Call { requests, responses: response.into_inner() })
    }

    /// What the worker answers when it is asked.
    async fn load(&self) -> v1::Load {
        let info = self.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap();
        info.into_inner().load.unwrap()
    }

    /// The worker as the directory shows it, once it does.
    async fn wait_until_announced(&self) {
        let mut updates = self.directory.watch();
        while let Some(update) = updates.next().await {
            match update {
                Update::Reset(fleet) if fleet.is_empty() => {}
                _ => return,
            }
        }
    }
}

// === impl Call ===

impl Call {
    async fn next(&mut self) -> Result<Option<Event>, JuryError> {
        let response = self.responses.message().await?;
        Ok(response.map(|response| {
            assert!(response.load.is_some(), "every response carries the load");
            response.event.unwrap()
        }))
    }

    async fn event(&mut self) -> Event {
        self.next().await.unwrap().expect("the stream has not ended")
    }

    /// Every event until the end.
    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await.unwrap() {
            events.push(event);
        }
        events
    }

    async fn cancel(&self, indices: &[u32]) {
        let cancel = v1::CancelSamples { indices: indices.to_vec() };
        let message = Some(v1::sample_request::Message::Cancel(cancel));
        self.requests.send(v1::SampleRequest { message }).await.unwrap();
    }
}

fn finished_index(event: &Event) -> u32 {
    match event {
        Event::Finished(sample) => sample.spec.as_ref().unwrap().index,
        other => panic!("not a finished sample: {other:?}"),
    }
}

fn failed(event: &Event) -> (u32, FailureKind) {
    match event {
        Event::Failed(failed) => {
            let failure = jury_grm::domain::Failure::from(failed.failure.clone().unwrap());
            (failed.index, failure.kind)
        }
        other => panic!("not a failed sample: {other:?}"),
    }
}

fn held() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed))
}

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

/// A worker with the example head, and its digest.
async fn with_a_head(backend: ScriptedBackend) -> (Cluster, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    std::fs::write(&path, example_head("meta-1").to_bytes()).unwrap();
    let heads = Heads::load(&[path], &backend.info()).unwrap();
    let cluster = Cluster::start_with_heads(backend, heads, Duration::ZERO);
    let info = cluster.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap();
    let [head] = &info.into_inner().heads[..] else { panic!("one head was given") };
    assert_eq!(head.name, "meta-1");
    let digest = head.digest.clone();
    (cluster, digest)
}

fn samples(events: Vec<Event>) -> Vec<v1::Sample> {
    let finished = events.into_iter().filter_map(|event| match event {
        Event::Finished(sample) => Some(sample),
        _ => None,
    });
    finished.collect()
}

#[tokio::test]
async fn a_head_that_the_group_names_scores_each_scored_sample_by_its_state() {
    let unscored = |spec: &jury_grm::domain::SampleSpec| match spec.index {
        2 => Ending::Unparsed(FailureKind::NoBox),
        _ => Ending::BySeed,
    };
    let backend = ScriptedBackend::new().with_states();
    let (cluster, digest) =
        with_a_head(backend.on_sample(move |spec, _| Act::now(unscored(spec)))).await;
    for keeps_states in [false, true] {
        let mut group = example_group(3);
        group.head_digest = Some(digest.clone());
        group.hidden_states = keeps_states;
        let samples = samples(cluster.call(group).await.unwrap().rest().await);
        assert_eq!(samples.len(), 3);
        for sample in samples {
            let spec = sample.spec.unwrap();
            let state = scripted_state(spec.seed);
            let is_scored = spec.index != 2;
            assert_eq!(sample.meta_score, is_scored.then(|| f64::from(state[0])));
            let kept = if keeps_states && is_scored { state } else { Vec::new() };
            assert_eq!(sample.hidden_state, kept);
        }
    }
    let plain = samples(cluster.call(example_group(1)).await.unwrap().rest().await);
    assert_eq!((plain[0].meta_score, plain[0].hidden_state.len()), (None, 0));
}

#[tokio::test]
async fn a_head_that_the_worker_does_not_have_refuses_the_group_by_its_digest() {
    let (cluster, _) = with_a_head(ScriptedBackend::new().with_states()).await;
    let mut group = example_group(1);
    group.head_digest = Some("another".to_owned());
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("another"), "{error}");
    assert!(cluster.script.groups().is_empty(), "nothing was drawn");
}

/// Ranks over gRPC.
async fn rank(cluster: &Cluster, request: RankRequest) -> Result<Vec<Ranked>, JuryError> {
    let answer = cluster.client.clone().rank(v1::RankRequest::from(request)).await?.into_inner();
    assert!(answer.load.is_some());
    answer.ranked.into_iter().map(TryInto::try_into).collect()
}

#[tokio::test]
async fn a_meta_rm_ranks_trajectories_in_their_order_and_draws_nothing() {
    let cluster = Cluster::start(ScriptedBackend::new().as_meta("meta"));
    let info = cluster.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.roles, [v1::WorkerRole::Meta as i32]);
    let request = example_ranking(3);
    let ranked = rank(&cluster, request.clone()).await.unwrap();
    for (said, ranked) in request.trajectories.iter().zip(ranked) {
        assert_eq!((ranked.index, ranked.outcome), (said.index, Ok(scripted_score(&said.text))));
    }
    let mut group = example_group(1);
    group.model_digest = info.model_digest;
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("role grm"), "{error}");
}

#[tokio::test]
async fn trajectories_for_another_model_or_for_a_worker_that_draws_are_refused_by_what_differs() {
    let meta = Cluster::start(ScriptedBackend::new().as_meta("meta"));
    let other = RankRequest { model_digest: "other".to_owned(), ..example_ranking(1) };
    let error = rank(&meta, other).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("model digest"), "{error}");
    let grm = Cluster::start(ScriptedBackend::new());
    let error = rank(&grm, example_ranking(1)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("role meta"), "{error}");
}

#[tokio::test]
async fn a_worker_that_goes_down_cuts_what_it_ranks() {
    let backend = ScriptedBackend::new().as_meta("meta").on_rank(|_| RankAct::Hang);
    let cluster = Cluster::start_with_grace(backend, Duration::ZERO);
    let call = rank(&cluster, example_ranking(1));
    let leave = async {
        cluster.script.wait_for_rankings(1).await;
        cluster.shutdown.cancel();
    };
    let (ranked, ()) = tokio::join!(call, leave);
    assert_eq!(ranked.unwrap_err().code, ErrorCode::ShuttingDown);
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
    // Far more has been drawn than fits between worker and caller.
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

#[tokio::test]
async fn a_shutdown_leaves_in_order_and_lets_running_samples_finish() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(1)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.wait_until_announced().await;
    assert!(cluster.health.is_serving());

    let mut updates = cluster.directory.watch();
    cluster.shutdown.cancel();
    loop {
        match updates.next().await.unwrap() {
            Update::Removed(_) => break,
            Update::Reset(fleet) if fleet.is_empty() => break,
            _ => {}
        }
    }
    assert!(!cluster.health.is_serving(), "not serving before the registration is withdrawn");

    // From the withdrawal on, admission closes; the call that runs goes on.
    let refused = loop {
        match cluster.call(example_group(1)).await {
            Err(error) => break error,
            Ok(admitted) => drop(admitted),
        }
    };
    assert_eq!(refused.code, ErrorCode::ShuttingDown);
    let asked = cluster.client.clone().get_info(v1::GetInfoRequest {}).await;
    let code = JuryError::from(asked.unwrap_err()).code;
    assert_eq!(code, ErrorCode::ShuttingDown, "a coordinator that only asks must learn it too");
    cluster.script.release_all();
    assert_eq!(finished_index(&call.event().await), 0);
    drop(call);
    cluster.ended.await.unwrap().unwrap();
}

/// Clients that say nothing must not use up the time that drained calls have to flush, let alone the grace.
#[tokio::test]
async fn a_worker_with_nothing_in_flight_leaves_within_three_seconds_whoever_stays_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (health, grace) = (HealthHandle::new(&[SERVICE_NAME]), Duration::from_secs(60));
    let worker = worker(ScriptedBackend::new(), Heads::default(), Announce::Nowhere, health, grace);
    let ended = tokio::spawn(run(worker, Listener::Tcp(listener), shutdown.clone()));
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut half_a_preface = TcpStream::connect(address).await.unwrap();
    half_a_preface.write_all(b"PRI * HTTP").await.unwrap();
    let channel = Connector::new().connect(&format!("http://{address}")).unwrap();
    let mut idle = SamplingServiceClient::new(channel);
    // Connections are taken in order: all are there when this is answered.
    idle.get_info(v1::GetInfoRequest {}).await.unwrap();

    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    shutdown.cancel();
    ended.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn samples_that_outlive_the_grace_are_cut_with_a_typed_error() {
    let cluster = Cluster::start_with_grace(held(), Duration::ZERO);
    let mut call = cluster.call(example_group(2)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.shutdown.cancel();
    assert_eq!(call.next().await.unwrap_err().code, ErrorCode::ShuttingDown);
    cluster.script.wait_for_cancels(2).await;
    cluster.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_backend_fails_its_callers_and_ends_the_worker() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(2)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.script.die("out of luck");
    for index in [0, 1] {
        assert_eq!(failed(&call.event().await), (index, FailureKind::Worker));
    }
    let error = cluster.ended.await.unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::BackendDied(why) if &*why == "out of luck"));
    assert!(!cluster.health.is_serving());
}
