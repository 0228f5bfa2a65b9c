//! How the outputs of attention and feed-forward networks are added to the residual stream.
//!
//! Most are added where they are computed. If a row's whole output is needed first, the row is added to the stream when
//! it is next normalised, so that this needs no extra phase.

use super::Pass;
use super::linear::{PanelScratch, Piece};
use jury_kernels::cpu::packed::Input;
use jury_kernels::cpu::rows::rms_norm;
use jury_kernels::cpu::thread_pool::Claim;

/// What remains to be done for a row of a branch before its next norm.
#[derive(Clone, Copy)]
pub(super) enum Joining<'a> {
    /// Nothing: its outputs are in the stream.
    Done,
    /// Normalise its outputs with these weights and add them.
    Normed(&'a [f32]),
    /// Weight the outputs of the row's experts and add them.
    Routed,
}

impl Pass<'_> {
    /// Handles one panel of a branch's last product: adds it to the stream, or stores it until the row is complete.
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

    /// Completes what the last branch left of a row, then normalises it and quantises it into the same row of the
    /// inputs.
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
                    // The inputs' row serves as scratch memory: it is overwritten next.
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
