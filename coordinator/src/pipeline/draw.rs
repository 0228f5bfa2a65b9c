//! The middle of a request's way: plan, render, dispatch, rank, decide.

use std::borrow::Cow;

use jury_grm::domain::{ScoreRequest, Settings};
use jury_grm::plan::{Overflow, Plan, plan, smaller_panels};
use jury_grm::stop::Stopping;
use jury_grm::vote::{Calibration, Rule};
use jury_proto::JuryError;
use jury_proto::convert::TooLong;
use tokio::time::Instant;
use tracing::info;

use super::{Coordinator, Inner};
use crate::answer::End;
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
    /// Plan, render, dispatch, rank, decide; all of it again with smaller panels while a prompt is too long.
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
        let ranking = Ranking::find(&request.voting, &class, fleet, patience).await;
        let (mut request, mut effort) = (Cow::Borrowed(request), Effort::default());
        let mut forced_panel = None;
        loop {
            let plan = plan(&request);
            let Rendered { prompts, escaped_markers } =
                render::render(&config.template, &request, &plan)?;
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
            let stopping = Stopping::new(&request, &plan, rule(&request, &plan));
            let mut deciding = Deciding::new(stopping, &plan);
            let mut smaller = None;
            while smaller.is_none()
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
                            smaller = drawing.too_long().and_then(|told| split(&request, told));
                        }
                    }
                }
                teller.tell(|| drawing.progress());
            }
            let Some(settings) = smaller else {
                let (spent, why_unranked) = drawing.into_effort();
                let ranking = ranking.explained(why_unranked);
                admission.record_drawn(&class.model, spent.drawn);
                effort.add(spent);
                let drawn = deciding.into_drawn();
                let end =
                    End::Drawn { class, drawn, ranking, effort, escaped_markers, forced_panel };
                return Ok(Settled { plan, end });
            };
            info!(max_panel = settings.max_panel, k = settings.k, "prompts are too long: split");
            effort.add(drawing.abandon());
            forced_panel = Some(settings.max_panel);
            request.to_mut().settings = settings;
        }
    }
}

/// How the samples of `plan` vote.
pub(super) fn rule(request: &ScoreRequest, plan: &Plan) -> Rule {
    let k = u32::try_from(plan.samples.len()).expect("k is below the request's limit");
    Rule::of(&request.voting, k, Calibration::default())
}

/// The settings with panels small enough for what a worker told, if there are any.
fn split(request: &ScoreRequest, told: TooLong) -> Option<Settings> {
    let TooLong { prompt_tokens, limit_tokens, longest_response, longest_response_tokens, .. } =
        told;
    let told = Overflow { prompt_tokens, limit_tokens, longest_response, longest_response_tokens };
    smaller_panels(request, &told)
}
