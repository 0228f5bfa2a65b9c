//! The way of one request, on one screen; `draw` has its middle, `callers` on whose behalf it is.

mod callers;
mod class;
mod draw;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jury_fabric::connector::Connector;
use jury_fabric::directory::Directory;
use jury_fabric::trace;
use jury_grm::domain::{Progress, ScoreRequest, Verdict};
use jury_grm::plan::plan;
use jury_proto::{ErrorCode, JuryError, v1};
use prometheus_client::registry::Registry;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info};

use crate::admission::{
    Admission, Ask, DemandMetrics, Forecast, Held, Outlook, Overloaded, Size, Work,
};
use crate::answer::{End, Facts, Refusal, answer};
use crate::config::{Config, ConfigError};
use crate::dispatch::HedgeBudget;
use crate::fleet::{DirectoryMetrics, Fleet};
use crate::idempotency::{Answered, Idempotency, Identity, Limits};
use crate::metrics::{Metrics, tokens_spent};
use crate::observe::{Observed, RequestNumber, Seen};
use crate::progress::Teller;
use crate::tenants::Tenant;
use draw::{Settled, rule};

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
    hedge_budget: HedgeBudget,
    metrics: Metrics,
    /// Requests that an observer was told of.
    n_observed: AtomicU64,
    /// Cancelled when nothing new is taken any more.
    closing: CancellationToken,
}

/// When a request came, and until when it is answered.
#[derive(Debug, Clone, Copy)]
struct Due {
    arrived: Instant,
    budget: Duration,
    deadline: Instant,
}

