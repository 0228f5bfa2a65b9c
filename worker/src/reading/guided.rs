//! The guided read-out: what is asked for, and the scores that the answers give.

use jury_grm::domain::{Failure, FailureKind, Outcome, Readout, Scale, Scores, Settings};
use jury_grm::guide;
use jury_grm::parse::Begins;

/// What the backend writes after the critique, and what it reads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// Scores to read, one per response shown.
    pub slots: usize,
    /// The legal strings of each score, lowest first.
    pub choices: Vec<String>,
    /// How a score is chosen.
    pub mode: GuideMode,
    begins: Begins,
}

/// How a score is chosen from its distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuideMode {
    /// Sampled from it.
    Sampled,
    /// Its mean.
    Expected,
}

/// What a backend read.
#[derive(Debug, Clone, PartialEq)]
pub struct GuidedScores {
    /// For each slot, the index of its choice.
    pub choices: Vec<usize>,
    /// For each slot, the probability of every choice at temperature 1 and before top-p, lowest score first; each list
    /// adds up to 1.
    pub distributions: Vec<Vec<f64>>,
    /// The probability that the model itself gave to the legal scores, 0..=1; the lowest over all slots.
    pub mass: f64,
    /// The critique was cut at its token limit.
    pub forced: bool,
}

// === impl Guide ===

impl Guide {
    /// Between two scores.
    pub const SEPARATOR: &str = guide::SEPARATOR;
    /// After the last score.
    pub const CLOSING: &str = guide::CLOSING;

    /// The guide for these settings, for `n_shown` responses and for texts that begin as `begins` says; `None` if the
    /// model writes its scores itself.
    pub fn of(settings: &Settings, n_shown: usize, begins: Begins) -> Option<Self> {
        let mode = match settings.readout {
            Readout::Free => return None,
            Readout::Sampled => GuideMode::Sampled,
            Readout::Expected => GuideMode::Expected,
        };
        Some(Self { slots: n_shown, choices: settings.scale.choices(), mode, begins })
    }

    /// What to append to the free text before the first score.
    pub fn opening(&self, text: &str) -> String {
        guide::opening(text, self.begins)
    }
}

// === impl GuidedScores ===

impl GuidedScores {
    /// Scores from the backend's own state, never from text.
    pub(super) fn outcome(self, settings: &Settings) -> Outcome {
        let (mass, min_mass) = (self.mass, settings.min_readout_mass);
        // Written so that a mass that is not a number fails as well.
        let has_enough_mass = mass >= min_mass;
        if !has_enough_mass {
            let detail = format!(
                "the model gave the legal scores a probability of {mass:.6}, less than min_readout_mass = {min_mass}"
            );
            let failure = Failure { kind: FailureKind::LowReadoutMass, detail };
            return Outcome::Failed { failure };
        }
        let scale = settings.scale;
        let scores = match settings.readout {
            Readout::Expected => {
                self.distributions.iter().map(|distribution| mean(distribution, scale)).collect()
            }
            Readout::Free | Readout::Sampled => {
                self.choices.iter().map(|&choice| score_of(choice, scale)).collect()
            }
        };
        Outcome::Scored(Scores {
            scores,
            score_distribution: Some(self.distributions),
            readout_mass: Some(mass),
            forced: self.forced,
        })
    }
}

/// The score of choice number `choice`.
fn score_of(choice: usize, scale: Scale) -> f64 {
    f64::from(scale.min) + choice as f64
}

/// Mean of a distribution over the legal scores, summed from the lowest; clamped to the scale against rounding.
fn mean(distribution: &[f64], scale: Scale) -> f64 {
    let weighted =
        distribution.iter().enumerate().map(|(choice, share)| score_of(choice, scale) * share);
    weighted.sum::<f64>().clamp(f64::from(scale.min), f64::from(scale.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_stays_on_the_scale_against_rounding() {
        assert_eq!(mean(&[0.0, 1.0 + 1e-12], Scale::BINARY), 1.0);
    }

    #[test]
    fn only_guided_settings_have_a_guide() {
        let guide =
            |readout| Guide::of(&Settings { readout, ..Settings::default() }, 3, Begins::Plainly);
        assert_eq!(guide(Readout::Free), None);
        let expected = guide(Readout::Expected).unwrap();
        assert_eq!((expected.slots, expected.mode), (3, GuideMode::Expected));
        assert_eq!(expected.choices.first().map(String::as_str), Some("1"));
    }
}
