//! `SamplingService` over a [`Backend`]: converts protobuf to domain types and back, once.
//!
//! ```text
//! Sample   first message -> check (shape, model, numerics, method, head) -> gate -> backend -> head -> events
//! Rank     check (shape, model, numerics) -> gate -> backend -> scores
//! GetInfo  what the backend serves, and its load
//! ```
//!
//! Dropping a call drops its stream and the listener, whose handle cancels the samples.

mod check;
mod gate;
mod listen;
mod ranking;
mod stream;

use std::sync::Arc;

use futures::stream::BoxStream;
use jury_fabric::trace;
use jury_proto::convert::{RankRequest, SampleGroup, WorkerInfo};
use jury_proto::v1::sampling_service_server::SamplingService;
use jury_proto::{ErrorCode, JuryError, v1};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span};

use crate::backend::{Backend, GroupEvents};
use crate::heads::Heads;
use crate::metrics::WorkerMetrics;

pub use gate::Gate;
use listen::Listener;
use ranking::Ranking;
use stream::Call;

/// The gRPC service of one worker.
#[derive(Clone)]
pub struct Sampling {
    worker_id: String,
    backend: Arc<dyn Backend>,
    heads: Heads,
    gate: Gate,
    metrics: WorkerMetrics,
}

// === impl Sampling ===

impl Sampling {
    /// A service that draws on `backend` while `gate` is open, and scores samples with `heads`.
    pub fn new(
        worker_id: impl Into<String>,
        backend: Arc<dyn Backend>,
        heads: Heads,
        gate: Gate,
        metrics: WorkerMetrics,
    ) -> Self {
        Self { worker_id: worker_id.into(), backend, heads, gate, metrics }
    }

    /// What this worker serves.
    pub fn info(&self) -> WorkerInfo {
        let backend = self.backend.info();
        WorkerInfo {
            worker_id: self.worker_id.clone(),
            model: backend.model,
            model_digest: backend.model_digest,
            numerics: backend.numerics,
            method_version: backend.method_version,
            context_tokens: backend.context_tokens,
            reproducible: backend.reproducible,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: backend.capacity,
            roles: vec![backend.role],
            capabilities: backend.capabilities,
            room_tokens: backend.room_tokens,
            heads: self.heads.list(),
            adapters: backend.adapters,
        }
    }

    async fn begin(&self, mut requests: Streaming<v1::SampleRequest>) -> Result<Call, Status> {
        let mut group = first_group(requests.message().await?)?;
        check::shape(&group)?;
        check::serves(&self.backend.info(), &group)?;
        let ranking = Ranking::of(&mut group, &self.heads, &self.backend.info().model_digest)?;
        let n_samples = group.samples.len();
        let permit = self.gate.enter(&group.request_id, n_samples).ok_or_else(going_down)?;
        Span::current().record("request_id", &group.request_id);
        tracing::debug!(samples = group.samples.len(), "group started");
        let (events, receiver) = GroupEvents::channel(&group);
        let watch = self.metrics.group(group.samples.len());
        let handle = self.backend.start(group, events);
        Ok(Call::new(receiver, Listener::start(requests, handle), ranking, permit, watch))
    }

    async fn ranked(&self, request: v1::RankRequest) -> Result<v1::RankResponse, JuryError> {
        let request = RankRequest::try_from(request)?;
        check::ranks(&self.backend.info(), &request)?;
        let n_trajectories = request.trajectories.len();
        let permit = self.gate.enter(&request.request_id, n_trajectories);
        let permit = permit.ok_or_else(going_down)?;
        Span::current().record("request_id", &request.request_id);
        tracing::debug!(trajectories = n_trajectories, "ranking started");
        let watch = self.metrics.call(n_trajectories);
        let ranked = tokio::select! {
            biased;
            ranked = self.backend.rank(request) => ranked?,
            () = permit.cut() => return Err(cut_off()),
        };
        watch.record(&ranked);
        let ranked = ranked.into_iter().map(Into::into).collect();
        Ok(v1::RankResponse { ranked, load: Some(self.backend.load().into()) })
    }
}

fn cut_off() -> JuryError {
    JuryError::new(ErrorCode::ShuttingDown, "the worker went down before all was ranked")
}

fn going_down() -> JuryError {
    JuryError::new(
        ErrorCode::ShuttingDown,
        "the worker takes nothing now: it goes down, loads its model anew or waits for its upstream; try another",
    )
}

fn first_group(message: Option<v1::SampleRequest>) -> Result<SampleGroup, JuryError> {
    match message.and_then(|request| request.message) {
        Some(v1::sample_request::Message::Start(group)) => group.try_into(),
        _ => Err(JuryError::invalid("start", "must be the first message of the call")),
    }
}

#[tonic::async_trait]
impl SamplingService for Sampling {
    type SampleStream = BoxStream<'static, Result<v1::SampleResponse, Status>>;

    async fn sample(
        &self,
        request: Request<Streaming<v1::SampleRequest>>,
    ) -> Result<Response<Self::SampleStream>, Status> {
        let span = trace::server_span("jury.v1.SamplingService/Sample", request.metadata());
        let call = self.begin(request.into_inner()).instrument(span).await?;
        Ok(Response::new(call.into_stream(self.backend.clone())))
    }

    async fn rank(
        &self,
        request: Request<v1::RankRequest>,
    ) -> Result<Response<v1::RankResponse>, Status> {
        let span = trace::server_span("jury.v1.SamplingService/Rank", request.metadata());
        Ok(Response::new(self.ranked(request.into_inner()).instrument(span).await?))
    }

    async fn get_info(
        &self,
        _request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        if self.gate.is_closed() {
            return Err(going_down().into());
        }
        let load = Some(self.backend.load().into());
        Ok(Response::new(v1::GetInfoResponse { load, ..self.info().into() }))
    }
}