/// Where a verdict comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// This request.
    Judged,
    /// An identical one.
    Replayed,
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
        let awaited = config.awaited_models.iter().map(String::as_str);
        let admission = Admission::new(config.queue_limit, config.queue_bytes).awaiting(awaited);
        registry.register_collector(Box::new(DemandMetrics(admission.clone())));
        registry.register_collector(Box::new(DirectoryMetrics(Arc::clone(&directory))));
        let inner = Inner {
            admission,
            fleet: Fleet::start(directory, connector),
            idempotency: Idempotency::new(Limits {
                max_entries: config.idempotency_entries,
                max_bytes: config.idempotency_bytes,
                ttl: config.idempotency_ttl,
            }),
            hedge_budget: HedgeBudget::new(config.hedge_budget),
            metrics: Metrics::register(registry),
            n_observed: AtomicU64::new(0),
            closing: CancellationToken::new(),
            config,
        };
        let coordinator = Self { inner: Arc::new(inner) };
        coordinator.follow_capacity();
        coordinator.follow_tenants();
        Ok(coordinator)
    }

    /// Judges one valid request of this process within its budget, or answers it with the verdict of an identical
    /// one.
    ///
    /// # Errors
    /// A [`JuryError`] when it is refused (overload, a quota used up, a request id used before, going down).
    /// Whatever depends on model or fleet is a verdict without rewards.
    pub async fn score(&self, request: ScoreRequest) -> Result<Arc<Verdict>, JuryError> {
        self.score_telling(&Tenant::in_process(), request, &Teller::to_nobody()).await
    }

    /// The same on behalf of `tenant`, and tells `teller` how far it is.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub async fn score_telling(
        &self,
        tenant: &Tenant,
        request: ScoreRequest,
        teller: &Teller,
    ) -> Result<Arc<Verdict>, JuryError> {
        let metrics = &self.inner.metrics;
        match self.answer(tenant, request, teller).await {
            Ok((verdict, Origin::Judged)) => {
                metrics.record_verdict(tenant.name(), &verdict);
                Ok(verdict)
            }
            Ok((verdict, Origin::Replayed)) => {
                metrics.record_replay();
                Ok(verdict)
            }
            Err(error) => {
                self.refused();
                Err(error)
            }
        }
    }

    async fn answer(
        &self,
        tenant: &Tenant,
        mut request: ScoreRequest,
        teller: &Teller,
    ) -> Result<(Arc<Verdict>, Origin), JuryError> {
        let Inner { config, admission, idempotency, closing, .. } = &*self.inner;
        if closing.is_cancelled() {
            let message = "the coordinator is going down; try another";
            return Err(JuryError::new(ErrorCode::ShuttingDown, message));
        }
        let tenant = &config.tenants.renewed(tenant)?;
        let arrived = Instant::now();
        let budget = request.budget_ms.map_or(config.default_budget, milliseconds);
        let due = Due { arrived, budget, deadline: arrived + budget };
        teller.tell(|| Progress::waiting(request.settings.k));
        let held = admission.hold(tenant.share(), request.item.text_bytes()).map_err(overloaded)?;
        let identity = Identity::of(tenant.name(), &request, tenant.keeps_texts());
        if request.request_id.is_empty() {
            request.request_id = format!("{:016x}", rand::random::<u64>());
        }
        let span = trace::request_span(&request.request_id, &request.item.id);
        let request = &Arc::new(request);
        let teller = &teller.observed(self.observe(tenant, request));
        let judge = || async {
            let verdict = self.judge(tenant, request, due, held, teller).await?;
            Ok(as_asked(verdict, request, teller))
        };
        let answered = idempotency.once(identity, due.deadline, judge).instrument(span).await?;
        match answered {
            Answered::Judged(verdict) => Ok((verdict, Origin::Judged)),
            Answered::Replayed(verdict) => Ok((verdict, Origin::Replayed)),
            Answered::OutOfTime => {
                let verdict = self.refuse(request, due, Refusal::Queue { budget });
                Ok((Arc::new(as_asked(verdict, request, teller)), Origin::Judged))
            }
        }
    }

    /// Tells the observer, if there is one, of a request that has come. It is shown texts, and keeps them.
    fn observe(&self, tenant: &Tenant, request: &Arc<ScoreRequest>) -> Option<Observed> {
        let observer = self.inner.config.observer.as_ref().filter(|_| tenant.keeps_texts())?;
        let number = RequestNumber(self.inner.n_observed.fetch_add(1, Ordering::Relaxed) + 1);
        Some(Observed::begin(observer, number, tenant.name(), request))
    }

    /// Class, admission, draw, answer. Until it is admitted, the request waits as it
    /// came: it is planned and rendered after that.
    async fn judge(
        &self,
        tenant: &Tenant,
        request: &ScoreRequest,
        due: Due,
        held: Held,
        teller: &Teller,
    ) -> Result<Verdict, JuryError> {
        let Inner { config, admission, .. } = &*self.inner;
        let Due { arrived, budget, deadline } = due;
        let queued_for = match self.class_for(request, deadline).await {
            Ok(class) => class.model,
            Err(no_class) => return Ok(self.refuse(request, due, Refusal::NoClass(no_class))),
        };
        let work = Work::of(request, config.template.source_bytes());
        let size = Size { samples: work.samples, tokens: admission.tokens_of(&queued_for, work) };
        if let Some(refusal) =
            self.out_of_reach(tenant, request, due, (&queued_for, size.samples))?
        {
            return Ok(self.refuse(request, due, refusal));
        }
        let mut charge = self.charge(tenant, size)?;
        let admitted = admission.admit(tenant.share(), &queued_for, size, held);
        let Ok(admitted) = timeout_at(deadline, admitted).await else {
            return Ok(self.refuse(request, due, Refusal::Queue { budget }));
        };
        let mut permit = admitted.map_err(overloaded)?;
        let queued = arrived.elapsed();

        // Who serves the model may have changed meanwhile.
        let class = match self.class_for(request, deadline).await {
            Ok(class) => class,
            Err(no_class) => return Ok(self.refuse(request, due, Refusal::NoClass(no_class))),
        };
        charge.begin();
        let Settled { plan, end } = self.draw(tenant, request, class, deadline, teller).await?;
        let verdict = answer(Facts {
            request,
            plan: &plan,
            rule: rule(request, &plan),
            method_digest: jury_grm::method_digest(&config.template),
            queued,
            total: arrived.elapsed(),
            end,
        });
        permit.settle(tokens_spent(&verdict));
        charge.settle(tokens_spent(&verdict));
        info!(
            status = ?verdict.status, valid = verdict.counts.valid, asked = verdict.counts.asked,
            reissued = verdict.run.reissued, total_ms = verdict.run.total_ms, "request answered"
        );
        Ok(verdict)
    }

    /// Why a request is not worth a try, if its budget is known to be too short. What could be
    /// answered with less waiting is told to come back.
    fn out_of_reach(
        &self,
        tenant: &Tenant,
        request: &ScoreRequest,
        due: Due,
        (model, samples): (&str, u32),
    ) -> Result<Option<Refusal>, JuryError> {
        let min_samples = request.effective_min_samples();
        let ask = Ask {
            samples,
            min_samples,
            max_tokens: request.settings.max_critique_tokens,
            left: due.deadline.saturating_duration_since(Instant::now()),
        };
        match self.inner.admission.outlook(tenant.share(), model, ask) {
            Outlook::Open => Ok(None),
            Outlook::Crowded(forecast) => {
                Err(overloaded(Overloaded::crowded(forecast, due.budget)))
            }
            Outlook::Hopeless(Forecast { draw: expected, .. }) => {
                Ok(Some(Refusal::Hopeless { budget: due.budget, expected, min_samples }))
            }
        }
    }

    /// A verdict without rewards, since nothing was drawn: all the time went by in waiting.
    fn refuse(&self, request: &ScoreRequest, due: Due, refusal: Refusal) -> Verdict {
        let total = due.arrived.elapsed();
        let plan = plan(request);
        answer(Facts {
            request,
            plan: &plan,
            rule: rule(request, &plan),
            method_digest: jury_grm::method_digest(&self.inner.config.template),
            queued: total,
            total,
            end: End::Refused(refusal),
        })
    }

    /// Waits at most `patience` until these workers are there and have told what they serve: for whoever has started them.
    pub async fn wait_for_workers(&self, ids: &[&str], patience: Duration) {
        self.inner.fleet.wait_until_known(ids, patience).await;
    }

    /// The fleet and the load, and nothing of tenants.
    pub fn status(&self) -> v1::GetStatusResponse {
        let Inner { admission, fleet, config, .. } = &*self.inner;
        let load = admission.load();
        v1::GetStatusResponse {
            version: crate::VERSION.to_owned(),
            workers: fleet.status(),
            requests_running: count(load.running),
            requests_queued: count(load.waiting),
            queue_limit: count(config.queue_limit),
            directory: fleet.directory().kind().to_owned(),
            directory_connected: fleet.directory().is_connected(),
            tenants: Vec::new(),
        }
    }

    /// Takes nothing new from now on; what runs goes on.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    /// True until nothing new is taken any more.
    pub fn is_open(&self) -> bool {
        !self.inner.closing.is_cancelled()
    }

    /// Budget of a request that brings none.
    pub fn default_budget(&self) -> Duration {
        self.inner.config.default_budget
    }

    /// Waits until nothing new is taken any more.
    pub(crate) async fn closed(&self) {
        self.inner.closing.cancelled().await;
    }

    /// Most items of one stream that are judged at once.
    pub(crate) fn stream_concurrency(&self) -> usize {
        self.inner.config.stream_concurrency
    }

    /// Counts a request that was answered with an error before it got here.
    pub fn refused(&self) {
        self.inner.metrics.record_refused();
    }

    /// Lets admission know what the fleet can draw, whenever that changes.
    fn follow_capacity(&self) {
        let weak = Arc::downgrade(&self.inner);
        let mut changes = self.inner.fleet.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(inner) = weak.upgrade() else { return };
                let factor = inner.config.admitted_per_capacity;
                let of_model = |(model, capacity)| (model, (f64::from(capacity) * factor) as u32);
                inner
                    .admission
                    .set_capacities(&inner.fleet.capacities().into_iter().map(of_model).collect());
            }
        });
    }
}

/// A verdict with no more than its caller asked for; the observer is shown all of it.
fn as_asked(mut verdict: Verdict, request: &ScoreRequest, teller: &Teller) -> Verdict {
    teller.show(Seen::Judged(&verdict));
    if !request.include_samples {
        verdict.samples = None;
    }
    verdict
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn milliseconds(ms: NonZeroU64) -> Duration {
    Duration::from_millis(ms.get())
}

fn overloaded(overloaded: Overloaded) -> JuryError {
    JuryError::overloaded(overloaded.problem, overloaded.retry_after)
}
