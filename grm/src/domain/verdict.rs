//! The verdict: a reward for every response, or the reason why it has none.

use serde::{Deserialize, Serialize};

use super::{FailureKind, Issue, Item, Outcome, Sample, Settings, Voting};
use crate::digest::item_digest;

/// The answer to one request. Everything outside `run` is byte-stable for [`Status::Ok`] if the backend is
/// [`Reproducible::Bitwise`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The item's id, repeated.
    pub item_id: String,
    /// Whether the rewards are based on all, some or none of the samples.
    pub status: Status,
    /// The reward of each response, from the voting samples that showed it: their mean score on the scale of the
    /// settings, a weighted mean under [`VoteRule::Weighted`](super::VoteRule::Weighted), or a share 0..=1 under
    /// [`VoteRule::Majority`](super::VoteRule::Majority). Null if it has none.
    pub rewards: Vec<Option<f64>>,
    /// Parallel to `rewards`: why a reward is null.
    pub reasons: Vec<Option<Reason>>,
    /// Index of the best response; null for a single response or without rewards.
    pub pick: Option<usize>,
    /// All indices that share the highest reward, if more than one does.
    pub tied: Vec<usize>,
    /// Probability that a bootstrap of the voting samples picks the same response, 0..=1; null without a pick, or when
    /// fewer than two voting samples showed it.
    pub confidence: Option<f64>,
    /// Mean share of the voting samples that prefer the pick (a tie is split), 0..=1.
    pub agreement: Option<f64>,
    /// What ended the drawing of samples.
    pub stopped_by: StoppedBy,
    /// Indices of the samples that voted, ascending.
    #[serde(default)]
    pub voters: Vec<u32>,
    /// Parallel to `voters`: the weight of each vote; weights add up to 1. Empty: all votes weigh the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Why the requested Meta RM ranked nothing; all valid samples vote instead. Null if it ranked, or if none was
    /// requested.
    #[serde(default)]
    pub meta_unavailable: Option<String>,
    /// Final outcomes of the planned samples; they add up to `asked`.
    pub counts: Counts,
    /// Tokens of the planned samples, each counted once.
    pub usage: Usage,
    /// Everything needed to draw the same samples again.
    pub provenance: Provenance,
    /// The samples in index order, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<Sample>>,
    /// Everything that may differ between two runs of the same request.
    pub run: RunReport,
}

/// How complete a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Every planned sample ran to completion, or was no longer needed.
    Ok,
    /// Some samples did not complete (cut off by the budget, lost with a worker, too long), but at least `min_samples`
    /// are valid.
    Partial,
    /// No rewards; `reasons` says why.
    Unscored,
}

/// Why a response has no reward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Which kind, for machines.
    pub code: ReasonCode,
    /// A sentence for people, with figures.
    pub detail: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The prompt is longer than the model's context. No other worker of the model would accept it.
    TooLong,
    /// The prompt fits the model's context, but not the memory of any currently available worker.
    TooLarge,
    /// No worker could be reached.
    NoWorker,
    /// No worker serves the requested model.
    UnknownModel,
    /// The budget ended before `min_samples` were valid.
    Budget,
    /// Too few samples had readable scores.
    ParseFailed,
    /// Workers failed, and no other worker could take over.
    WorkerFailed,
    /// No voting sample showed this response; under majority, none showed it beside another.
    NotShown,
    /// The server behind a worker rejects the item, however often it is asked: a person must find out why.
    Rejected,
}

/// What ended the drawing of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// All planned samples were drawn.
    Complete,
    /// The budget ended.
    Budget,
    /// Nothing could be drawn.
    Refused,
    /// No outcome of the samples left could have changed the pick.
    Lossless,
    /// The pick over all samples was known with the requested confidence.
    Confidence,
    /// Every reward was known within the requested width.
    Width,
}

/// Final outcomes of the planned samples: `valid + parse_failed + too_long + timed_out + failed + not_needed = asked`.
/// `voted` and `forced` are parts of `valid`; `spare` and `neutralised` are parts of `asked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Samples planned: k, or one round of panels if the context forces smaller panels and a round takes more than k,
    /// plus the spare samples drawn.
    pub asked: u32,
    /// Samples with scores.
    pub valid: u32,
    /// Valid samples whose scores are in the rewards.
    pub voted: u32,
    /// Valid samples whose critique hit the token limit before its read-out.
    pub forced: u32,
    /// Samples whose own text gave no scores.
    pub parse_failed: u32,
    /// Samples whose prompt is longer than the model's context.
    #[serde(default)]
    pub too_long: u32,
    /// Samples that the budget cut off.
    pub timed_out: u32,
    /// Samples lost to infrastructure: lost workers, or workers without enough memory.
    pub failed: u32,
    /// Samples cancelled because the verdict was already decided.
    pub not_needed: u32,
    /// Spare samples among `asked`, drawn to replace samples without scores.
    #[serde(default)]
    pub spare: u32,
    /// Samples in whose prompts special tokens were neutralised, because the server that drew or ranked them accepts
    /// prompts only as text.
    #[serde(default)]
    pub neutralised: u32,
}

