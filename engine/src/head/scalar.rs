//! The head of a scalar reward model: one weighted sum of the state at a conversation's last token.
//!
//! Published as `*ForSequenceClassification` with one label: a family's model with `score.weight` instead of `lm_head`.

use super::{HeadError, weighted_sum};
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::{Reader, Shape};

/// The weights of a scalar reward model's head.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarHead {
    weights: Vec<f32>,
}

// === impl ScalarHead ===

impl ScalarHead {
    /// `None` for a model that generates tokens.
    pub(crate) fn load(files: &ModelFiles, shape: &Shape) -> Result<Option<ScalarHead>, LoadError> {
        if !files.is_scalar() {
            return Ok(None);
        }
        let weights = Reader::new(files, shape).floats(files.head(), &[shape.width, 1])?;
        Ok(Some(ScalarHead { weights }))
    }

    /// The model's logit, summed in f64 from the first number of the state to the last, so that equal states give equal
    /// bits.
    ///
    /// # Errors
    /// The state has another width, or contains a number that is not finite.
    pub fn score(&self, state: &[f32]) -> Result<f64, HeadError> {
        if state.len() != self.weights.len() {
            return Err(HeadError::WrongWidth { reads: self.weights.len(), found: state.len() });
        }
        let state: Vec<f64> = state.iter().map(|&number| f64::from(number)).collect();
        let score = weighted_sum(0.0, &self.weights, &state);
        if score.is_finite() { Ok(score) } else { Err(HeadError::NotANumber) }
    }
}
