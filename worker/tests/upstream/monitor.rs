//! The monitor of a server: whether the server is alive, how busy it is, and whether it is still the same. Time
//! advances only when a test advances it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jury_grm::domain::{FailureKind, Readout};
use jury_worker::backend::openai::OpenAiBackend;
use jury_worker::backend::{Availability, Backend, BackendEvent};
use serde_json::json;

use crate::server::{Asked, Reply, Server};
use crate::{BOX, HEALTH, MODELS, PROPS, connect, draw, group, llama_cpp, samples};

/// Slightly more than the monitor's interval, since timers round.
const EVERY: Duration = Duration::from_millis(2_010);

/// A llama-server's current answers.
#[derive(Debug, Clone)]
struct State {
    is_healthy: bool,
    /// The list of models; empty: the recorded one.
    models: &'static str,
    build: &'static str,
    /// Its metrics; `None`: it was started without them.
    metrics: Option<String>,
}

/// A llama-server whose answers change, and a worker's clock.
struct Watched {
    server: Server,
    state: Arc<Mutex<State>>,
    /// As long as this exists, a thread waits for it, and the runtime does not advance its clock by itself: it could
    /// not know that an answer is on its way.
    _standstill: std::sync::mpsc::Sender<()>,
}

fn metrics(deferred: u32, decoded: u64) -> Option<String> {
    Some(format!(
        "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_processing 3\n\
         llamacpp:requests_deferred {deferred}\nllamacpp:n_decode_total {decoded}\n"
    ))
}

/// Each connection stays open until the worker closes it, so that a test sees when an answer has been read.
fn answer(asked: &Asked, state: &State) -> Reply {
    let unavailable = || Reply::with_status("503 Busy", "application/json", "{}");
    let reply = match (asked.path.as_str(), &state.metrics) {
        ("/health", _) if !state.is_healthy => unavailable(),
        ("/health", _) => Reply::bytes(HEALTH),
        ("/metrics", Some(page)) => Reply::with_status("200 OK", "text/plain", page),
        ("/v1/models", _) if state.models.is_empty() => Reply::bytes(MODELS),
        ("/v1/models", _) => Reply::with_status("200 OK", "application/json", state.models),
        ("/props", _) if !state.build.is_empty() => {
            Reply::json(&json!({"build_info": state.build, "total_slots": 4}))
        }
        ("/props", _) => Reply::bytes(PROPS),
        _ => llama_cpp(asked, || Reply::bytes(BOX)),
    };
    reply.and_hang()
}

impl Watched {
    async fn start() -> (Self, OpenAiBackend) {
        let state = State { is_healthy: true, models: "", build: "", metrics: metrics(0, 7) };
        let state = Arc::new(Mutex::new(state));
        let now = state.clone();
        let server =
            Server::start(move |asked| answer(asked, &now.lock().expect("no test panics in it")))
                .await;
        let backend = connect(&server.url).await;
        let (standstill, ends) = std::sync::mpsc::channel::<()>();
        tokio::time::pause();
        tokio::task::spawn_blocking(move || ends.recv().is_err());
        // Lets the monitor begin to wait.
        tokio::task::yield_now().await;
        (Self { server, state, _standstill: standstill }, backend)
    }

    fn now(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no test panics in it"));
    }

    /// Lets the monitor check once; returns when the worker has read the answer to the last request of that check.
    async fn look(&self, last: &str) {
        let asked = self.server.asked_for(last);
        tokio::time::advance(EVERY).await;
        while self.server.asked_for(last) == asked {
            tokio::task::yield_now().await;
        }
        self.server.wait_for_closed(self.server.asked().len()).await;
    }

    /// A check that fails.
    async fn fails(&self) {
        self.now(|state| state.is_healthy = false);
        self.look("/health").await;
    }
}

