//! A worker in memory, and one call to it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jury_fabric::directory::{Directory, InProcess, Update};
use jury_fabric::transport::{Channel, HealthHandle, Listener, in_process};
use jury_grm::domain::FailureKind;
use jury_proto::convert::SampleGroup;
use jury_proto::v1::sample_response::Event;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::{JuryError, v1};
use jury_worker::backend::scripted::{Act, Ending, ScriptHandle, ScriptedBackend};
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig, WorkerError, run};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// A running worker, with everything that a test may want to access.
pub struct Cluster {
    pub client: SamplingServiceClient<Channel>,
    pub script: ScriptHandle,
    pub directory: InProcess,
    pub health: HealthHandle,
    pub shutdown: CancellationToken,
    pub ended: JoinHandle<Result<(), WorkerError>>,
}

/// One call of `Sample`.
pub struct Call {
    pub requests: mpsc::Sender<v1::SampleRequest>,
    pub responses: Streaming<v1::SampleResponse>,
}

pub fn worker(
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
    pub fn start(backend: ScriptedBackend) -> Self {
        Self::start_with_grace(backend, Duration::from_secs(60))
    }

    pub fn start_with_grace(backend: ScriptedBackend, grace: Duration) -> Self {
        Self::start_with_heads(backend, Heads::default(), grace)
    }

    pub fn start_with_heads(backend: ScriptedBackend, heads: Heads, grace: Duration) -> Self {
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

    pub async fn call(&self, group: SampleGroup) -> Result<Call, JuryError> {
        let start = v1::sample_request::Message::Start(group.into());
        self.call_with(start).await
    }

    pub async fn call_with(&self, first: v1::sample_request::Message) -> Result<Call, JuryError> {
        let (requests, messages) = mpsc::channel(8);
        requests.send(v1::SampleRequest { message: Some(first) }).await.unwrap();
        let response = self.client.clone().sample(ReceiverStream::new(messages)).await?;
        Ok(Call { requests, responses: response.into_inner() })
    }

    /// The load that the worker reports when asked.
    pub async fn load(&self) -> v1::Load {
        let info = self.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap();
        info.into_inner().load.unwrap()
    }

    /// The worker's entry in the directory, once there is one.
    pub async fn wait_until_announced(&self) {
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
    pub async fn next(&mut self) -> Result<Option<Event>, JuryError> {
        let response = self.responses.message().await?;
        Ok(response.map(|response| {
            assert!(response.load.is_some(), "every response carries the load");
            response.event.unwrap()
        }))
    }

    pub async fn event(&mut self) -> Event {
        self.next().await.unwrap().expect("the stream has not ended")
    }

    /// Every event until the end.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await.unwrap() {
            events.push(event);
        }
        events
    }

    pub async fn cancel(&self, indices: &[u32]) {
        let cancel = v1::CancelSamples { indices: indices.to_vec() };
        let message = Some(v1::sample_request::Message::Cancel(cancel));
        self.requests.send(v1::SampleRequest { message }).await.unwrap();
    }
}

pub fn finished_index(event: &Event) -> u32 {
    match event {
        Event::Finished(sample) => sample.spec.as_ref().unwrap().index,
        other => panic!("not a finished sample: {other:?}"),
    }
}

pub fn failed(event: &Event) -> (u32, FailureKind) {
    match event {
        Event::Failed(failed) => {
            let failure = jury_grm::domain::Failure::from(failed.failure.clone().unwrap());
            (failed.index, failure.kind)
        }
        other => panic!("not a failed sample: {other:?}"),
    }
}

pub fn held() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed))
}
