//! A trained head on a model's hidden state: one number per sample, the logit that the sample is right.
//!
//! ```text
//! state (width) -> (x - mean) / deviation -> network -> raw logit -> slope x raw + intercept -> score
//!                                            linear, or one inner layer with ReLU
//! ```
//!
//! A score is computed in f64, and every sum runs from the first input to the last, so equal states give equal bits on
//! every machine. Reads and writes `head.safetensors` (`file.rs`); independent of any device. A scalar reward model has
//! its own head (`scalar.rs`).

mod error;
mod file;
mod scalar;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use error::HeadError;
pub use scalar::ScalarHead;

/// Largest width of a state that a head may read.
pub const MAX_WIDTH: usize = 1 << 16;
/// Largest inner layer.
pub const MAX_INNER: usize = 4096;
/// Longest name.
const MAX_NAME_BYTES: usize = 64;

/// Describes a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadCard {
    /// The name that requests use: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub name: String,
    /// SHA-256 (hex) of the model whose states it was trained on. It accepts states of that model only.
    pub model_digest: String,
    /// Digest (hex) of the samples that it was trained on, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_digest: Option<String>,
    /// Where in a conversation its training states were taken. It accepts states from there only.
    #[serde(default, skip_serializing_if = "StatePlace::is_default")]
    pub place: StatePlace,
}

/// Where in a conversation a head's state is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatePlace {
    /// At the closing brace of a sample's score line, while the judging model draws it.
    #[default]
    ScoreLine,
    /// At the last token of prompt and sample, as read by a separate Meta RM.
    EndOfTurn,
}

/// Maps a standardised state to a raw logit.
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// A weighted sum.
    Linear {
        /// One per number of the state.
        weights: Vec<f32>,
        /// Added to the sum.
        bias: f32,
    },
    /// One inner layer with ReLU, then a weighted sum.
    Mlp {
        /// Inner x width, row-major.
        inner_weights: Vec<f32>,
        /// One per inner unit.
        inner_bias: Vec<f32>,
        /// One per inner unit.
        weights: Vec<f32>,
        /// Added to the sum.
        bias: f32,
    },
}

/// Brings states to mean 0 and deviation 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardisation {
    /// One per number of the state.
    pub mean: Vec<f32>,
    /// One per number of the state; above 0.
    pub deviation: Vec<f32>,
}

/// Maps a raw logit to one whose sigmoid is a probability (Platt scaling).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Above 0, so that calibration never changes a ranking.
    pub slope: f32,
    /// Added last.
    pub intercept: f32,
}

/// A validated head.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    card: HeadCard,
    standardisation: Standardisation,
    network: Network,
    calibration: Calibration,
}

// === impl StatePlace ===

impl StatePlace {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScoreLine => "the closing brace of the judge's own score line",
            Self::EndOfTurn => "the end of prompt and sample, read by a model of its own",
        })
    }
}

// === impl Calibration ===

impl Calibration {
    /// Leaves logits as they are.
    pub const NONE: Calibration = Calibration { slope: 1.0, intercept: 0.0 };
}

// === impl Network ===

impl Network {
    fn raw_logit(&self, inputs: &[f64]) -> f64 {
        match self {
            Network::Linear { weights, bias } => weighted_sum(*bias, weights, inputs),
            Network::Mlp { inner_weights, inner_bias, weights, bias } => {
                let rows = inner_weights.chunks_exact(inputs.len());
                let inner = rows.zip(inner_bias);
                let inner: Vec<f64> =
                    inner.map(|(row, &bias)| weighted_sum(bias, row, inputs).max(0.0)).collect();
                weighted_sum(*bias, weights, &inner)
            }
        }
    }

    /// Width of the states it reads, or an error if its parts disagree.
    fn width(&self) -> Result<usize, HeadError> {
        match self {
            Network::Linear { weights, .. } => Ok(weights.len()),
            Network::Mlp { inner_weights, inner_bias, weights, .. } => {
                let inner = inner_bias.len();
                if inner == 0 || inner > MAX_INNER || weights.len() != inner {
                    return Err(HeadError::Unsound(format!(
                        "its inner layer has {inner} biases and {} outputs; both must be the same number, 1 to {MAX_INNER}",
                        weights.len()
                    )));
                }
                if !inner_weights.len().is_multiple_of(inner) {
                    let why = format!("{} weights for {inner} inner numbers", inner_weights.len());
                    return Err(HeadError::Unsound(why));
                }
                Ok(inner_weights.len() / inner)
            }
        }
    }

