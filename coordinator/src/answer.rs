//! The last stage: turns facts into a verdict, in one place, for drawn requests and for refused ones.

use std::collections::BTreeSet;
use std::time::Duration;

use jury_grm::conclude::{Conclusion, Ranked, conclude};
use jury_grm::digest::item_digest;
use jury_grm::domain::{
    Counts, FailureKind, Provenance, Reason, ReasonCode, Reproducible, RunReport, Sample,
    ScoreRequest, Status, StoppedBy, Usage, Verdict, VoteRule, Voting,
};
use jury_grm::plan::{Fitting, Overflow, Plan};
use jury_grm::stop::{Drawn, min_samples};
use jury_grm::vote::{Ballot, Rule, vote};

use crate::dispatch::Effort;
use crate::fleet::{NoClass, WorkerClass};
use crate::rank::Ranking;

/// Everything that a verdict is made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a ScoreRequest,
    /// The final plan, with panels as small as they had to be.
    pub(crate) plan: &'a Plan,
    /// How samples vote.
    pub(crate) rule: Rule,
    /// Digest of template, parser and guide.
    pub(crate) method_digest: String,
    /// Time spent waiting for admission.
    pub(crate) queued: Duration,
    /// Time from arrival to answer.
    pub(crate) total: Duration,
    pub(crate) end: End,
}

/// How the request ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Nothing was drawn.
    Refused(Refusal),
    /// Its samples were drawn, or at least attempted.
    Drawn {
        /// The class that drew.
        class: WorkerClass,
        /// Every planned sample, and the stop rule that fired, if any.
        drawn: Drawn,
        /// The Meta RM that ranked them.
        ranking: Ranking,
        /// What the drawing took.
        effort: Effort,
        /// Number of marker lines that were escaped in a prompt.
        escaped_markers: u32,
        /// How prompts had to be shortened to fit the model's context.
        fitting: Fitting,
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
        /// Expected time until `min_samples` are drawn.
        expected: Duration,
        /// Fewest samples for a verdict.
        min_samples: u32,
    },
    /// No worker can serve it.
    NoClass(NoClass),
}

