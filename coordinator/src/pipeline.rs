//! The life of a request, on one screen; `draw` has the middle part.

mod class;
mod draw;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jury_fabric::trace;
use jury_grm::domain::{Progress, ScoreRequest, Verdict};
use jury_grm::plan::plan;
use jury_proto::{ErrorCode, JuryError};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, info};

use crate::admission::{Ask, Forecast, Held, Outlook, Overloaded, Size, Work};
use crate::answer::{End, Facts, Refusal, answer};
use crate::coordinator::{Coordinator, Inner};
use crate::idempotency::{Answered, Identity};
use crate::metrics::{Metrics, tokens_spent};
use crate::observe::{Observed, RequestNumber, Seen};
use crate::progress::Teller;
use crate::tenants::Tenant;
use draw::{Settled, rule};

/// When a request arrived, and when its answer is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    arrived: Instant,
    budget: Duration,
    deadline: Instant,
}

/// Where a verdict came from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// This request.
    Judged,
    /// An identical one.
    Replayed,
}

// === impl Coordinator ===

impl Coordinator {
    /// Judges one valid request of this process within its budget, or answers it with the verdict of an identical one.
    ///
    /// # Errors
    /// A [`JuryError`] if it is rejected (overload, an exhausted quota, a reused request id, shutdown). Problems of
    /// the model or the fleet give a verdict without rewards instead.
    pub async fn score(&self, request: ScoreRequest) -> Result<Arc<Verdict>, JuryError> {
        self.score_telling(&Tenant::in_process(), request, &Teller::to_nobody()).await
    }

    /// The same on behalf of `tenant`; reports progress to `teller`.
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
                metrics.record_error(error.code);
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
        let once = async {
            let (metrics, tenant) = (&self.inner.metrics, &**tenant.name());
            let mut leaving = Leaving { metrics, tenant, teller, is_answered: false };
            let answered = idempotency.once(identity, due.deadline, judge).await;
            leaving.is_answered = true;
            answered
        };
        let answered = once.instrument(span).await?;
        match answered {
            Answered::Judged(verdict) => Ok((verdict, Origin::Judged)),
            Answered::Replayed(verdict) => Ok((verdict, Origin::Replayed)),
            Answered::OutOfTime => {
                let verdict = self.refuse(request, due, Refusal::Queue { budget });
                Ok((Arc::new(as_asked(verdict, request, teller)), Origin::Judged))
            }
        }
    }

    /// Reports a new request to the observer, if there is one and the tenant's texts may be kept: an observer sees and
    /// stores texts.
    fn observe(&self, tenant: &Tenant, request: &Arc<ScoreRequest>) -> Option<Observed> {
        let observer = self.inner.config.observer.as_ref().filter(|_| tenant.keeps_texts())?;
        let number = RequestNumber(self.inner.n_observed.fetch_add(1, Ordering::Relaxed) + 1);
        Some(Observed::begin(observer, number, tenant.name(), request))
    }

    /// Class, admission, draw, answer. The request is planned and rendered only after it is admitted.
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

        // The class that serves the model may have changed in the meantime.
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

    /// Why a request is not worth trying, if its budget is known to be too short. If it could be answered with fewer
    /// waiting requests, the error asks the caller to retry.
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

    /// A verdict without rewards for a request of which nothing was drawn: all its time was spent waiting.
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
}

/// A request until it is answered. If it is dropped before, its caller has left.
struct Leaving<'a> {
    metrics: &'a Metrics,
    tenant: &'a str,
    teller: &'a Teller,
    is_answered: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let spent = self.teller.spent();
        info!(generated_tokens = spent.generated_tokens, "caller left before the answer");
        self.metrics.record_abandoned(self.tenant, spent);
    }
}

/// Reduces a verdict to what its caller asked for; the observer sees all of it.
fn as_asked(mut verdict: Verdict, request: &ScoreRequest, teller: &Teller) -> Verdict {
    teller.show(Seen::Judged(&verdict));
    if !request.include_samples {
        verdict.samples = None;
    }
    verdict
}

fn milliseconds(ms: NonZeroU64) -> Duration {
    Duration::from_millis(ms.get())
}

fn overloaded(overloaded: Overloaded) -> JuryError {
    JuryError::overloaded(overloaded.problem, overloaded.retry_after)
}
