//! The way of one request, on one screen.

use std::sync::Arc;

use jury_fabric::connector::Connector;
use jury_fabric::directory::Directory;
use jury_grm::domain::{ScoreRequest, Verdict};
use jury_grm::plan::plan;
use jury_proto::{ErrorCode, JuryError, v1};
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::admission::Admission;
use crate::answer::{End, Facts, Refusal, answer};
use crate::config::{Config, ConfigError};
use crate::dispatch::{Drawing, Drew, Job};
use crate::fleet::Fleet;
use crate::idempotency::Idempotency;
use crate::metrics::Metrics;
use crate::progress::{Phase, Progress, Reporter, Teller};
use crate::render::{self, Rendered};

/// A coordinator; a cheap handle to its shared parts.
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    admission: Admission,
    fleet: Fleet,
    idempotency: Idempotency,
    progress: Reporter,
    metrics: Metrics,
    /// Cancelled when nothing new is taken any more.
    closing: CancellationToken,
}

// === impl Coordinator ===

impl Coordinator {
    /// Starts to follow `directory`, whose workers `connector` reaches. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot work.
    pub fn start(
        config: Config,
        directory: Arc<dyn Directory>,
        connector: Connector,
        registry: &mut Registry,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let inner = Inner {
            admission: Admission::new(config.queue_limit),
            fleet: Fleet::start(directory, connector),
            idempotency: Idempotency::new(config.idempotency_entries, config.idempotency_ttl),
            progress: Reporter::new(),
            metrics: Metrics::register(registry),
            closing: CancellationToken::new(),
            config,
        };
        let coordinator = Self { inner: Arc::new(inner) };
        coordinator.follow_capacity();
        Ok(coordinator)
    }

    /// Judges one valid request within its budget.
    ///
    /// # Errors
    /// A [`JuryError`] when it is refused (overload, a request id used before, going down).
    /// Whatever depends on model or fleet is a verdict without rewards.
    pub async fn score(&self, mut request: ScoreRequest) -> Result<Verdict, JuryError> {
        let inner = &self.inner;
        if inner.closing.is_cancelled() {
            self.refused();
            let message = "the coordinator is going down; try another";
            return Err(JuryError::new(ErrorCode::ShuttingDown, message));
        }
        let arrived = Instant::now();
        let as_sent = request.clone();
        let judged = inner.idempotency.once(&as_sent, || {
            if request.request_id.is_empty() {
                request.request_id = format!("{:016x}", rand::random::<u64>());
            }
            let span =
                info_span!("request", request_id = request.request_id, item_id = request.item.id);
            self.judge(request, arrived).instrument(span)
        });
        let answered = judged.await;
        match &answered {
            Ok(verdict) => inner.metrics.record_verdict(verdict),
            Err(_) => self.refused(),
        }
        answered
    }

    /// Admission, plan, dispatch, answer.
    async fn judge(&self, request: ScoreRequest, arrived: Instant) -> Result<Verdict, JuryError> {
        let Inner { config, admission, fleet, .. } = &*self.inner;
        let budget = request
            .budget_ms
            .map_or(config.default_budget, |ms| std::time::Duration::from_millis(ms.get()));
        let deadline = arrived + budget;

        let plan = plan(&request);
        let n_samples = request.settings.k;
        let ids = (&*request.request_id, &*request.item.id);
        let mut teller = Teller::new(&self.inner.progress, ids, n_samples);
        teller.tell(Phase::Waiting, 0, 0);
        let method_digest = jury_grm::method_digest(&config.template);
        let conclude = |queued, end| {
            let total = arrived.elapsed();
            let (request, plan, method_digest) = (&request, &plan, method_digest.clone());
            answer(Facts { request, plan, method_digest, queued, total, end })
        };

        let Ok(admitted) = timeout_at(deadline, admission.admit(n_samples)).await else {
            let refusal = Refusal::Queue { budget };
            return Ok(conclude(arrived.elapsed(), End::Refused(refusal)));
        };
        let _permit = admitted.map_err(|overloaded| {
            JuryError::overloaded(overloaded.to_string(), overloaded.retry_after)
        })?;
        let queued = arrived.elapsed();

        let patience = config.worker_wait.min(deadline.saturating_duration_since(Instant::now()));
        let class = match fleet.wait_for_class(request.model.as_deref(), patience).await {
            Ok(class) => class,
            Err(no_class) => {
                return Ok(conclude(queued, End::Refused(Refusal::NoClass(no_class))));
            }
        };

        let Rendered { prompts, escaped_markers } =
            render::render(&config.template, &request, &plan)?;
        let job = Job {
            specs: plan.samples.clone(),
            prompts,
            settings: request.settings.clone(),
            class: class.clone(),
            request_id: request.request_id.clone(),
            deadline,
            max_reissues: config.max_reissues,
            worker_wait: config.worker_wait,
        };
        let mut drawing = Drawing::new(job, fleet.clone());
        let mut samples = Vec::with_capacity(plan.samples.len());
        while let Some(drew) = drawing.next().await {
            if let Drew::Sample(sample) = drew {
                samples.push(sample);
            }
            let step = drawing.step();
            teller.tell(step.phase, step.samples_done, step.tokens);
        }
        let effort = drawing.into_effort();

        let verdict = conclude(queued, End::Drawn { class, samples, effort, escaped_markers });
        teller.tell(Phase::Answered, n_samples, verdict.usage.generated_tokens);
        info!(
            status = ?verdict.status, valid = verdict.counts.valid, asked = verdict.counts.asked,
            reissued = verdict.run.reissued, total_ms = verdict.run.total_ms, "request answered"
        );
        Ok(verdict)
    }

    /// Watches how far requests are.
    pub fn watch_progress(&self) -> broadcast::Receiver<Progress> {
        self.inner.progress.watch()
    }

    /// The fleet and the load.
    pub fn status(&self) -> v1::GetStatusResponse {
        let Inner { admission, fleet, config, .. } = &*self.inner;
        let load = admission.load();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        v1::GetStatusResponse {
            version: crate::VERSION.to_owned(),
            workers: fleet.status(),
            requests_running: count(load.running),
            requests_queued: count(load.waiting),
            queue_limit: count(config.queue_limit),
            directory: fleet.directory().kind().to_owned(),
            directory_connected: fleet.directory().is_connected(),
        }
    }

    /// Takes nothing new from now on; what runs goes on.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    /// Waits until nothing new is taken any more.
    pub(crate) async fn closed(&self) {
        self.inner.closing.cancelled().await;
    }

    /// Most items of one stream that are judged at once.
    pub(crate) fn stream_concurrency(&self) -> usize {
        self.inner.config.stream_concurrency
    }

    /// A request was answered with an error.
    pub(crate) fn refused(&self) {
        self.inner.metrics.record_refused();
    }

    /// Lets admission know what the fleet can draw, whenever that changes.
    fn follow_capacity(&self) {
        let weak = Arc::downgrade(&self.inner);
        let mut changes = self.inner.fleet.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(inner) = weak.upgrade() else { return };
                let capacity = f64::from(inner.fleet.capacity());
                let admitted = capacity * inner.config.admitted_per_capacity;
                inner.admission.set_capacity(admitted as u32);
            }
        });
    }
}
