//! The last stage: from drawn samples to a verdict, or from a refusal to one without rewards.

use std::collections::BTreeSet;
use std::time::Duration;

use jury_grm::domain::{
    Counts, FailureKind, Provenance, Reason, ReasonCode, Reproducible, RunReport, Sample,
    ScoreRequest, Status, StoppedBy, Usage, Verdict,
};
use jury_grm::plan::Plan;
use jury_grm::vote::{Ballot, vote};
use tokio::time::Instant;

use crate::dispatch::Drawn;
use crate::fleet::{Class, NoClass};
use crate::render::Rendered;

/// What is known of the answer before there are samples.
pub(crate) struct Answer<'a> {
    request: &'a ScoreRequest,
    plan: &'a Plan,
    rendered: &'a Rendered,
    arrived: Instant,
    queue_ms: u64,
}

/// Why nothing was drawn.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The budget ended while the request waited for admission.
    Queue {
        /// The whole budget.
        budget: Duration,
    },
    /// No worker can serve it.
    NoClass(NoClass),
}

// === impl Answer ===

impl<'a> Answer<'a> {
    pub(crate) fn new(
        request: &'a ScoreRequest,
        plan: &'a Plan,
        rendered: &'a Rendered,
        arrived: Instant,
    ) -> Self {
        Self { request, plan, rendered, arrived, queue_ms: 0 }
    }

    /// The request got its permit now.
    pub(crate) fn admitted(&mut self) {
        self.queue_ms = milliseconds(self.arrived.elapsed());
    }

    /// A verdict without rewards, since nothing was drawn.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Verdict {
        let (code, kind, detail) = match refusal {
            Refusal::Queue { budget } => (
                ReasonCode::Budget,
                FailureKind::TimedOut,
                format!(
                    "the budget of {} ms ended while waiting for admission",
                    budget.as_millis()
                ),
            ),
            Refusal::NoClass(no_class) => {
                let code = match no_class {
                    NoClass::NoWorker { .. } => ReasonCode::NoWorker,
                    NoClass::UnknownModel { .. } | NoClass::Ambiguous { .. } => {
                        ReasonCode::UnknownModel
                    }
                };
                (code, FailureKind::Worker, no_class.to_string())
            }
        };
        let failed = |spec: &_| Sample::failed(Clone::clone(spec), kind, &*detail);
        let samples = self.plan.samples.iter().map(failed).collect();
        let drawn = Drawn {
            samples,
            out_of_time: false,
            tally: crate::dispatch::Tally::default(),
            cached_tokens: 0,
            workers: BTreeSet::new(),
        };
        let ballot = Ballot::none(self.request.item.responses.len());
        let reason = Reason { code, detail };
        self.assemble(None, drawn, ballot, Conclusion::Unscored(StoppedBy::Refused, reason))
    }

    /// The verdict of what was drawn.
    pub(crate) fn verdict(&self, class: &Class, drawn: Drawn) -> Verdict {
        let n_responses = self.request.item.responses.len();
        let counts = Counts::of(&drawn.samples, 0);
        let min_samples = self.request.effective_min_samples();
        let conclusion = conclude(&counts, &drawn, min_samples);
        let ballot = match conclusion {
            Conclusion::Scored(..) => vote(&self.plan.classes, &drawn.samples),
            Conclusion::Unscored(..) => Ballot::none(n_responses),
        };
        self.assemble(Some(class), drawn, ballot, conclusion)
    }

    fn assemble(
        &self,
        class: Option<&Class>,
        drawn: Drawn,
        ballot: Ballot,
        conclusion: Conclusion,
    ) -> Verdict {
        let (status, stopped_by, reason) = match conclusion {
            Conclusion::Scored(status, stopped_by) => {
                let detail = "no valid sample showed this response".to_owned();
                (status, stopped_by, Reason { code: ReasonCode::NotShown, detail })
            }
            Conclusion::Unscored(stopped_by, reason) => (Status::Unscored, stopped_by, reason),
        };
        let reason_for = |reward: &Option<f64>| reward.is_none().then(|| reason.clone());
        let usage = usage_of(&drawn.samples);
        Verdict {
            item_id: self.request.item.id.clone(),
            status,
            reasons: ballot.rewards.iter().map(reason_for).collect(),
            rewards: ballot.rewards,
            pick: ballot.pick,
            tied: ballot.tied,
            confidence: ballot.confidence,
            agreement: ballot.agreement,
            stopped_by,
            counts: Counts::of(&drawn.samples, ballot.voted),
            usage,
            provenance: self.provenance(class),
            run: RunReport {
                request_id: self.request.request_id.clone(),
                queue_ms: self.queue_ms,
                total_ms: milliseconds(self.arrived.elapsed()),
                cached_tokens: drawn.cached_tokens,
                wasted_tokens: drawn.tally.wasted_tokens,
                reissued: drawn.tally.reissued,
                hedged: 0,
                workers: drawn.workers.into_iter().collect(),
            },
            samples: self.request.include_samples.then_some(drawn.samples),
        }
    }

    fn provenance(&self, class: Option<&Class>) -> Provenance {
        Provenance {
            model: class.map(|class| class.model.clone()),
            model_digest: class.map(|class| class.model_digest.clone()),
            numerics: class.map(|class| class.numerics.clone()),
            method_digest: self.rendered.method_digest.clone(),
            meta_digest: None,
            seed: self.request.seed,
            settings: self.request.settings.clone(),
            escaped_markers: self.rendered.escaped_markers,
            reproducible: class.map_or(Reproducible::None, |class| class.reproducible),
            version: crate::VERSION.to_owned(),
        }
    }
}

/// What the outcomes amount to.
#[derive(Debug, PartialEq, Eq)]
enum Conclusion {
    Scored(Status, StoppedBy),
    Unscored(StoppedBy, Reason),
}

/// OK needs every sample to come to its own end; rewards need `min_samples` valid ones. Without
/// rewards the reason is the cause that a caller can do most about: length, then the budget, then
/// workers, then the model's own text.
fn conclude(counts: &Counts, drawn: &Drawn, min_samples: u32) -> Conclusion {
    let stopped_by = if drawn.out_of_time { StoppedBy::Budget } else { StoppedBy::Complete };
    let Counts { asked, valid, too_long, timed_out, failed, .. } = *counts;
    if valid >= min_samples {
        let is_whole = too_long == 0 && timed_out == 0 && failed == 0;
        let status = if is_whole { Status::Ok } else { Status::Partial };
        return Conclusion::Scored(status, stopped_by);
    }
    let detail_of = |wanted: fn(FailureKind) -> bool| {
        let failures = drawn.samples.iter().filter_map(Sample::failure);
        failures.into_iter().find(|failure| wanted(failure.kind)).map(|f| f.detail.clone())
    };
    let figures = format!("{valid} of {asked} samples are valid, {min_samples} are needed");
    let with_cause = |cause: Option<String>| match cause {
        Some(cause) => format!("{figures}; {cause}"),
        None => figures.clone(),
    };
    let (code, detail) = if let Some(too_long) = detail_of(|kind| kind == FailureKind::TooLong) {
        (ReasonCode::TooLong, too_long)
    } else if timed_out > 0 {
        (ReasonCode::Budget, with_cause(detail_of(|kind| kind == FailureKind::TimedOut)))
    } else if failed > 0 {
        (ReasonCode::WorkerFailed, with_cause(detail_of(|kind| kind == FailureKind::Worker)))
    } else {
        (ReasonCode::ParseFailed, with_cause(detail_of(FailureKind::is_parse)))
    };
    Conclusion::Unscored(stopped_by, Reason { code, detail })
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
