//! A model's weights on a device: matrices stay quantised as in the file, vectors are f32.

mod attention;
mod feed;
mod loader;

pub(super) use attention::{Attention, LatentAttention, LatentQuery};
pub(super) use feed::{Feed, Gated};

use candle_core::quantized::QMatMul;
use candle_core::{Device, Module, Result, Tensor};

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::Shape;
use crate::model::forward::Row;
use jury_kernels::blocks::BlockType;
use loader::Loader;

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    /// The embedding table, in host memory: only a batch's rows are read and copied to the device.
    table: Vec<u8>,
    table_type: BlockType,
    width: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Tensor,
    pub(super) head: QMatMul,
    pub(super) rope_frequencies: Vec<f64>,
    /// The same for layers with a window, if they differ.
    pub(super) local_rope_frequencies: Option<Vec<f64>>,
    embedding_scale: f64,
}

/// One layer, with the parts of [`crate::model::Weights`].
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    pub(super) attention: Attention,
    pub(super) query_norm: Option<Tensor>,
    pub(super) key_norm: Option<Tensor>,
    pub(super) output: Linear,
    pub(super) post_attention_norm: Option<Tensor>,
    pub(super) feed_norm: Tensor,
    pub(super) feed: Feed,
    pub(super) post_feed_norm: Option<Tensor>,
}

/// A matrix with an optional bias.
#[derive(Debug)]
pub(super) struct Linear {
    matrix: QMatMul,
    bias: Option<Tensor>,
}

// === impl Linear ===

impl Linear {
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.matrix.forward(x)?;
        match &self.bias {
            None => Ok(y),
            Some(bias) => y.broadcast_add(bias),
        }
    }
}

// === impl Weights ===

impl Weights {
    pub(super) fn load(
        files: &ModelFiles,
        shape: &Shape,
        device: &Device,
    ) -> std::result::Result<Weights, LoadError> {
        let loader = Loader::new(files, shape, device);
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let attended =
            shape.heads * shape.latent.map_or(shape.value_size, |latent| latent.value_size);
        let mut layers = Vec::new();
        for index in 0..shape.layers {
            let name = |part: &str| format!("blk.{index}.{part}");
            layers.push(Layer {
                attention_norm: loader.norm(&name("attn_norm.weight"), width)?,
                attention: Attention::load(&loader, index)?,
                query_norm: loader.head_norm(&name("attn_q_norm.weight"))?,
                key_norm: loader.head_norm(&name("attn_k_norm.weight"))?,
                output: loader.linear(&name("attn_output"), attended, width)?,
                post_attention_norm: loader.post_norm(&name("post_attention_norm.weight"))?,
                feed_norm: loader.norm(&name("ffn_norm.weight"), width)?,
                feed: Feed::load(&loader, index)?,
                post_feed_norm: loader.post_norm(&name("post_ffw_norm.weight"))?,
            });
        }
        let table = files.tensor("token_embd.weight", &[width, vocabulary])?;
        Ok(Weights {
            table: files.read(table)?.into_owned(),
            table_type: table.block_type,
            width,
            layers,
            output_norm: loader.norm("output_norm.weight", width)?,
            head: loader.matrix(files.head(), width, shape.outputs)?,
            rope_frequencies: loader.rope_frequencies()?,
            local_rope_frequencies: shape.rope.local_frequencies(),
            embedding_scale: f64::from(shape.embedding_scale),
        })
    }

    /// The rows' embeddings: rows x width.
    pub(super) fn embed(&self, rows: &[Row], device: &Device) -> Result<Tensor> {
        let row_bytes = self.table_type.row_bytes(self.width);
        let mut floats = vec![0.0; rows.len() * self.width];
        for (row, floats) in rows.iter().zip(floats.chunks_exact_mut(self.width)) {
            let bytes = &self.table[row.token as usize * row_bytes..][..row_bytes];
            self.table_type.read_floats(bytes, floats);
        }
        Tensor::from_vec(floats, (rows.len(), self.width), device)? * self.embedding_scale
    }
}
