//! The outputs of a row of a forward pass, and the questions asked of it.
//!
//! On the CPU, logits and hidden states are in this process's memory. On a card they stay there: the card draws tokens
//! and answers questions, and anything else is copied on demand.

use std::sync::Arc;

use crate::cuda::CardModel;
use crate::readout::Question;
use crate::request::Sampling;
use jury_kernels::cpu::SimdLevel;

/// What a sequence will ask of a row, as far as it is known beforehand.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// A token, drawn for this position of the random numbers.
    Token(Sampling, u64),
    /// The probability masses of a read-out's sets.
    Masses(Arc<Question>),
    /// The hidden state.
    Hidden,
}

/// Where a row's outputs are.
pub(crate) enum Outputs<'a> {
    /// In this process's memory.
    Host {
        logits: &'a [f32],
        /// After the last norm.
        hidden: &'a [f32],
    },
    /// On a card: `row` counts the rows whose logits were wanted.
    Card { model: &'a mut CardModel, row: usize },
}

/// A row's outputs, with what is needed to read them.
pub(crate) struct Reader<'a> {
    pub(crate) level: SimdLevel,
    pub(crate) outputs: Outputs<'a>,
    pub(crate) scratch: &'a mut Vec<f32>,
}

// === impl Outputs ===

impl Outputs<'_> {
    /// One logit per token of the vocabulary, padded with minus infinity.
    pub(crate) fn logits(&mut self) -> &[f32] {
        match self {
            Outputs::Host { logits, .. } => logits,
            Outputs::Card { model, row } => model.logits(*row),
        }
    }

    /// After the last norm, for the row that gave the logits.
    pub(crate) fn hidden(&mut self) -> &[f32] {
        match self {
            Outputs::Host { hidden, .. } => hidden,
            Outputs::Card { model, row } => model.hidden(*row),
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// As [`Outputs::hidden`].
    pub(crate) fn hidden(&mut self) -> &[f32] {
        self.outputs.hidden()
    }

    /// As [`Question::masses`].
    pub(crate) fn masses(&mut self, question: &Arc<Question>) -> Option<Vec<f64>> {
        if let Outputs::Card { model, row } = &self.outputs
            && let Some(masses) = model.masses(*row, question)
        {
            // A card reports logits that are not finite with masses that are not.
            return masses.iter().all(|mass| mass.is_finite()).then(|| masses.to_vec());
        }
        question.masses(self.level, self.outputs.logits(), self.scratch)
    }
}
