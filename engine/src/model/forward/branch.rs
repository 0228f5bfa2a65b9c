//! How the outputs of attention and feed-forward networks join the residual stream.
//!
//! Most are added where they are computed. Where a row's whole output is needed first, the row is added to the stream by
//! whoever norms it next, so that it costs no phase of its own.

use super::Pass;
use super::linear::{PanelScratch, Piece};
use jury_kernels::cpu::packed::Input;
use jury_kernels::cpu::rows::rms_norm;
use jury_kernels::cpu::thread_pool::Claim;

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

impl Pass<'_> {
    /// One panel of a branch's last product: added to the stream, or kept until the row is whole.
    pub(super) fn join(
        &self,
        claim: &Claim<'_>,
        piece: Piece<'_>,
        input: &Input<'_>,
        scratch: &mut PanelScratch,
        joining: Joining<'_>,
    ) {
        match joining {
            Joining::Normed(_) => self.store(claim, piece, input, scratch, &self.branch),
            Joining::Done | Joining::Routed => self.add(claim, piece, input, scratch),
        }
    }

    /// Completes what the last branch left of a row, then norms and quantises it as the same row of the inputs.
    pub(super) fn normalise(
        &self,
        claim: &Claim<'_>,
        row: usize,
        joining: Joining<'_>,
        weight: &[f32],
    ) {
        let epsilon = self.shape.norm_epsilon;
        let stream = self.stream.row(claim, row);
        self.normed.write_row(claim, self.level, row, |normed| {
            match joining {
                Joining::Done => {}
                Joining::Normed(weight) => {
                    let branch = self.branch.read(claim, row..row + 1);
                    // The inputs' row serves as scratch: it is overwritten next.
                    rms_norm(self.level, branch, weight, epsilon, normed);
                    for (to, &value) in stream.iter_mut().zip(&*normed) {
                        *to += value;
                    }
                }
                Joining::Routed => self.add_routed(claim, row, stream),
            }
            rms_norm(self.level, stream, weight, epsilon, normed);
        });
    }
}
