//! A coordinator and its scripted workers.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use jury_coordinator::{Config, Coordinator};
use jury_fabric::transport::{Channel, Listener, ServerConfig, in_process};
use jury_grm::domain::{Item, Query, ScoreRequest, Verdict};
use jury_proto::v1::WorkerState;
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::{JuryError, v1};
use jury_worker::backend::Backend;
use jury_worker::heads::Heads;
use prometheus_client::registry::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::workers::Workers;

/// A cluster in memory; ends when dropped.
pub struct Cluster {
    channel: Channel,
    coordinator: Coordinator,
    registry: Registry,
    /// Stops one worker, by id.
    leave: HashMap<String, CancellationToken>,
    _stop_when_dropped: DropGuard,
}

/// A request over two responses with a budget of ten seconds.
pub fn request(k: u32) -> ScoreRequest {
    let responses = vec!["It is Paris.".to_owned(), "It is Lyon.".to_owned()];
    let item = Item::bare(Query::Text("What is the capital of France?".to_owned()), responses);
    let mut request = ScoreRequest::new(Item { id: "capital".to_owned(), ..item });
    request.settings.k = k;
    request.budget_ms = NonZeroU64::new(10_000);
    request.include_samples = true;
    request
}

impl Cluster {
    /// Starts a cluster with default settings; workers leave without a grace period.
    pub async fn start<B: Backend + Clone>(workers: &[(&str, B)]) -> Self {
        Self::start_with(Config::default(), Duration::ZERO, workers).await
    }

    /// Starts a cluster with default settings; workers have heads, and leave without a grace period.
    pub async fn start_with_heads<B: Backend + Clone>(
        workers: &[(&str, B)],
        heads: impl Fn(&str) -> Heads,
    ) -> Self {
        let running = Workers::start_with_heads(Duration::ZERO, workers, heads);
        Self::coordinate(Config::default(), running, workers.len()).await
    }

    /// Starts a cluster, and waits until every worker has reported what it serves.
    pub async fn start_with<B: Backend + Clone>(
        config: Config,
        grace: Duration,
        workers: &[(&str, B)],
    ) -> Self {
        Self::coordinate(config, Workers::start(grace, workers), workers.len()).await
    }

    /// Starts a cluster, and hides the workers from the directory until the returned function is called.
    pub async fn start_before_workers<B: Backend + Clone>(
        config: Config,
        workers: &[(&str, B)],
    ) -> (Self, impl FnOnce()) {
        let running = Workers::start(Duration::ZERO, workers);
        let (directory, registrations) = (running.directory.clone(), running.registrations.clone());
        for registration in &registrations {
            directory.remove(&registration.worker_id);
        }
        let arrive = move || registrations.into_iter().for_each(|one| directory.add(one));
        (Self::coordinate(config, running, 0).await, arrive)
    }

    /// Starts a coordinator over workers, and waits until `n_workers` of them have reported what they serve.
    pub async fn coordinate(config: Config, workers: Workers, n_workers: usize) -> Self {
        let Workers { directory, connector, leave, stop, stop_when_dropped, .. } = workers;
        let mut registry = Registry::default();
        let coordinator = Coordinator::start(config, Arc::new(directory), connector, &mut registry)
            .expect("the settings are valid");
        let (channel, incoming) = in_process();
        tokio::spawn(jury_coordinator::run(
            coordinator.clone(),
            Listener::InProcess(incoming),
            ServerConfig::default(),
            stop,
        ));
        while coordinator
            .status()
            .workers
            .iter()
            .filter(|w| w.state() == WorkerState::Ready)
            .count()
            < n_workers
        {
            tokio::task::yield_now().await;
        }
        Self { channel, coordinator, registry, leave, _stop_when_dropped: stop_when_dropped }
    }

    /// A channel to the coordinator.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The coordinator's view of a worker: its state, and why it is not ready.
    pub fn state(&self, worker_id: &str) -> (WorkerState, String) {
        let workers = self.coordinator.status().workers;
        let worker = workers.into_iter().find(|worker| worker.worker_id == worker_id);
        worker.map_or((WorkerState::Unspecified, String::new()), |worker| {
            (worker.state(), worker.state_detail)
        })
    }

    /// Whether the coordinator considers a worker ready.
    pub fn is_ready(&self, worker_id: &str) -> bool {
        let workers = self.coordinator.status().workers;
        workers
            .iter()
            .any(|worker| worker.worker_id == worker_id && worker.state() == WorkerState::Ready)
    }

    /// Stops accepting requests.
    pub fn close(&self) {
        self.coordinator.close();
    }

    /// Samples that a worker is drawing or has waiting, according to the coordinator.
    pub fn n_running(&self, worker_id: &str) -> u32 {
        let workers = self.coordinator.status().workers;
        let worker = workers.iter().find(|worker| worker.worker_id == worker_id);
        worker.map_or(0, |worker| worker.running + worker.queued)
    }

    /// Stops a worker without the directory noticing.
    pub fn leaves_unnoticed(&self, worker_id: &str) {
        self.leave[worker_id].cancel();
    }

    /// The coordinator's metrics, as scraped.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a text takes all");
        text
    }

    /// Scores over gRPC.
    pub async fn score(&self, request: ScoreRequest) -> Result<Verdict, JuryError> {
        let mut client = RewardServiceClient::new(self.channel());
        let answer = client.score(v1::ScoreRequest::from(request)).await?.into_inner();
        answer.verdict.expect("the contract says so").try_into()
    }
}
