//! A layer's attention.

use crate::cuda::CardModel;
use crate::cuda::layout::{Extent, StepViews};
use crate::cuda::sizes::projected as projected_columns;
use crate::cuda::weights::{HeadWeights, LatentWeights, Layer, OwnHeads, Stack};
use crate::model::shape::Latent;
use jury_kernels::cpu::rows::RopePairs;
use jury_kernels::cuda::{
    Attention, Bf16, Buffer, CudaError, Heads, LatentAttention, LatentHeads, LatentRotation,
    Output, Role, Rotation, Rows, Strided, View,
};

// === impl CardModel ===

impl CardModel {
    /// From the normalised rows to those that enter the layer's feed-forward network.
    pub(super) fn attend(
        &self,
        index: usize,
        layer: &Layer,
        extent: Extent,
        views: &StepViews<'_>,
    ) -> Result<(), CudaError> {
        let (buffers, shape, weights) = (&self.buffers, &self.shape, &layer.attention);
        let rows = [extent.sample_rows, extent.rows];
        let (algorithms, projected) = (&self.algorithms, buffers.projected.view());
        let (normed, to) = (buffers.normed.view(), Output::Rounded(projected));
        self.multiply(&algorithms.projections, &weights.projections, normed, rows, to)?;
        match &weights.heads {
            HeadWeights::Own(weights) => self.attend_heads(index, weights, views)?,
            HeadWeights::Latent(weights) => self.attend_latent(index, weights, extent, views)?,
        }
        let (inputs, to) = (buffers.output_inputs(), buffers.joined(shape));
        self.multiply(&algorithms.output, &weights.output, inputs, rows, to)?;
        let post_norm = layer.post_attention_norm.as_ref();
        self.join(extent.rows, post_norm, Some(&layer.feed_norm))
    }

    /// From projected rows to the outputs of attention.
    fn attend_heads(
        &self,
        index: usize,
        weights: &OwnHeads,
        views: &StepViews<'_>,
    ) -> Result<(), CudaError> {
        let (kernels, buffers, shape) = (&self.kernels, &self.buffers, &self.shape);
        let heads =
            Heads { heads: shape.heads, kv_heads: shape.kv_heads, head_size: shape.key_size };
        let [keys, values] = self.stored(index);
        let queries = buffers.queries.view();
        kernels.rotate_store(
            heads,
            &self.rotation(index, weights),
            views.positions,
            views.slots,
            [buffers.projected.view(), queries],
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
        kernels.attend(heads, views.tasks, views.task_count, &attention, attended, parts)?;
        kernels.merge_parts(heads, parts, views.parts, attended)
    }

    /// From projected rows to heads' values, through latent vectors.
    fn attend_latent(
        &self,
        index: usize,
        weights: &LatentWeights,
        extent: Extent,
        views: &StepViews<'_>,
    ) -> Result<(), CudaError> {
        let (kernels, buffers, shape) = (&self.kernels, &self.buffers, &self.shape);
        let rows = [extent.sample_rows, extent.rows];
        let latent = weights.sizes;
        let Latent { rank, rope_size, nope_size, value_size, .. } = latent;
        let heads = LatentHeads { heads: shape.heads, rank, rope: rope_size, nope: nope_size };
        let (projected, queries) = (buffers.projected.view(), buffers.queries.view());
        let (split, stride) = (shape.heads * latent.query_size(), projected_columns(shape));
        let plain = Strided { view: projected, stride, step: latent.query_size() };
        let absorbed =
            Strided { view: queries, stride: shape.heads * shape.key_size, step: shape.key_size };
        self.multiply_heads(&weights.key_up, plain, rows, absorbed)?;
        let rotation = LatentRotation {
            norm: weights.norm.view(),
            turns: self.weights.turns.view(),
            neighbours: shape.rope.pairs == RopePairs::Neighbours,
            epsilon: shape.norm_epsilon,
        };
        let down = projected.slice(split..projected.len());
        let from = [Rows { view: projected, stride }, Rows { view: down, stride }];
        let [stored, _] = self.stored(index);
        kernels.latent_store(
            heads,
            &rotation,
            views.positions,
            views.slots,
            from,
            [queries, stored],
        )?;
        let attention = LatentAttention {
            queries,
            keys: stored,
            slots: buffers.slots.view(),
            positions: views.positions,
            scale: shape.attention_scale,
        };
        let parts = [buffers.sums.view(), buffers.stats.view()];
        let attended = buffers.attended.view();
        let (tasks, count) = (views.tasks, views.task_count);
        kernels.attend_latent(heads, tasks, count, &attention, attended, parts)?;
        kernels.merge_parts(heads.attended(), parts, views.parts, attended)?;
        let attended = Strided { view: attended, stride: shape.heads * rank, step: rank };
        let expanded = buffers.expanded.view();
        let expanded =
            Strided { view: expanded, stride: shape.heads * value_size, step: value_size };
        self.multiply_heads(&weights.value_up, attended, rows, expanded)
    }

    /// Multiplies each head of `rows` rows with the head's matrix; the first `samples` rows are generated by samples.
    fn multiply_heads(
        &self,
        weights: &Stack,
        x: Strided<'_>,
        [samples, rows]: [usize; 2],
        out: Strided<'_>,
    ) -> Result<(), CudaError> {
        let matrices = weights.matrices();
        self.kernels.multiply_heads(Role::Sample, matrices, x, samples, out)?;
        if rows == samples {
            return Ok(());
        }
        let [x, out] = [x, out].map(|rows: Strided<'_>| {
            let Strided { view, stride, step } = rows;
            Strided { view: view.slice(samples * stride..view.len()), stride, step }
        });
        self.kernels.multiply_heads(Role::Prompt, matrices, x, rows - samples, out)
    }

    /// A layer's keys and values.
    fn stored(&self, index: usize) -> [View<'_, Bf16>; 2] {
        [&self.keys, &self.values].map(|buffer| {
            let elements = buffer.len() / self.shape.layers;
            buffer.slice(index * elements..(index + 1) * elements)
        })
    }

    /// How a layer rotates queries and keys.
    fn rotation<'a>(&'a self, index: usize, weights: &'a OwnHeads) -> Rotation<'a> {
        let shape = &self.shape;
        let in_window = shape.window(index).is_some();
        let local = self.weights.local_turns.as_ref().filter(|_| in_window);
        let view = Buffer::view;
        Rotation {
            bias: weights.bias.as_ref().map(view),
            query_norm: weights.query_norm.as_ref().map(view),
            key_norm: weights.key_norm.as_ref().map(view),
            turns: local.unwrap_or(&self.weights.turns).view(),
            turned: shape.rope.size,
            neighbours: shape.rope.pairs == RopePairs::Neighbours,
            epsilon: shape.norm_epsilon,
        }
    }
}