/// Builds the verdict from the facts, with every sample.
pub(crate) fn answer(facts: Facts<'_>) -> Verdict {
    let Facts { request, plan, rule, method_digest, queued, total, end } = facts;
    let k = count(plan.samples.len());
    let (mut ranked, mut ranked_by, mut forced) = (Ok(None), None, Fitting::default());
    let (class, samples, effort, escaped_markers, stopped_by, conclusion) = match end {
        End::Refused(refusal) => {
            let (kind, reason) = refusal.explain();
            let failed = |spec: &_| Sample::failed(Clone::clone(spec), kind, &*reason.detail);
            let samples = plan.samples.iter().map(failed).collect();
            let conclusion = Conclusion::Unscored(reason);
            (None, samples, Effort::default(), 0, StoppedBy::Refused, conclusion)
        }
        End::Drawn { class, drawn, ranking, mut effort, escaped_markers, fitting } => {
            let Drawn { samples, stop, surplus_tokens } = drawn;
            effort.tally.wasted_tokens += surplus_tokens;
            let is_out_of_time = Counts::of(&samples, 0).timed_out > 0;
            let stopped_by = match stop {
                Some(stop) => stop.by,
                None if is_out_of_time => StoppedBy::Budget,
                None => StoppedBy::Complete,
            };
            let n_wanted = stop.map_or(k, |stop| stop.prefix);
            (ranked, forced) = (ranking.result(&samples), fitting);
            ranked_by = ranking.model().filter(|_| ranked.is_ok()).cloned();
            let was_ranked = if ranked.is_ok() { Ranked::AsAsked } else { Ranked::Unavailable };
            let n_needed = min_samples(request.min_samples, n_wanted);
            let conclusion = conclude(&samples, n_needed, was_ranked);
            (Some(class), samples, effort, escaped_markers, stopped_by, conclusion)
        }
    };
    let (ballot, status, why_unscored) = match conclusion {
        Conclusion::Whole | Conclusion::Partial => {
            let ballot = vote(&plan.duplicate_of, &samples, rule);
            // Valid samples that each showed only one response give no majority.
            let has_any = ballot.rewards.iter().any(Option::is_some);
            let status = if has_any { conclusion.status() } else { Status::Unscored };
            (ballot, status, None)
        }
        Conclusion::Unscored(reason) => {
            let ballot = Ballot::none(request.item.responses.len(), rule);
            (ballot, Status::Unscored, Some(reason))
        }
    };
    let voted = count(ballot.voters.len());
    let n_spare = samples.iter().filter(|sample| sample.spec.index >= k).count();
    let counts = Counts { spare: count(n_spare), ..Counts::of(&samples, voted) };
    let reason_for = |(response, reward): (usize, &Option<f64>)| {
        let distinct = plan.duplicate_of[response];
        let too_long = || forced.apart.get(&distinct).map(why_too_long);
        let not_shown =
            || too_long().unwrap_or_else(|| why_not_shown(distinct, &samples, ballot.rule));
        reward.is_none().then(|| why_unscored.clone().unwrap_or_else(not_shown))
    };
    Verdict {
        item_id: request.item.id.clone(),
        status,
        reasons: ballot.rewards.iter().enumerate().map(reason_for).collect(),
        rewards: ballot.rewards,
        pick: ballot.pick,
        tied: ballot.tied,
        confidence: ballot.confidence,
        agreement: ballot.agreement,
        stopped_by,
        voters: ballot.voters,
        weights: ballot.weights,
        meta_unavailable: ranked.clone().err(),
        counts,
        usage: usage_of(&samples),
        provenance: Provenance {
            model: class.as_ref().map(|class| class.model.clone()),
            model_digest: class.as_ref().map(|class| class.model_digest.clone()),
            numerics: class.as_ref().map(|class| class.numerics.clone()),
            method_digest,
            meta_digest: ranked.ok().flatten(),
            meta_numerics: ranked_by.as_ref().map(|meta| meta.numerics.clone()),
            seed: request.seed,
            settings: request.settings.clone(),
            voting: in_force(&request.voting, k, ballot.rule.kind()),
            min_samples: request.min_samples,
            hinted: request.hinted,
            forced_panel: forced.panel,
            escaped_markers,
            reproducible: reproducible(class.as_ref(), ranked_by.as_ref()),
            item_digest: Some(item_digest(&request.item)),
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
        samples: Some(samples),
    }
}

// === impl Refusal ===

impl Refusal {
    /// The failure of every sample, and the reason why no response has a reward.
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

/// The vote rule and its numbers as they were applied.
fn in_force(voting: &Voting, k: u32, rule: VoteRule) -> Voting {
    let effective = voting.effective(k);
    let k_meta = effective.k_meta.filter(|_| rule == VoteRule::Top);
    Voting { rule: Some(rule), k_meta, ..effective }
}

/// How far a repeat is reproducible: the scores come from `judge`, and the model that ranked decides which of them
/// count.
fn reproducible(judge: Option<&WorkerClass>, ranked_by: Option<&WorkerClass>) -> Reproducible {
    let judge = judge.map_or(Reproducible::None, |class| class.reproducible);
    ranked_by.map_or(judge, |meta| judge.with(meta.reproducible))
}

/// Why a response that fits no prompt has no reward although the others have one.
fn why_too_long(told: &Overflow) -> Reason {
    // What the context leaves for a prompt differs by panel, and which panel is answered first is chance. A server
    // that takes text does not count the tokens of a response; in that case the prompt held only this one.
    let what = match (told.longest_response_tokens, told.prompt_tokens) {
        (0, prompt) => format!("a prompt with this response alone has at least {prompt} tokens"),
        (response, _) => format!("the response has {response} tokens"),
    };
    let detail = format!(
        "{what}, and fits no prompt that the model's context leaves room for; it was left out of the others' prompts"
    );
    Reason { code: ReasonCode::TooLong, detail }
}

/// Why a response has no reward although some samples are valid.
fn why_not_shown(distinct: usize, samples: &[Sample], rule: Rule) -> Reason {
    let shows = |order: &[usize]| order.contains(&distinct);
    let showing: Vec<&Sample> = samples.iter().filter(|s| shows(&s.spec.order)).collect();
    let too_long = showing.iter().filter_map(|sample| sample.failure());
    if let Some(failure) = too_long.into_iter().find(|f| f.kind == FailureKind::TooLong)
        && showing.iter().all(|sample| sample.scores().is_none())
    {
        return Reason { code: ReasonCode::TooLong, detail: failure.detail.clone() };
    }
    let is_valid = showing.iter().any(|sample| sample.scores().is_some());
    let detail = if is_valid && rule == Rule::Majority {
        "every valid sample that showed this response showed it alone, and prefers it to none; take another vote rule, \
         or shorter responses, of which a prompt holds several"
            .to_owned()
    } else if is_valid {
        "no sample that showed this response was chosen to vote; ask for a higher k_meta".to_owned()
    } else {
        "no valid sample showed this response".to_owned()
    };
    Reason { code: ReasonCode::NotShown, detail }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Usage: prompt tokens once per distinct order, generated tokens once per sample.
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
