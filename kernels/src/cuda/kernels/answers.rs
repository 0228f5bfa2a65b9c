//! Launches that answer questions about logits.

use super::{Draw, Kernels, LaunchShape, Question, arguments, check};
use crate::cuda::{CudaError, View};

// === impl Kernels ===

impl Kernels {
    /// Draws a token for each entry of `draws` (the row of logits is in the entry): `tokens` (one per entry) get token
    /// ids, or `u32::MAX` if the greatest logit is not finite. Entries that draw nothing leave theirs unchanged.
    /// `logits` are rows x `stride`, of which the first `outputs` count.
    ///
    /// # Errors
    /// The card is lost.
    ///
    /// # Panics
    /// `tokens` is shorter than `draws`.
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

    /// Total probability of sets of tokens, at temperature 1: for each question one number in `out` per set, starting
    /// at [`Question::out`]. `logits` are rows x `stride`, of which the first `outputs` count; `sets` are pairs of
    /// (first member, members), which refer to the tokens in `members`. NaN if the logits contain NaN or their greatest
    /// is not finite.
    ///
    /// # Errors
    /// The card is lost.
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