/// Tokens of the planned samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, summed over the distinct prompts of the plan.
    pub prompt_tokens: u64,
    /// Generated tokens, summed over the samples that finished.
    pub generated_tokens: u64,
}

/// Everything needed to draw the same samples again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the model that judged.
    pub model: Option<String>,
    /// SHA-256 of the model's file, hex.
    pub model_digest: Option<String>,
    /// Class of arithmetic; equal classes give equal bits.
    pub numerics: Option<String>,
    /// Digest of template, parser and guide.
    pub method_digest: String,
    /// Digest of the Meta RM that ranked, if one did.
    pub meta_digest: Option<String>,
    /// Class of arithmetic of the model that ranked. `None`: a head ranked, which has the judge's class; or nothing
    /// ranked; or the verdict was written by a version without this field.
    #[serde(default)]
    pub meta_numerics: Option<String>,
    /// The request's seed.
    pub seed: u64,
    /// The settings in force.
    pub settings: Settings,
    /// How the samples voted, with every default that applied written out.
    #[serde(default)]
    pub voting: Voting,
    /// Minimum number of valid samples, as requested. `None`: the default, or the verdict was written by a version
    /// without this field. A stop rule never fires after a prefix with fewer.
    #[serde(default)]
    pub min_samples: Option<u32>,
    /// Whether prompts revealed the best response.
    #[serde(default)]
    pub hinted: bool,
    /// Maximum number of responses shown in one sample, if the model's context forced fewer than `settings.max_panel`.
    /// `counts.asked` may then exceed `settings.k`, so that each response is shown.
    #[serde(default)]
    pub forced_panel: Option<u32>,
    /// Marker lines inside untrusted text that were escaped.
    pub escaped_markers: u32,
    /// What a repeat of this request may rely on: the weaker guarantee of the judge and of the Meta RM that ranked.
    pub reproducible: Reproducible,
    /// Digest of what was judged of the item ([`item_digest`]), hex. `None` if the verdict was written by a version
    /// without this field.
    #[serde(default)]
    pub item_digest: Option<String>,
    /// Version of Jury.
    pub version: String,
}

/// What a repeat of a request may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reproducible {
    /// The same bytes, whatever the fleet, the batching or the loss of a worker.
    Bitwise,
    /// Seeds are honoured upstream; bits may differ.
    Seeded,
    /// Nothing.
    None,
}

/// Everything that may differ between two runs of the same request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunReport {
    /// The request's id: the caller's, or a generated one.
    pub request_id: String,
    /// Time spent waiting for admission, in milliseconds.
    pub queue_ms: u64,
    /// Time from arrival to answer, in milliseconds.
    pub total_ms: u64,
    /// Prompt tokens that were cached and did not have to be prefilled.
    pub cached_tokens: u64,
    /// Tokens generated in vain: lost with a worker, or cancelled.
    pub wasted_tokens: u64,
    /// Samples drawn again after their worker was lost.
    pub reissued: u32,
    /// Samples drawn twice because the first attempt was slow.
    pub hedged: u32,
    /// Ids of the workers that delivered samples, sorted.
    pub workers: Vec<String>,
}

// === impl Verdict ===

impl Verdict {
    /// False only if the verdict is known to be of another item: one with another id, or one with the same id in which
    /// something else was judged.
    pub fn is_of(&self, item: &Item) -> bool {
        let digest = self.provenance.item_digest.as_ref();
        self.item_id == item.id && digest.is_none_or(|digest| *digest == item_digest(item))
    }
}

// === impl Reproducible ===

impl Reproducible {
    /// The weaker of the two, for a result that depends on both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Seeded, _) | (_, Self::Seeded) => Self::Seeded,
            (Self::Bitwise, Self::Bitwise) => Self::Bitwise,
        }
    }
}

// === impl ReasonCode ===

impl ReasonCode {
    /// True when the same request may get a reward on a later try: what was missing was time or a worker, not room in
    /// the context, a readable score or a server's consent.
    pub fn may_pass(self) -> bool {
        match self {
            Self::TooLarge
            | Self::NoWorker
            | Self::UnknownModel
            | Self::Budget
            | Self::WorkerFailed => true,
            Self::TooLong | Self::ParseFailed | Self::NotShown | Self::Rejected => false,
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Counts the outcomes of all planned samples; `voted` comes from the ballot.
    pub fn of(samples: &[Sample], voted: u32) -> Self {
        let mut counts = Self { voted, ..Self::default() };
        for sample in samples {
            counts.asked += 1;
            counts.neutralised += u32::from(sample.issues.contains(&Issue::NeutralisedSpecials));
            match &sample.outcome {
                Outcome::Scored(scores) => {
                    counts.valid += 1;
                    counts.forced += u32::from(scores.forced);
                }
                Outcome::Failed { failure } => match failure.kind {
                    kind if kind.is_parse() => counts.parse_failed += 1,
                    FailureKind::TooLong => counts.too_long += 1,
                    FailureKind::TimedOut => counts.timed_out += 1,
                    FailureKind::NotNeeded => counts.not_needed += 1,
                    _ => counts.failed += 1,
                },
            }
        }
        counts
    }
}
