//! One sample: its identity, fixed in the plan, and its outcome.

use serde::{Deserialize, Serialize};

/// A sample's identity. Fixed in the plan and repeated in the result, so that drawing it again on any worker of the
/// same numerics class gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SampleSpec {
    /// Position in the plan, 0-based. Votes read samples in this order.
    pub index: u32,
    /// Seed of this sample's random numbers, below 2^53.
    pub seed: u64,
    /// The caller's response indices in the order shown, possibly a subset (a panel).
    pub order: Vec<usize>,
}

/// One drawn sample. Byte-stable if the backend is BITWISE: nothing here depends on time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which sample this is.
    #[serde(flatten)]
    pub spec: SampleSpec,
    /// The criteria that the model wrote for this item.
    pub principles: String,
    /// The analysis of the responses.
    pub critique: String,
    /// Scores, or why there are none.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What ended the text.
    pub finish: Finish,
    /// Anomalies worth knowing about; none of them is fatal.
    pub issues: Vec<Issue>,
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// Tokens that the model generated, including the choices of the read-out.
    pub generated_tokens: u32,
    /// The Meta RM's score, a logit: higher is better. `None`: not ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_score: Option<f64>,
    /// The judging model's last hidden state at the closing brace of the score line, after the final norm; its length
    /// is the model's width. `None`: not requested, or no scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_state: Option<Vec<f32>>,
}

/// The outcome of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Every response shown has a score within the scale.
    Scored(Scores),
    /// No scores, and none are made up: there is a reason instead.
    Failed {
        /// Why there are no scores.
        failure: Failure,
    },
}

/// Scores of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// One score per response shown, parallel to `order`. Whole numbers unless read as a mean.
    pub scores: Vec<f64>,
    /// Guided only: for each score, the probability of every legal value, lowest first, at temperature 1 and before
    /// top-p. Parallel to `order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_distribution: Option<Vec<Vec<f64>>>,
    /// Guided only: the probability that the model gave to the legal scores, 0..=1; the lowest over all scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout_mass: Option<f64>,
    /// True when the critique hit its token limit and the read-out was forced.
    pub forced: bool,
}

/// Why a sample has no scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The kind of failure, for counting.
    pub kind: FailureKind,
    /// A sentence for people.
    pub detail: String,
}

/// Kinds of failure, distinguished so that an infrastructure fault never looks like a bad critique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The text has no score box of the right shape.
    NoBox,
    /// A box has a different count of numbers than responses shown.
    WrongCount,
    /// A box has a number outside the scale.
    OutOfRange,
    /// The model gave too little probability to the legal scores.
    LowReadoutMass,
    /// The budget ended before the sample did.
    TimedOut,
    /// A worker or the connection to it failed, and no other worker could take over.
    Worker,
    /// The prompt is longer than the model's context.
    TooLong,
    /// The prompt fits the model's context, but not the memory of any available worker.
    TooLarge,
    /// Cancelled because the verdict no longer needed it.
    NotNeeded,
    /// The server behind a worker rejected the prompt, and will do so however often it is asked.
    Rejected,
}

/// What ended a sample's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The score box was complete (free), or the critique had ended (guided).
    Box,
    /// The model ended its turn.
    EndOfText,
    /// The token limit was reached.
    Limit,
    /// The text never finished.
    None,
}

/// Anomalies of a sample that still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Issue {
    /// There was no box under a `Scores` heading; the last box of the right shape counts.
    BoxOutsideScores,
    /// The scores were in a bare `[..]` instead of `\boxed{..}`.
    BareBrackets,
    /// There were several boxes of the right shape; the last one counts.
    SeveralBoxes,
    /// No heading marks where principles end and critique begins.
    NoAnalysisHeading,
    /// A score was written like `8/10`.
    Fraction,
    /// Special tokens were neutralised in the caller's text, or in the sample's text when it was ranked, because the
    /// worker's upstream accepts prompts only as text.
    NeutralisedSpecials,
}

// === impl SampleSpec ===

impl SampleSpec {
    /// True when Response 1, 2, .. in the text are in the caller's order.
    pub fn is_in_callers_order(&self) -> bool {
        self.order.iter().copied().eq(0..self.order.len())
    }
}

// === impl Sample ===

impl Sample {
    /// A planned sample that never produced text.
    pub fn failed(spec: SampleSpec, kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            spec,
            principles: String::new(),
            critique: String::new(),
            outcome: Outcome::Failed { failure: Failure { kind, detail: detail.into() } },
            finish: Finish::None,
            issues: Vec::new(),
            prompt_tokens: 0,
            generated_tokens: 0,
            meta_score: None,
            hidden_state: None,
        }
    }

    /// The scores, if the sample has them.
    pub fn scores(&self) -> Option<&Scores> {
        match &self.outcome {
            Outcome::Scored(scores) => Some(scores),
            Outcome::Failed { .. } => None,
        }
    }

    /// The failure, if it has no scores.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Scored(_) => None,
            Outcome::Failed { failure } => Some(failure),
        }
    }
}

// === impl FailureKind ===

impl FailureKind {
    /// True when the model's own output is the cause.
    pub fn is_parse(self) -> bool {
        matches!(self, Self::NoBox | Self::WrongCount | Self::OutOfRange | Self::LowReadoutMass)
    }
}
