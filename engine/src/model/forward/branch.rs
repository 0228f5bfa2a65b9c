//! How the outputs of attention and feed-forward networks join the residual stream.
//!
//! Most are added where they are computed. Where a row's whole output is needed first, the row is added to the stream by
//! whoever norms it next, so that it costs no phase of its own.

use super::linear::{PanelScratch, Piece, within};
use super::{Pass, span};
use jury_kernels::cpu::packed::Input;
use jury_kernels::cpu::rows::rms_norm;

/// What a branch leaves to be done to a row before its next norm.
#[derive(Clone, Copy)]
pub(super) enum Joining<'a> {
    /// Its outputs are in the stream.
    Done,
    /// The norm of its outputs, with these weights, is to be added.
    Normed(&'a [f32]),
    /// Outputs of the row's experts are to be weighted and added.
    Routed,
}

// Safety of all methods: see `ends.rs`.
impl Pass<'_> {
    /// One panel of a branch's last product: added to the stream, or kept until the row is whole.
    pub(super) unsafe fn join(
        &self,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
        joining: Joining<'_>,
    ) {
        // SAFETY: the caller's piece is this panel's columns.
        match joining {
            Joining::Normed(_) => unsafe { self.store(piece, input, scratch, &self.branch) },
            Joining::Done | Joining::Routed => unsafe { self.add(piece, input, scratch) },
        }
    }

    /// Completes what the last branch left of a row, then norms and quantises it as row `to` of the inputs.
    ///
    /// # Safety
    /// The caller's piece is both rows.
    pub(super) unsafe fn normalise(
        &self,
        row: usize,
        to: usize,
        joining: Joining<'_>,
        weight: &[f32],
    ) {
        let (width, epsilon) = (self.shape.width, self.shape.norm_epsilon);
        // SAFETY: the caller's promise.
        unsafe {
            match joining {
                Joining::Done => {}
                Joining::Normed(weight) => self.add_normed(row, to, weight),
                Joining::Routed => self.add_routed(row),
            }
            let stream = self.stream.read(span(row, width));
            self.normed.write_row(self.level, to, |normed| {
                rms_norm(self.level, stream, weight, epsilon, normed);
            });
        }
    }

    /// The inputs' row `to` serves as scratch: it is overwritten next.
    unsafe fn add_normed(&self, row: usize, to: usize, weight: &[f32]) {
        let (width, epsilon) = (self.shape.width, self.shape.norm_epsilon);
        // SAFETY: the caller's piece is both rows.
        unsafe {
            let branch = self.branch.read(span(row, width));
            let normed = self.normed.floats.part(within(to, width, &(0..width)));
            rms_norm(self.level, branch, weight, epsilon, normed);
            let stream = self.stream.part(span(row, width));
            for (to, &value) in stream.iter_mut().zip(&*normed) {
                *to += value;
            }
        }
    }
}