/// The error of a group that is not drawn; `None` if it is drawn.
async fn refusal(backend: &OpenAiBackend) -> Option<String> {
    let events = draw(backend, group(2, Readout::Free)).await;
    if samples(&events).len() == 2 {
        return None;
    }
    let [BackendEvent::Failed { failure, .. }, BackendEvent::Failed { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(failure.kind, FailureKind::Worker, "another may draw it");
    Some(failure.detail.clone())
}

#[tokio::test]
async fn three_failures_in_a_row_make_a_server_one_that_is_away_until_it_is_back() {
    let (watched, backend) = Watched::start().await;
    watched.look("/metrics").await;
    for _ in 0..2 {
        watched.fails().await;
        watched.fails().await;
        assert_eq!(refusal(&backend).await, None, "it may be busy for a moment");
        watched.now(|state| state.is_healthy = true);
        watched.look("/metrics").await;
    }
    for _ in 0..3 {
        watched.fails().await;
    }
    let asked = watched.server.asked_for_texts().len();
    let availability = backend.availability();
    for _ in 0..2 {
        let why = refusal(&backend).await.expect("nothing is drawn");
        assert!(why.starts_with("the upstream is down: "), "{why}");
        let away = Availability::Away(why.into());
        assert_eq!(*availability.borrow(), away, "the worker leaves the fleet");
        watched.fails().await;
    }
    assert_eq!(watched.server.asked_for_texts().len(), asked, "nothing is sent there");
    watched.now(|state| state.is_healthy = true);
    watched.look("/metrics").await;
    assert_eq!(refusal(&backend).await, None);
    assert_eq!(*availability.borrow(), Availability::Up);
}

#[tokio::test]
async fn a_server_that_comes_back_as_another_ends_the_worker() {
    let other_model = r#"{"data":[{"id":"other","owned_by":"llamacpp"}]}"#;
    let other_weights = r#"{"data":[{"id":"judge","owned_by":"llamacpp","meta":{"n_params":7}}]}"#;
    for (models, build, last) in
        [(other_model, "", "/v1/models"), (other_weights, "", "/props"), ("", "b2", "/props")]
    {
        let (watched, backend) = Watched::start().await;
        // However short its absence.
        watched.fails().await;
        watched.now(|state| (state.models, state.build, state.is_healthy) = (models, build, true));
        watched.look(last).await;
        let mut availability = backend.availability();
        let dead = availability.wait_for(Availability::is_dead).await;
        let dead = format!("{:?}", *dead.expect("the backend is there"));
        assert!(dead.contains("another model, version or mode"), "{dead}");
        let events = draw(&backend, group(1, Readout::Free)).await;
        assert!(samples(&events).is_empty(), "{events:?}");
        assert!(watched.server.asked_for_texts().is_empty());
        drop(watched);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_server_that_does_not_tell_what_it_serves_is_not_back() {
    let (watched, backend) = Watched::start().await;
    for _ in 0..3 {
        watched.fails().await;
    }
    watched.now(|state| (state.is_healthy, state.models) = (true, "<html>"));
    watched.look("/v1/models").await;
    assert!(refusal(&backend).await.is_some());
    assert!(!backend.availability().borrow().is_dead(), "that says nothing of another");
    watched.now(|state| state.models = "");
    watched.look("/metrics").await;
    assert_eq!(refusal(&backend).await, None);
}

#[tokio::test]
async fn load_has_what_waits_at_the_server_and_steps_only_while_it_counts() {
    let (watched, backend) = Watched::start().await;
    assert_eq!((backend.load().queued, backend.load().steps), (0, 0), "nobody has looked");
    watched.now(|state| state.metrics = metrics(5, 7));
    watched.look("/metrics").await;
    let load = backend.load();
    assert_eq!((load.running, load.queued, load.capacity), (0, 5, 4), "others wait there");
    let steps = load.steps;
    assert!(steps > 0);
    watched.now(|state| state.metrics = metrics(0, 9));
    watched.look("/metrics").await;
    assert_eq!((backend.load().queued, backend.load().steps), (0, steps + 2));
    // What it sends us counts as work as well.
    assert_eq!(refusal(&backend).await, None);
    assert!(backend.load().steps > steps + 2);
    watched.now(|state| state.metrics = None);
    watched.look("/metrics").await;
    assert_eq!(backend.load().steps, 0, "it does not tell any more");
}

#[tokio::test]
async fn samples_that_a_server_lost_as_it_died_are_told_as_failed_once_the_worker_is_away() {
    let is_dead = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let dead = is_dead.clone();
    let server =
        Server::start(move |asked| match dead.load(std::sync::atomic::Ordering::Relaxed) {
            // A connection that is closed without an answer.
            true => Reply::bytes(Vec::new()),
            false => llama_cpp(asked, || Reply::bytes(BOX)),
        })
        .await;
    let backend = connect(&server.url).await;
    let availability = backend.availability();
    is_dead.store(true, std::sync::atomic::Ordering::Relaxed);
    let (_handle, mut events) = crate::start(&backend, group(3, Readout::Free));
    for _ in 0..3 {
        let event = events.recv().await.expect("each sample is told");
        assert!(matches!(event, BackendEvent::Failed { .. }), "{event:?}");
        assert!(!availability.borrow().is_up(), "a retry does not come back here");
    }
}
