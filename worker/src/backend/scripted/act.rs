//! The vocabulary of a script.

use std::time::Duration;

use jury_grm::domain::{
    Failure, FailureKind, Finish, Outcome, Readout, Sample, SampleSpec, Scale, Scores, Settings,
};
use jury_proto::JuryError;
use jury_proto::convert::{TooLarge, TooLong};

use super::STATE_WIDTH;
use crate::reading::{DrawnText, Reader};

/// What happens to a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupAct {
    /// Its samples are drawn.
    Draw,
    /// Rejected: the prompt does not fit.
    TooLong(TooLong),
    /// Rejected: the prompt does not fit this worker's memory.
    TooLarge(TooLarge),
    /// Rejected: no room now.
    Busy(Duration),
}

/// What happens to trajectories that are to be ranked.
#[derive(Debug, Clone, PartialEq)]
pub enum RankAct {
    /// Each gets its [`scripted_score`].
    Rank,
    /// The same, with special tokens in their texts reported as neutralised.
    RankNeutralised,
    /// None gets a score.
    Fail(Failure),
    /// The call is rejected.
    Refuse(JuryError),
    /// They are never answered.
    Hang,
}

/// What happens to a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// How it ends.
    pub ending: Ending,
    /// When it ends.
    pub gate: Gate,
    /// Progress events before the gate: token counts.
    pub progress: Vec<u32>,
}

/// How a sample ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Scores by a function of seed, order and scale.
    BySeed,
    /// These scores, parallel to the order shown.
    Scores(Vec<f64>),
    /// This text, parsed as free output.
    Text(String),
    /// A finished sample without scores.
    Unparsed(FailureKind),
    /// A sample that could not be drawn.
    Failed(FailureKind),
}

/// When a sample ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// At once.
    Open,
    /// When the test releases its index.
    Held,
    /// This long after its group was accepted.
    After(Duration),
    /// Never: it can only be cancelled.
    Hangs,
}

/// A Meta RM's score of a trajectory: a function of its text, between 0 and 10.
pub fn scripted_score(text: &str) -> f64 {
    let sum: u32 = text.bytes().map(u32::from).sum();
    f64::from(sum % 1000) / 100.0
}

// === impl Act ===

impl Act {
    /// Ends at once.
    pub fn now(ending: Ending) -> Self {
        Self { ending, gate: Gate::Open, progress: Vec::new() }
    }

    /// Ends when the test releases it.
    pub fn held(ending: Ending) -> Self {
        Self { gate: Gate::Held, ..Self::now(ending) }
    }

    /// Ends this long after its group was accepted.
    pub fn after(time: Duration, ending: Ending) -> Self {
        Self { gate: Gate::After(time), ..Self::now(ending) }
    }

    /// Never ends.
    pub fn hangs() -> Self {
        Self { gate: Gate::Hangs, ..Self::now(Ending::BySeed) }
    }
}

// === impl Ending ===

impl Ending {
    /// The sample for this ending.
    ///
    /// # Errors
    /// The kind of failure, if the ending produces no sample at all.
    pub fn sample(&self, spec: &SampleSpec, settings: &Settings) -> Result<Sample, FailureKind> {
        match self {
            Self::BySeed => Ok(scored(spec, settings, by_seed(spec, settings.scale))),
            Self::Scores(scores) => Ok(scored(spec, settings, scores.clone())),
            Self::Text(text) => Ok(parsed(spec, settings, text)),
            Self::Unparsed(kind) => Ok(Sample {
                prompt_tokens: PROMPT_TOKENS,
                finish: Finish::EndOfText,
                ..Sample::failed(spec.clone(), *kind, "as the script says")
            }),
            Self::Failed(kind) => Err(*kind),
        }
    }
}

/// Every scripted prompt has this many tokens.
pub(super) const PROMPT_TOKENS: u32 = 100;

/// A score for each response shown, which depends only on the sample's seed and the response.
fn by_seed(spec: &SampleSpec, scale: Scale) -> Vec<f64> {
    let n_choices = u64::from(scale.max.abs_diff(scale.min)) + 1;
    spec.order
        .iter()
        .map(|&response| {
            let drawn = mix(spec.seed ^ mix(response as u64)) % n_choices;
            f64::from(scale.min) + drawn as f64
        })
        .collect()
}

/// The hidden state of a scripted sample, from its seed alone: numbers in -1..1.
pub fn scripted_state(seed: u64) -> Vec<f32> {
    let number = |place: u64| (mix(seed ^ mix(place)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..STATE_WIDTH as u64).map(number).collect()
}

/// The finaliser of SplitMix64: a cheap function that maps neighbouring seeds far apart.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn scored(spec: &SampleSpec, settings: &Settings, scores: Vec<f64>) -> Sample {
    let guided = settings.readout != Readout::Free;
    Sample {
        principles: format!("1. A principle of seed {}", spec.seed),
        critique: format!("A critique of order {:?}", spec.order),
        outcome: Outcome::Scored(Scores {
            scores,
            score_distribution: None,
            readout_mass: guided.then_some(1.0),
            forced: false,
        }),
        finish: Finish::Box,
        prompt_tokens: PROMPT_TOKENS,
        generated_tokens: 20 + (mix(spec.seed) % 20) as u32,
        ..Sample::failed(spec.clone(), FailureKind::NoBox, "")
    }
}

fn parsed(spec: &SampleSpec, settings: &Settings, text: &str) -> Sample {
    let drawn = DrawnText {
        text: text.to_owned(),
        finish: Finish::EndOfText,
        prompt_tokens: PROMPT_TOKENS,
        generated_tokens: text.split_whitespace().count() as u32,
    };
    let free = Settings { readout: Readout::Free, ..settings.clone() };
    Reader::new(&[], spec.order.len(), &free).sample(spec.clone(), drawn, None)
}
