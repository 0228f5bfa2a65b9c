//! From a subset of samples to rewards: the ways to judge that a curve compares.

use std::str::FromStr;

use jury_grm::domain::{Outcome, Sample, Scores};
use jury_grm::vote::{Calibration, Rule, rewards_of};
use serde::{Deserialize, Serialize};

/// A method of judging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One sample at temperature 0, drawn separately from the others.
    Greedy,
    /// The mean of the drawn scores.
    Vote,
    /// The mean of the scores' expectations.
    Expected,
    /// The mean of the drawn scores over the half with the highest meta scores.
    Meta,
    /// The mean of the scores' expectations over that half.
    MetaExpected,
    /// The mean of the drawn scores, weighted by meta scores taken as log odds. Those of a head are calibrated.
    Weighted,
    /// The share of samples that score it highest.
    Majority,
}

// === impl Method ===

impl Method {
    /// All methods.
    pub const ALL: [Self; 7] = [
        Self::Greedy,
        Self::Vote,
        Self::Expected,
        Self::Meta,
        Self::MetaExpected,
        Self::Weighted,
        Self::Majority,
    ];

    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Vote => "vote",
            Self::Expected => "expected",
            Self::Meta => "meta",
            Self::MetaExpected => "meta_expected",
            Self::Weighted => "weighted",
            Self::Majority => "majority",
        }
    }

    /// True when it needs meta scores.
    pub fn needs_meta(self) -> bool {
        matches!(self, Self::Meta | Self::MetaExpected | Self::Weighted)
    }

    /// True when it needs the distributions of a guided read-out.
    pub fn needs_distributions(self) -> bool {
        matches!(self, Self::Expected | Self::MetaExpected)
    }

    /// The samples as this method reads them, without the data that it ignores. `lowest` is the lowest legal score.
    pub fn prepare(self, samples: &[Sample], lowest: f64) -> Vec<Sample> {
        samples.iter().map(|sample| self.read(sample, lowest)).collect()
    }

    /// Rewards of prepared samples, when `k` were requested.
    pub fn rewards(self, duplicate_of: &[usize], samples: &[Sample], k: usize) -> Vec<Option<f64>> {
        rewards_of(duplicate_of, samples, self.rule(k))
    }

    /// How it votes when `k` samples are requested: with a Meta RM, the best half.
    pub fn rule(self, k: usize) -> Rule {
        match self {
            Self::Greedy | Self::Vote | Self::Expected => Rule::Mean,
            Self::Meta | Self::MetaExpected => {
                Rule::Top { k_meta: u32::try_from((k / 2).max(1)).unwrap_or(u32::MAX) }
            }
            Self::Weighted => Rule::Weighted(Calibration::default()),
            Self::Majority => Rule::Majority,
        }
    }

    fn read(self, sample: &Sample, lowest: f64) -> Sample {
        let outcome = match &sample.outcome {
            Outcome::Scored(scores) => Outcome::Scored(Scores {
                scores: match &scores.score_distribution {
                    Some(distributions) if self.needs_distributions() => {
                        distributions.iter().map(|one| mean(one, lowest)).collect()
                    }
                    _ => scores.scores.clone(),
                },
                score_distribution: None,
                readout_mass: None,
                forced: scores.forced,
            }),
            failed @ Outcome::Failed { .. } => failed.clone(),
        };
        Sample {
            spec: sample.spec.clone(),
            principles: String::new(),
            critique: String::new(),
            outcome,
            finish: sample.finish,
            issues: Vec::new(),
            prompt_tokens: 0,
            generated_tokens: 0,
            meta_score: sample.meta_score,
            hidden_state: None,
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.map(Self::name).to_vec();
            format!("no method {name:?}; there are {}", names.join(", "))
        })
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The mean of a distribution over the scores from `lowest` upwards.
fn mean(distribution: &[f64], lowest: f64) -> f64 {
    distribution.iter().zip(0u32..).map(|(share, step)| share * (lowest + f64::from(step))).sum()
}
