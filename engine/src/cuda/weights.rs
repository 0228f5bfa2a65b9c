//! Loads weights from files onto the card: matrices as bfloat16 or, if requested, as 8 bits; norms and biases as
//! floats.
//!
//! Matrices with the same inputs are joined into one on the card: queries, keys and values; gates and ups.

mod attention;
mod convert;
mod feed;
#[cfg(test)]
pub(super) mod tests;
mod upload;
mod weight;

use super::sizes::padded_outputs;
use crate::config::CardWeights;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::{Reader, Shape};
pub(crate) use attention::{Attention, HeadWeights, LatentWeights, OwnHeads};
pub(crate) use feed::{ExpertWeights, Feed, Gated};
use jury_kernels::cuda::{Bf16, Buffer, Card, View};
use upload::{TensorRows, Upload};
pub(crate) use weight::{Stack, Weight, WeightView};

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Vocabulary x width, in bfloat16.
    table: Weight,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Buffer<f32>,
    /// Padded outputs x width; `None` if it is the table.
    head: Option<Weight>,
    /// Cosine and sine of each pair, for every position.
    pub(crate) turns: Buffer<f32>,
    /// The same for layers with a window, if they differ.
    pub(crate) local_turns: Option<Buffer<f32>>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Buffer<f32>,
    pub(crate) attention: Attention,
    pub(crate) post_attention_norm: Option<Buffer<f32>>,
    pub(crate) feed_norm: Buffer<f32>,
    pub(crate) feed: Feed,
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
    ) -> Result<Weights, LoadError> {
        let reader = Reader::new(files, shape);
        let mut upload = Upload::new(card, files, kind);
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let table = [TensorRows::matrix("token_embd.weight", width, vocabulary)];
        let table = upload.rounded(&table, width, vocabulary)?;
        let mut layers = Vec::with_capacity(shape.layers);
        for index in 0..shape.layers {
            layers.push(Layer::load(&mut upload, &reader, index)?);
        }
        let head_outputs = padded_outputs(shape);
        let head = match Weights::has_head(files, shape) {
            false => None,
            true => {
                let head = TensorRows::matrix(files.head(), width, shape.outputs);
                Some(upload.matrix(&[head], width, head_outputs)?)
            }
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
            local_turns: upload.maybe_floats(local)?,
        })
    }

    /// Whether the head has its own weights: a table that needs no padding rows can serve as the head.
    pub(crate) fn has_head(files: &ModelFiles, shape: &Shape) -> bool {
        files.head() != "token_embd.weight" || padded_outputs(shape) != shape.vocabulary
    }

    /// Whether matrices have 8 bits.
    pub(crate) fn are_eight(&self) -> bool {
        let first = self.layers.first();
        first.is_some_and(|layer| matches!(layer.attention.projections, Weight::Eight { .. }))
    }

    /// The embedding table, vocabulary x width.
    pub(crate) fn embeddings(&self) -> View<'_, Bf16> {
        match &self.table {
            Weight::Rounded { weights, .. } => weights.view(),
            Weight::Eight { .. } => unreachable!("the table is loaded in bfloat16"),
        }
    }

    /// The matrix that the last state is multiplied with.
    pub(crate) fn head(&self) -> &Weight {
        self.head.as_ref().unwrap_or(&self.table)
    }
}

// === impl Layer ===

impl Layer {
    fn load(
        upload: &mut Upload<'_>,
        reader: &Reader<'_>,
        index: usize,
    ) -> Result<Layer, LoadError> {
        let weight = |part: &str| format!("blk.{index}.{part}.weight");
        let width = reader.shape.width;
        let norm = |part: &str| reader.norm(&weight(part), width);
        let post_norm = |part: &str| reader.post_norm(&weight(part));
        Ok(Layer {
            attention_norm: upload.floats(&norm("attn_norm")?)?,
            attention: Attention::load(upload, reader, index)?,
            post_attention_norm: upload.maybe_floats(post_norm("post_attention_norm")?)?,
            feed_norm: upload.floats(&norm("ffn_norm")?)?,
            feed: Feed::load(upload, reader, index)?,
            post_feed_norm: upload.maybe_floats(post_norm("post_ffw_norm")?)?,
        })
    }
}

/// The card's products support biases only for queries, keys and values.
fn refuse_biases(reader: &Reader<'_>, layer: usize, parts: &[&str]) -> Result<(), LoadError> {
    let biases = parts.iter().map(|part| format!("blk.{layer}.{part}.bias"));
    match biases.into_iter().find(|bias| reader.files.has(bias)) {
        None => Ok(()),
        Some(bias) => Err(reader.files.unsupported(format!("tensor {bias} on a CUDA card"))),
    }
}
