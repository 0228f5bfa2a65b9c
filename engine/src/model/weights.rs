//! A model's weights, packed for the kernels.
//!
//! ```text
//! files --tensors under GGUF's names (reader.rs)--> layers: attention (attention.rs), feed-forward (feed.rs)
//! ```

mod attention;
mod feed;
mod reader;
mod scales;

pub(crate) use attention::{Attention, LatentAttention, LatentQuery};
pub(crate) use feed::{Feed, Gated};
pub(crate) use reader::Reader;
pub(crate) use scales::InputScales;

use std::collections::HashMap;

use super::Shape;
use crate::error::LoadError;
use crate::files::ModelFiles;
use jury_kernels::blocks::BlockType;
use jury_kernels::cpu::packed::PackedMatrix;

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    pub(crate) head: PackedMatrix,
    pub(crate) input_scales: InputScales,
    /// The angle by which each pair is rotated per position.
    pub(crate) rope_frequencies: Vec<f64>,
    /// The same for layers with a window, if they differ.
    pub(crate) local_rope_frequencies: Option<Vec<f64>>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) attention: Attention,
    /// Norms of single heads before rotation.
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    /// Norm of attention's output, before it is added to the residual stream.
    pub(crate) post_attention_norm: Option<Vec<f32>>,
    pub(crate) feed_norm: Vec<f32>,
    pub(crate) feed: Feed,
    /// Norm of the feed-forward network's output, before it is added to the residual stream.
    pub(crate) post_feed_norm: Option<Vec<f32>>,
}

/// A matrix with an optional bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: PackedMatrix,
    pub(crate) bias: Option<Vec<f32>>,
}

/// The embedding table in the file's type: single rows are read on demand.
#[derive(Debug)]
pub(crate) struct Embedding {
    kind: BlockType,
    bytes: Vec<u8>,
    row_bytes: usize,
    width: usize,
    /// Whether rows are finite, for the tokens asked for so far.
    finite: HashMap<u32, bool>,
}

// === impl Embedding ===

impl Embedding {
    /// Reads a token's row.
    pub(crate) fn row(&self, token: u32, out: &mut [f32]) {
        let at = token as usize * self.row_bytes;
        self.kind.read_floats(&self.bytes[at..at + self.row_bytes], out);
    }

    /// Whether a token's row, multiplied by the embedding scale, is finite. Published tables have rows for tokens that
    /// are never used, so only the rows in use are checked, once each.
    pub(crate) fn is_finite(&mut self, token: u32, scale: f32) -> bool {
        if let Some(&known) = self.finite.get(&token) {
            return known;
        }
        let mut row = vec![0.0; self.width];
        self.row(token, &mut row);
        let is_finite = row.iter().all(|value| (value * scale).is_finite());
        self.finite.insert(token, is_finite);
        is_finite
    }
}

// === impl Weights ===

impl Weights {
    pub(crate) fn load(files: &ModelFiles, shape: &Shape) -> Result<Weights, LoadError> {
        Weights::read(&Reader::new(files, shape))
    }

    /// Checks that all tensors exist with the right sizes, without reading any.
    pub(crate) fn check(files: &ModelFiles, shape: &Shape) -> Result<(), LoadError> {
        Weights::read(&Reader::of_sizes(files, shape)).map(drop)
    }

    fn read(reader: &Reader<'_>) -> Result<Weights, LoadError> {
        let Reader { files, shape, .. } = *reader;
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let mut layers = Vec::new();
        for index in 0..shape.layers {
            let name = |part: &str| format!("blk.{index}.{part}.weight");
            layers.push(Layer {
                attention_norm: reader.norm(&name("attn_norm"), width)?,
                attention: Attention::load(reader, index)?,
                query_norm: reader.head_norm(&name("attn_q_norm"))?,
                key_norm: reader.head_norm(&name("attn_k_norm"))?,
                post_attention_norm: reader.post_norm(&name("post_attention_norm"))?,
                feed_norm: reader.norm(&name("ffn_norm"), width)?,
                feed: Feed::load(reader, index)?,
                post_feed_norm: reader.post_norm(&name("post_ffw_norm"))?,
            });
        }
        let table = files.tensor("token_embd.weight", &[width, vocabulary])?;
        let embedding = Embedding {
            kind: table.block_type,
            bytes: reader.bytes(table)?.into_owned(),
            row_bytes: table.block_type.row_bytes(width),
            width,
            finite: HashMap::new(),
        };
        let head = reader.matrix(files.head(), width, shape.outputs)?;
        Ok(Weights {
            embedding,
            input_scales: InputScales::new(&layers, &head),
            layers,
            output_norm: reader.norm("output_norm.weight", width)?,
            head,
            rope_frequencies: reader.rope_frequencies()?,
            local_rope_frequencies: shape.rope.local_frequencies(),
        })
    }
}
