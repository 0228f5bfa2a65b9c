//! The forward pass, as launches.
//!
//! ```text
//! slots of pages; embedding; norm
//! layers of [q k v -> bias, head norms, rotation, store -> attention -> parts merged -> output + stream, norm
//!            -> gate and up -> activation -> down + stream, norm]
//! wanted rows: norm -> head -> logits
//! ```

use super::CardModel;
use super::buffers::Outputs;
use super::layout::{Extent, StepViews};
use super::memory::padded_outputs;
use super::weights::Layer;
use crate::model::kv::PAGE_TOKENS;
use crate::model::shape::Activation;
use jury_kernels::cpu::rows::RopePairs;
use jury_kernels::cuda::{Attention, Buffer, CudaError, Output, Rotation, View};

/// The norm that follows what joins the stream.
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
        // What the other lane's step draws is there when this one begins.
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

    /// A layer's attention, from the normed rows to those of its feed-forward network.
    fn attend(
        &self,
        index: usize,
        layer: &Layer,
        extent: Extent,
        views: &StepViews<'_>,
    ) -> Result<(), CudaError> {
        let (kernels, buffers, shape) = (&self.kernels, &self.buffers, &self.shape);
        let rows = [extent.sample_rows, extent.rows];
        let qkv = buffers.projected.view();
        let (algorithms, normed) = (&self.algorithms, buffers.normed.view());
        let to = Output::Rounded(qkv);
        self.multiply(algorithms.projections.as_ref(), &layer.projections, normed, rows, to)?;
        let elements = (self.pages + 1) * PAGE_TOKENS * self.heads.keys();
        let keys = self.keys.slice(index * elements..(index + 1) * elements);
        let values = self.values.slice(index * elements..(index + 1) * elements);
        let queries = buffers.queries.view();
        kernels.rotate_store(
            self.heads,
            &self.rotation(index, layer),
            views.positions,
            views.slots,
            [qkv, queries],
            [keys, values],
        )?;
        let attention = Attention {
            queries,
            keys,
            values,
            slots: buffers.slots.view(),
            positions: views.positions,
            scale: shape.attention_scale,
            softcap: shape.attention_softcap.unwrap_or(0.0),
            window: shape.window(index).unwrap_or(0) as u32,
        };
        let parts = [buffers.sums.view(), buffers.stats.view()];
        let attended = buffers.attended.view();
        kernels.attend(self.heads, views.tasks, views.task_count, &attention, attended, parts)?;
        kernels.merge_parts(self.heads, parts, views.parts, attended)?;
        let to = buffers.joined(shape);
        self.multiply(algorithms.output.as_ref(), &layer.output, attended, rows, to)?;
        let post_norm = layer.post_attention_norm.as_ref();
        self.join(extent.rows, post_norm, Some(&layer.feed_norm))
    }

    /// A layer's feed-forward network, to the normed rows of the next layer, if there is one.
    fn feed(&self, layer: &Layer, extent: Extent, next: Next<'_>) -> Result<(), CudaError> {
        let (buffers, shape) = (&self.buffers, &self.shape);
        let rows = [extent.sample_rows, extent.rows];
        let algorithms = &self.algorithms;
        let (gates, hidden) = (buffers.gate_up.view(), buffers.hidden.view());
        let to = Output::Rounded(gates);
        let normed = buffers.normed.view();
        self.multiply(algorithms.gate_up.as_ref(), &layer.gate_up, normed, rows, to)?;
        let is_gelu = shape.activation == Activation::GeluTanh;
        self.kernels.gate(extent.rows, shape.hidden, is_gelu, gates, hidden)?;
        let to = buffers.joined(shape);
        self.multiply(algorithms.down.as_ref(), &layer.down, hidden, rows, to)?;
        self.join(extent.rows, layer.post_feed_norm.as_ref(), next)
    }

    /// Norms the stream for what comes next; before that, the branch joins it where it is normed by itself.
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

    /// The logits of the wanted rows.
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
        self.multiply(self.algorithms.head.as_ref(), head, normed, [wanted, wanted], to)?;
        match shape.logit_softcap {
            None => Ok(()),
            Some(cap) => self.kernels.soft_cap(logits, cap),
        }
    }

    /// How a layer turns queries and keys.
    fn rotation<'a>(&'a self, index: usize, layer: &'a Layer) -> Rotation<'a> {
        let shape = &self.shape;
        let in_window = shape.window(index).is_some();
        let local = self.weights.local_turns.as_ref().filter(|_| in_window);
        let view = |floats: &'a Option<Buffer<f32>>| -> Option<View<'a, f32>> {
            floats.as_ref().map(Buffer::view)
        };
        Rotation {
            bias: view(&layer.bias),
            query_norm: view(&layer.query_norm),
            key_norm: view(&layer.key_norm),
            turns: local.unwrap_or(&self.weights.turns).view(),
            turned: shape.rope.size,
            neighbours: shape.rope.pairs == RopePairs::Neighbours,
            epsilon: shape.norm_epsilon,
        }
    }
}
