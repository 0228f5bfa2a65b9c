//! The last stage: from facts to a verdict, in one place, for drawn requests and refused ones.

use std::collections::BTreeSet;
use std::time::Duration;

use jury_grm::conclude::{Conclusion, conclude};
use jury_grm::domain::{
    Counts, FailureKind, Provenance, Reason, ReasonCode, Reproducible, RunReport, Sample,
    ScoreRequest, StoppedBy, Usage, Verdict,
};
use jury_grm::plan::Plan;
use jury_grm::vote::{Ballot, vote};

use crate::dispatch::Effort;
use crate::fleet::{NoClass, WorkerClass};

/// All that a verdict is made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a ScoreRequest,
    pub(crate) plan: &'a Plan,
    /// Digest of template, parser and guide.
    pub(crate) method_digest: String,
    /// Time spent waiting for admission.
    pub(crate) queued: Duration,
    /// Time from arrival to answer.
    pub(crate) total: Duration,
    pub(crate) end: End,
}

/// What became of the request.
#[derive(Debug)]
pub(crate) enum End {
    /// Nothing was drawn.
    Refused(Refusal),
    /// Its samples were drawn, or at least tried.
    Drawn {
        /// Who could draw.
        class: WorkerClass,
        /// Every planned sample, in any order.
        samples: Vec<Sample>,
        /// What it took.
        effort: Effort,
        /// Marker lines that were escaped in a prompt.
        escaped_markers: u32,
    },
}

/// Why nothing was drawn.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The budget ended while the request waited for admission.
    Queue {
        /// The whole budget.
        budget: Duration,
    },
    /// Its budget is too short for its samples.
    Hopeless {
        /// The whole budget.
        budget: Duration,
        /// How long the fewest samples are expected to take.
        expected: Duration,
        /// How many these are.
        min_samples: u32,
    },
    /// No worker can serve it.
    NoClass(NoClass),
}

/// The verdict that follows from the facts.
pub(crate) fn answer(facts: Facts<'_>) -> Verdict {
    let Facts { request, plan, method_digest, queued, total, end } = facts;
    let (class, mut samples, effort, escaped_markers, stopped_by, conclusion) = match end {
        End::Refused(refusal) => {
            let (kind, reason) = refusal.explain();
            let failed = |spec: &_| Sample::failed(Clone::clone(spec), kind, &*reason.detail);
            let samples = plan.samples.iter().map(failed).collect();
            let conclusion = Conclusion::Unscored(reason);
            (None, samples, Effort::default(), 0, StoppedBy::Refused, conclusion)
        }
        End::Drawn { class, samples, effort, escaped_markers } => {
            let is_out_of_time = Counts::of(&samples, 0).timed_out > 0;
            let stopped_by = if is_out_of_time { StoppedBy::Budget } else { StoppedBy::Complete };
            let conclusion = conclude(&samples, request.effective_min_samples());
            (Some(class), samples, effort, escaped_markers, stopped_by, conclusion)
        }
    };
    samples.sort_by_key(|sample| sample.spec.index);
    let status = conclusion.status();
    let (ballot, reason) = match conclusion {
        Conclusion::Whole | Conclusion::Partial => {
            let detail = "no valid sample showed this response".to_owned();
            let ballot = vote(&plan.duplicate_of, &samples);
            (ballot, Reason { code: ReasonCode::NotShown, detail })
        }
        Conclusion::Unscored(reason) => (Ballot::none(request.item.responses.len()), reason),
    };
    let voted = u32::try_from(ballot.voters.len()).unwrap_or(u32::MAX);
    let reason_for = |reward: &Option<f64>| reward.is_none().then(|| reason.clone());
    Verdict {
        item_id: request.item.id.clone(),
        status,
        reasons: ballot.rewards.iter().map(reason_for).collect(),
        rewards: ballot.rewards,
        pick: ballot.pick,
        tied: ballot.tied,
        confidence: ballot.confidence,
        agreement: ballot.agreement,
        stopped_by,
        voters: ballot.voters,
        weights: Vec::new(),
        meta_unavailable: None,
        counts: Counts::of(&samples, voted),
        usage: usage_of(&samples),
        provenance: Provenance {
            model: class.as_ref().map(|class| class.model.clone()),
            model_digest: class.as_ref().map(|class| class.model_digest.clone()),
            numerics: class.as_ref().map(|class| class.numerics.clone()),
            method_digest,
            meta_digest: None,
            seed: request.seed,
            settings: request.settings.clone(),
            voting: request.voting.effective(request.settings.k),
            escaped_markers,
            reproducible: class.map_or(Reproducible::None, |class| class.reproducible),
            version: crate::VERSION.to_owned(),
        },
        run: RunReport {
            request_id: request.request_id.clone(),
            queue_ms: milliseconds(queued),
            total_ms: milliseconds(total),
            cached_tokens: effort.cached_tokens,
            wasted_tokens: effort.tally.wasted_tokens,
            reissued: effort.tally.reissued,
            hedged: effort.tally.hedged,
            workers: effort.workers.into_iter().collect(),
        },
        samples: request.include_samples.then_some(samples),
    }
}

// === impl Refusal ===

impl Refusal {
    /// How every sample failed, and why no response has a reward.
    fn explain(self) -> (FailureKind, Reason) {
        match self {
            Self::Queue { budget } => {
                let budget_ms = budget.as_millis();
                let detail =
                    format!("the budget of {budget_ms} ms ended while waiting for admission");
                (FailureKind::TimedOut, Reason { code: ReasonCode::Budget, detail })
            }
            Self::Hopeless { budget, expected, min_samples } => {
                let (budget_ms, expected_ms) = (budget.as_millis(), expected.as_millis());
                let detail = format!(
                    "min_samples ({min_samples}) are expected to take {expected_ms} ms, the budget is \
                     {budget_ms} ms: raise budget_ms, or lower min_samples or max_critique_tokens"
                );
                (FailureKind::TimedOut, Reason { code: ReasonCode::Budget, detail })
            }
            Self::NoClass(no_class) => {
                let code = match no_class {
                    NoClass::NoWorker { .. } => ReasonCode::NoWorker,
                    NoClass::UnknownModel { .. } | NoClass::Ambiguous { .. } => {
                        ReasonCode::UnknownModel
                    }
                };
                (FailureKind::Worker, Reason { code, detail: no_class.to_string() })
            }
        }
    }
}

/// Prompt tokens of each distinct order once, generated tokens of each sample once.
fn usage_of(samples: &[Sample]) -> Usage {
    let mut orders_seen = BTreeSet::new();
    let mut usage = Usage::default();
    for sample in samples {
        usage.generated_tokens += u64::from(sample.generated_tokens);
        if sample.prompt_tokens > 0 && orders_seen.insert(&sample.spec.order) {
            usage.prompt_tokens += u64::from(sample.prompt_tokens);
        }
    }
    usage
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
