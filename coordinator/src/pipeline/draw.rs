//! The middle of a request's life: plan, render, dispatch, rank, decide.

use jury_grm::domain::ScoreRequest;
use jury_grm::plan::{Fitting, Overflow, Plan, plan_fitting, refit};
use jury_grm::stop::Stopping;
use jury_grm::vote::{Calibration, Rule};
use jury_proto::JuryError;
use jury_proto::convert::TooLong;
use tokio::time::Instant;
use tracing::info;

use crate::answer::End;
use crate::coordinator::{Coordinator, Inner};
use crate::decide::{Deciding, Next};
use crate::dispatch::{Drawing, Drew, Effort, Job};
use crate::fleet::WorkerClass;
use crate::observe::Seen;
use crate::progress::Teller;
use crate::rank::{MetaCalls, MetaJob, RankedDrawing, Ranking};
use crate::render::{self, Rendered};
use crate::tenants::Tenant;

/// A request whose samples have ended.
pub(super) struct Settled {
    pub(super) plan: Plan,
    pub(super) end: End,
}

// === impl Coordinator ===

impl Coordinator {
    /// Plans, renders, dispatches, ranks and decides; starts again with fewer responses at once while a prompt is too
    /// long.
    pub(super) async fn draw(
        &self,
        tenant: &Tenant,
        request: &ScoreRequest,
        class: WorkerClass,
        deadline: Instant,
        teller: &Teller,
    ) -> Result<Settled, JuryError> {
        let Inner { config, fleet, admission, .. } = &*self.inner;
        let patience = deadline.saturating_duration_since(Instant::now()).min(config.worker_wait);
        let (class, ranking) = Ranking::find(&request.voting, class, fleet, patience).await;
        let (mut fitting, mut effort) = (Fitting::default(), Effort::default());
        loop {
            let plan = plan_fitting(request, &fitting);
            let Rendered { prompts, escaped_markers } =
                render::render(&config.template, request, &plan)?;
            let job = Job {
                specs: plan.samples.clone(),
                prompts,
                settings: request.settings.clone(),
                head_digest: ranking.head_digest().map(str::to_owned),
                hidden_states: request.include_hidden_states,
                cache_salt: tenant.cache_salt().map(str::to_owned),
                class: class.clone(),
                request_id: request.request_id.clone(),
                deadline,
                max_reissues: config.max_reissues,
                worker_wait: config.worker_wait,
                hedge_budget: self.inner.hedge_budget.clone(),
            };
            let meta = ranking.model().map(|class| {
                let job = MetaJob {
                    class: class.clone(),
                    prompts: job.prompts.clone(),
                    cache_salt: job.cache_salt.clone(),
                    request_id: job.request_id.clone(),
                    deadline,
                    max_reissues: config.max_reissues,
                    worker_wait: config.worker_wait,
                };
                MetaCalls::new(job, fleet.clone())
            });
            teller.show(Seen::Planned(&plan.samples));
            let mut drawing = RankedDrawing::new(Drawing::new(job, fleet.clone()), meta);
            let stopping = Stopping::new(request, &plan, rule(request, &plan));
            let mut deciding = Deciding::new(stopping, &plan);
            let mut fewer = None;
            while fewer.is_none()
                && let Some(drew) = drawing.next().await
            {
                if let Drew::Sample(sample) = drew {
                    teller.show(Seen::Ended(&sample));
                    match deciding.take(sample) {
                        Next::GoOn => {}
                        Next::Draw(spare) => {
                            teller.show(Seen::Spare(&spare));
                            drawing.add(spare);
                        }
                        Next::Stop => drawing.stop(),
                        Next::Split => {
                            let too_long = drawing.too_long();
                            fewer = too_long.and_then(|told| fit(request, &fitting, &plan, told));
                            if fewer.is_none() {
                                deciding.cannot_split();
                            }
                        }
                    }
                }
                teller.tell(|| drawing.progress());
                teller.note_spent(effort.spent() + drawing.spent());
            }
            let Some(fewer) = fewer else {
                let (spent, why_unranked) = drawing.into_effort();
                let ranking = ranking.explained(why_unranked);
                admission.record_drawn(&class.model, spent.drawn);
                effort.add(spent);
                let drawn = deciding.into_drawn();
                let end = End::Drawn { class, drawn, ranking, effort, escaped_markers, fitting };
                return Ok(Settled { plan, end });
            };
            let n_apart = fewer.apart.len();
            info!(
                max_panel = fewer.panel,
                n_apart, "prompts are too long: fewer responses at once"
            );
            effort.add(drawing.abandon());
            fitting = fewer;
        }
    }
}

/// How the samples of `plan` vote.
pub(super) fn rule(request: &ScoreRequest, plan: &Plan) -> Rule {
    let k = u32::try_from(plan.samples.len()).expect("k is below the request's limit");
    Rule::of(&request.voting, k, Calibration::default())
}

/// A split that makes prompts small enough, given what a worker reported about sample `index`; `None` if there is
/// none.
fn fit(
    request: &ScoreRequest,
    current: &Fitting,
    plan: &Plan,
    (index, told): (u32, TooLong),
) -> Option<Fitting> {
    let TooLong { prompt_tokens, limit_tokens, longest_response, longest_response_tokens, .. } =
        told;
    let told = Overflow { prompt_tokens, limit_tokens, longest_response, longest_response_tokens };
    let mut planned = plan.samples.iter().chain(&plan.spares);
    let spec = planned.find(|spec| spec.index == index)?;
    refit(request, current, (plan, &spec.order), &told)
}
