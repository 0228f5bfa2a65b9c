//! The forward pass as a sequence of launches.
//!
//! ```text
//! slots of pages; embedding; norm
//! layers of attention.rs [q k v -> bias, head norms, rotation, store -> attention -> merge -> output + stream, norm]
//!           feed.rs      [gate and up -> activation -> down + stream, norm], or experts
//! wanted rows: norm -> head -> logits -> drawn tokens
//! ```

mod attention;
mod feed;

use super::CardModel;
use super::buffers::Outputs;
use super::layout::{Extent, StepViews};
use super::sizes::padded_outputs;
use jury_kernels::cuda::{Buffer, CudaError, Output};

/// The norm that follows an addition to the stream.
type Next<'a> = Option<&'a Buffer<f32>>;

// === impl CardModel ===

impl CardModel {
    /// Launches the forward pass that a lane's block describes.
    pub(super) fn pass(&self, lane: usize, extent: Extent) -> Result<(), CudaError> {
        let Some(views) = self.lanes[lane].block.step(&extent) else { return Ok(()) };
        let (kernels, buffers, shape) = (&self.kernels, &self.buffers, &self.shape);
        let rows = extent.rows;
        let slots = buffers.slots.view();
        kernels.expand_slots(views.segments, views.segment_count, slots)?;
        let (stream, scale) = (buffers.stream.view(), shape.embedding_scale);
        // The tokens drawn by the other lane's step are available when this one begins.
        let drawn = buffers.outputs[1 - lane].tokens.view();
        let tokens = [views.tokens, drawn];
        kernels.embed(tokens, self.weights.embeddings(), stream, shape.width, scale)?;
        if let Some(layer) = self.weights.layers.first() {
            let (norm, epsilon) = (layer.attention_norm.view(), shape.norm_epsilon);
            kernels.norm(rows, stream, norm, buffers.normed.view(), epsilon)?;
        }
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let next = self.weights.layers.get(index + 1).map(|next| &next.attention_norm);
            self.attend(index, layer, extent, &views)?;
            self.feed(layer, extent, next)?;
        }
        self.head(&views, &buffers.outputs[lane])
    }

    /// Normalises the stream for the next part; first, a separately normalised branch is added to it.
    fn join(&self, rows: usize, branch_norm: Next<'_>, next: Next<'_>) -> Result<(), CudaError> {
        let (buffers, epsilon) = (&self.buffers, self.shape.norm_epsilon);
        let (stream, normed) = (buffers.stream.view(), buffers.normed.view());
        match (branch_norm, next) {
            (Some(norm), next) => {
                let next = next.map(|next| (next.view(), normed));
                let branch = buffers.branch.view();
                self.kernels.join_norm(rows, stream, branch, norm.view(), next, epsilon)
            }
            (None, Some(next)) => self.kernels.norm(rows, stream, next.view(), normed, epsilon),
            (None, None) => Ok(()),
        }
    }

    /// Computes the logits of the wanted rows, and draws tokens from them.
    fn head(&self, views: &StepViews<'_>, outputs: &Outputs) -> Result<(), CudaError> {
        let wanted = views.wanted.len();
        if wanted == 0 {
            return Ok(());
        }
        let (buffers, shape) = (&self.buffers, &self.shape);
        let (stream, norm) = (buffers.stream.view(), self.weights.output_norm.view());
        let (normed, states) = (buffers.wanted_normed.view(), outputs.hidden_states.view());
        let epsilon = shape.norm_epsilon;
        self.kernels.gather_norm(stream, views.wanted, norm, normed, states, epsilon)?;
        let logits = outputs.logits.slice(0..wanted * padded_outputs(shape));
        let (head, to) = (self.weights.head(), Output::Floats(logits));
        self.multiply(&self.algorithms.head, head, normed, [wanted, wanted], to)?;
        if let Some(cap) = shape.logit_softcap {
            self.kernels.soft_cap(logits, cap)?;
        }
        let sizes = [padded_outputs(shape), shape.outputs];
        self.kernels.draw(logits, sizes, views.draws, outputs.tokens.slice(0..wanted))
    }
}