    fn numbers(&self) -> Vec<&[f32]> {
        match self {
            Network::Linear { weights, bias } => vec![weights, std::slice::from_ref(bias)],
            Network::Mlp { inner_weights, inner_bias, weights, bias } => {
                vec![inner_weights, inner_bias, weights, std::slice::from_ref(bias)]
            }
        }
    }
}

// === impl Head ===

/// Checks that requests can use this name for a head.
///
/// # Errors
/// What the name must look like.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_word) {
        return Err(format!("must have 1 to {MAX_NAME_BYTES} letters, digits, '.', '_' or '-'"));
    }
    Ok(())
}

impl Head {
    /// Makes a head from its parts.
    ///
    /// # Errors
    /// [`HeadError::Unsound`] if the parts do not fit together, a number is not finite, a deviation or the slope is not
    /// above 0, or the name is invalid.
    pub fn new(
        card: HeadCard,
        standardisation: Standardisation,
        network: Network,
        calibration: Calibration,
    ) -> Result<Head, HeadError> {
        let head = Head { card, standardisation, network, calibration };
        head.check()?;
        Ok(head)
    }

    /// The head's description.
    pub fn card(&self) -> &HeadCard {
        &self.card
    }

    /// Width of the states that it reads.
    pub fn width(&self) -> usize {
        self.standardisation.mean.len()
    }

    /// The logit that this state's sample is right; its sigmoid is a probability as far as the calibration holds.
    ///
    /// # Errors
    /// The state has another width, or contains a number that is not finite.
    pub fn score(&self, state: &[f32]) -> Result<f64, HeadError> {
        if state.len() != self.width() {
            return Err(HeadError::WrongWidth { reads: self.width(), found: state.len() });
        }
        let Standardisation { mean, deviation } = &self.standardisation;
        let each = state.iter().zip(mean.iter().zip(deviation));
        let inputs: Vec<f64> = each
            .map(|(&x, (&mean, &deviation))| {
                (f64::from(x) - f64::from(mean)) / f64::from(deviation)
            })
            .collect();
        let raw = self.network.raw_logit(&inputs);
        let score = f64::from(self.calibration.slope) * raw + f64::from(self.calibration.intercept);
        if score.is_finite() { Ok(score) } else { Err(HeadError::NotANumber) }
    }

    /// Checks that this head can read a model's states from a place.
    ///
    /// # Errors
    /// The head is bound to another model or place, or reads states of a width other than `width` (if that is known).
    pub fn reads(
        &self,
        model_digest: &str,
        place: StatePlace,
        width: Option<usize>,
    ) -> Result<(), HeadError> {
        let bound_to = &self.card.model_digest;
        if bound_to != model_digest {
            let (bound_to, served) = (bound_to.clone(), model_digest.to_owned());
            return Err(HeadError::WrongModel { bound_to, served });
        }
        let trained_at = self.card.place;
        if trained_at != place {
            return Err(HeadError::WrongPlace { trained_at, served: place });
        }
        match width {
            Some(found) if found != self.width() => {
                Err(HeadError::WrongWidth { reads: self.width(), found })
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), HeadError> {
        let unsound = |why: String| Err(HeadError::Unsound(why));
        let HeadCard { name, model_digest, .. } = &self.card;
        if let Err(why) = check_name(name) {
            return unsound(format!("its name is {name:?}; it {why}"));
        }
        if model_digest.is_empty() {
            return unsound("it names no model that it is bound to".to_owned());
        }
        let Standardisation { mean, deviation } = &self.standardisation;
        let width = self.network.width()?;
        if width == 0 || width > MAX_WIDTH || mean.len() != width || deviation.len() != width {
            return unsound(format!(
                "its network reads {width} numbers, its means are {}, its deviations {}; all must be the same number, 1 to {MAX_WIDTH}",
                mean.len(),
                deviation.len()
            ));
        }
        let Calibration { slope, intercept } = self.calibration;
        let mut numbers = self.network.numbers();
        let calibration = [slope, intercept];
        numbers.extend([mean.as_slice(), deviation.as_slice(), &calibration]);
        if !numbers.into_iter().flatten().all(|number| number.is_finite()) {
            return unsound("it holds a number that is not finite".to_owned());
        }
        if !deviation.iter().all(|&deviation| deviation > 0.0) || slope <= 0.0 {
            return unsound("its deviations and its slope must be above 0".to_owned());
        }
        Ok(())
    }
}

/// Adds from the first input to the last.
fn weighted_sum(bias: f32, weights: &[f32], inputs: &[f64]) -> f64 {
    let products = weights.iter().zip(inputs).map(|(&weight, input)| f64::from(weight) * input);
    products.fold(f64::from(bias), |sum, product| sum + product)
}
