//! From files to the card: matrices as bfloat16, norms and biases as floats.
//!
//! Or matrices as 8 bits, where that is asked for. Matrices that have the same inputs are one on the card: queries, keys and values; gates and ups. A tensor goes through a
//! piece of pinned memory, so that the host never holds more than the tensor it reads.

mod upload;
mod weight;

use super::memory::{padded_outputs, projected};
use crate::config::CardWeights;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::{Reader, Shape};
use jury_kernels::cuda::{Bf16, Buffer, Card, CudaError, View};
use upload::Upload;
pub(crate) use weight::{Weight, WeightView};

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Vocabulary x width, in bfloat16.
    table: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Buffer<f32>,
    /// Padded outputs x width; `None` where it is the table.
    head: Option<Weight>,
    /// For every position cosine and sine of each pair.
    pub(crate) turns: Buffer<f32>,
    /// The same in layers that see a window, where they differ.
    pub(crate) local_turns: Option<Buffer<f32>>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Buffer<f32>,
    /// (Queries, keys, values) x width.
    pub(crate) projections: Weight,
    pub(crate) bias: Option<Buffer<f32>>,
    pub(crate) query_norm: Option<Buffer<f32>>,
    pub(crate) key_norm: Option<Buffer<f32>>,
    /// Width x attended.
    pub(crate) output: Weight,
    pub(crate) post_attention_norm: Option<Buffer<f32>>,
    pub(crate) feed_norm: Buffer<f32>,
    /// (Gates, ups) x width.
    pub(crate) gate_up: Weight,
    /// Width x hidden.
    pub(crate) down: Weight,
    pub(crate) post_feed_norm: Option<Buffer<f32>>,
}

// === impl Weights ===

impl Weights {
    pub(crate) fn load(
        card: &Card,
        files: &ModelFiles,
        shape: &Shape,
        most_positions: usize,
        kind: CardWeights,
        ordinal: usize,
    ) -> Result<Weights, LoadError> {
        let failed =
            |error: CudaError| LoadError::Device(format!("cuda:{ordinal}, loading: {error}"));
        let reader = Reader::new(files, shape);
        let mut upload = Upload::new(card, files, kind, failed);
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let table = upload.rounded(&[("token_embd.weight", vocabulary)], width, vocabulary)?;
        let mut layers = Vec::with_capacity(shape.layers);
        for index in 0..shape.layers {
            layers.push(Layer::load(&mut upload, &reader, index)?);
        }
        let head_outputs = padded_outputs(shape);
        let head = match Weights::has_head(files, shape) {
            false => None,
            true => Some(upload.matrix(&[(files.head(), shape.outputs)], width, head_outputs)?),
        };
        let output_norm = upload.floats(&reader.norm("output_norm.weight", width)?)?;
        let turns = |frequencies: &[f64], magnitude: f64| -> Vec<f32> {
            let of = |position: usize| {
                frequencies.iter().flat_map(move |frequency| {
                    let (sine, cosine) = libm::sincos(position as f64 * frequency);
                    [(cosine * magnitude) as f32, (sine * magnitude) as f32]
                })
            };
            (0..most_positions).flat_map(of).collect()
        };
        let local = shape.rope.local_frequencies().map(|frequencies| turns(&frequencies, 1.0));
        let global = turns(&reader.rope_frequencies()?, shape.rope.magnitude());
        Ok(Weights {
            table,
            layers,
            output_norm,
            head,
            turns: upload.floats(&global)?,
            local_turns: local.map(|turns| upload.floats(&turns)).transpose()?,
        })
    }

    /// Whether the head has weights of its own: a table without rows for padding may be the head itself.
    pub(crate) fn has_head(files: &ModelFiles, shape: &Shape) -> bool {
        files.head() != "token_embd.weight" || padded_outputs(shape) != shape.vocabulary
    }

    /// The embedding table, vocabulary x width.
    pub(crate) fn embeddings(&self) -> View<'_, Bf16> {
        match &self.table {
            Weight::Rounded { weights, .. } => weights.view(),
            Weight::Eight { .. } => unreachable!("the table is loaded in bfloat16"),
        }
    }

    /// What the last state is multiplied with.
    pub(crate) fn head(&self) -> &Weight {
        self.head.as_ref().unwrap_or(&self.table)
    }
}

// === impl Layer ===

impl Layer {
    fn load<F: Fn(CudaError) -> LoadError + Copy>(
        upload: &mut Upload<'_, F>,
        reader: &Reader<'_>,
        index: usize,
    ) -> Result<Layer, LoadError> {
        let shape = reader.shape;
        let (width, hidden) = (shape.width, shape.hidden);
        let (queries, keys) = (shape.heads * shape.key_size, shape.kv_heads * shape.key_size);
        let name = |part: &str| format!("blk.{index}.{part}");
        let weight = |part: &str| name(&format!("{part}.weight"));
        for part in ["attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            let bias = name(&format!("{part}.bias"));
            if reader.files.has(&bias) {
                return Err(reader.files.unsupported(format!("tensor {bias} on a CUDA card")));
            }
        }
        let projections =
            [(weight("attn_q"), queries), (weight("attn_k"), keys), (weight("attn_v"), keys)];
        let mut bias = Vec::new();
        let mut has_bias = false;
        for (part, outputs) in [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)] {
            let found = reader.maybe_vector(&name(&format!("{part}.bias")), outputs)?;
            has_bias |= found.is_some();
            bias.extend(found.unwrap_or_else(|| vec![0.0; outputs]));
        }
        let gates = [(weight("ffn_gate"), hidden), (weight("ffn_up"), hidden)];
        let maybe = |upload: &Upload<'_, F>, floats: Option<Vec<f32>>| {
            floats.map(|floats| upload.floats(&floats)).transpose()
        };
        Ok(Layer {
            attention_norm: upload.floats(&reader.norm(&weight("attn_norm"), width)?)?,
            projections: upload.stacked(&projections, width, projected(shape))?,
            bias: maybe(upload, has_bias.then_some(bias))?,
            query_norm: maybe(upload, reader.head_norm(&weight("attn_q_norm"))?)?,
            key_norm: maybe(upload, reader.head_norm(&weight("attn_k_norm"))?)?,
            output: upload.matrix(&[(&weight("attn_output"), width)], queries, width)?,
            post_attention_norm: maybe(upload, reader.post_norm(&weight("post_attention_norm"))?)?,
            feed_norm: upload.floats(&reader.norm(&weight("ffn_norm"), width)?)?,
            gate_up: upload.stacked(&gates, width, 2 * hidden)?,
            down: upload.matrix(&[(&weight("ffn_down"), width)], hidden, width)?,
            post_feed_norm: maybe(upload, reader.post_norm(&weight("post_ffw_norm"))?)?,
        })
    }
}
