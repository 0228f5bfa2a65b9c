//! Launches that answer what is asked of logits.

use super::{Draw, Kernels, LaunchShape, Question, arguments, check};
use crate::cuda::{CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Draws a token for each entry of `draws`, from rows of `outputs` logits that lie `stride` apart.
    ///
    /// # Errors
    /// A lost card.
    pub fn draw(
        &self,
        logits: View<'_, f32>,
        [stride, outputs]: [usize; 2],
        draws: View<'_, Draw>,
        tokens: View<'_, u32>,
    ) -> Result<(), CudaError> {
        check("tokens", tokens.len(), draws.len());
        let (stride, outputs) = (stride as u32, outputs as u32);
        self.launch(
            &self.draw,
            LaunchShape::logits(draws.len() as u32),
            arguments![logits.pointer, stride, outputs, draws.pointer, tokens.pointer],
        )
    }

    /// What sets of tokens weigh: for each question the probabilities of its sets, at temperature 1.
    ///
    /// # Errors
    /// A lost card.
    pub fn masses(
        &self,
        logits: View<'_, f32>,
        [stride, outputs]: [usize; 2],
        questions: View<'_, Question>,
        [sets, members]: [View<'_, u32>; 2],
        out: View<'_, f64>,
    ) -> Result<(), CudaError> {
        let (stride, outputs) = (stride as u32, outputs as u32);
        let (sets, members) = (sets.pointer, members.pointer);
        self.launch(
            &self.masses,
            LaunchShape::logits(questions.len() as u32),
            arguments![
                logits.pointer,
                stride,
                outputs,
                questions.pointer,
                sets,
                members,
                out.pointer
            ],
        )
    }
}
