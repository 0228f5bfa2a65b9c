//! A model's sizes and weights as floats, for computation outside the engine: training.
//!
//! Whatever the file format, tensors have the layout of transformers: row-major `[outputs, inputs]`, rows of queries
//! and keys ordered so that rotation pairs element i with element i + head size / 2, and norms with their offset added.
//!
//! NOT supported: experts, latent attention (DeepSeek V2), scalar reward models.

use std::path::Path;

use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model::shape::Activation;
use crate::model::{Reader, Shape};
use jury_kernels::cpu::rows::RopePairs;

/// An open model whose tensors are read one by one.
#[derive(Debug)]
pub struct FloatModel {
    files: ModelFiles,
    shape: Shape,
    sizes: Sizes,
}

/// Sizes and settings of a dense decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// GGUF's name of the family: llama, qwen2, qwen3, gemma2 or gemma3.
    pub family: &'static str,
    /// Number of layers.
    pub layers: usize,
    /// Elements of the residual stream.
    pub width: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_size: usize,
    /// Elements of the feed-forward network's inner layer.
    pub hidden: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Context that the model was trained with, in tokens.
    pub context_length: usize,
    /// Added to the mean square in norms.
    pub norm_epsilon: f64,
    /// Whether the gate uses GELU (tanh form) instead of SiLU.
    pub is_gelu: bool,
    /// Factor of the embeddings.
    pub embedding_scale: f64,
    /// Factor of the attention scores, applied before the cap.
    pub attention_scale: f64,
    /// Scores become `cap * tanh(score / cap)`.
    pub attention_softcap: Option<f64>,
    /// The same for logits.
    pub logit_softcap: Option<f64>,
    /// For every layer, how many of the newest tokens a token attends to, including itself; `None` for all.
    pub windows: Vec<Option<usize>>,
    /// Angle, in radians per position, by which each pair of a head is rotated, in layers that see all tokens.
    pub rope_frequencies: Vec<f64>,
    /// The same for layers with a window, if it differs.
    pub local_rope_frequencies: Option<Vec<f64>>,
    /// Factor of sines and cosines, except the local ones.
    pub rope_magnitude: f64,
    /// Whether the head is the embedding table.
    pub is_tied: bool,
}

// === impl FloatModel ===

impl FloatModel {
    /// Opens a GGUF file or a folder of safetensors; only headers are read.
    ///
    /// # Errors
    /// Files are missing, not a model, or corrupt, or the model cannot be trained here.
    pub fn open(path: &Path) -> Result<FloatModel, LoadError> {
        let files = ModelFiles::open(path)?;
        let shape = Shape::read(&files)?;
        let what = if shape.latent.is_some() || shape.experts.is_some() {
            Some("experts or latent attention, which cannot be trained here")
        } else if files.is_scalar() {
            Some("a scalar reward model, which writes no text")
        } else if shape.rope.size != shape.key_size || shape.key_size != shape.value_size {
            Some("heads that are rotated in part, which cannot be trained here")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(files.unsupported(what));
        }
        let sizes = Sizes::of(&files, &shape)?;
        Ok(FloatModel { files, shape, sizes })
    }

    /// Its sizes.
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// A matrix by its GGUF name, such as `blk.0.attn_q.weight`: `outputs` rows of `inputs`.
    ///
    /// # Errors
    /// The tensor is missing, has other sizes, or is damaged.
    pub fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Result<Vec<f32>, LoadError> {
        let floats = self.reader().floats(name, &[inputs, outputs])?;
        if !floats.iter().all(|float| float.is_finite()) {
            return Err(self.files.corrupt(format!("{name} has values that are not finite")));
        }
        Ok(self.in_halves(name, inputs, floats))
    }

    /// A vector that may be absent, like a bias.
    ///
    /// # Errors
    /// The tensor has another size or is damaged.
    pub fn bias(&self, name: &str, size: usize) -> Result<Option<Vec<f32>>, LoadError> {
        let floats = self.reader().maybe_vector(name, size)?;
        Ok(floats.map(|floats| self.in_halves(name, 1, floats)))
    }

    /// The weights of a norm by its GGUF name; `None` if the family has no such norm.
    ///
    /// # Errors
    /// The tensor is missing, has another size, or is damaged.
    pub fn norm(&self, name: &str) -> Result<Option<Vec<f32>>, LoadError> {
        let reader = self.reader();
        if name.ends_with("attn_q_norm.weight") || name.ends_with("attn_k_norm.weight") {
            reader.head_norm(name)
        } else if name.contains(".post_") {
            reader.post_norm(name)
        } else {
            reader.norm(name, self.shape.width).map(Some)
        }
    }

    /// Amount by which transformers' stored norm weights are below those multiplied with: 1 for Gemma, 0 for other
    /// families.
    pub fn stored_norm_offset(&self) -> f32 {
        if self.shape.architecture.is_gemma() { 1.0 } else { 0.0 }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.files, &self.shape)
    }

    /// Llama's GGUF files rotate adjacent pairs: this reorders their rows of queries and keys to transformers' order.
    fn in_halves(&self, name: &str, row: usize, floats: Vec<f32>) -> Vec<f32> {
        let is_turned = name.contains("attn_q.") || name.contains("attn_k.");
        if !is_turned || self.shape.rope.pairs == RopePairs::Halves {
            return floats;
        }
        let (size, half) = (self.shape.key_size, self.shape.key_size / 2);
        let heads = floats.chunks_exact(size * row);
        let rows = heads.flat_map(|head| {
            (0..size).flat_map(move |at| &head[(2 * (at % half) + at / half) * row..][..row])
        });
        rows.copied().collect()
    }
}

// === impl Sizes ===

impl Sizes {
    fn of(files: &ModelFiles, shape: &Shape) -> Result<Sizes, LoadError> {
        let window = |layer| shape.window(layer);
        Ok(Sizes {
            family: shape.architecture.name(),
            layers: shape.layers,
            width: shape.width,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_size: shape.key_size,
            hidden: shape.hidden,
            vocabulary: shape.vocabulary,
            context_length: shape.context_length,
            norm_epsilon: f64::from(shape.norm_epsilon),
            is_gelu: shape.activation == Activation::GeluTanh,
            embedding_scale: f64::from(shape.embedding_scale),
            attention_scale: f64::from(shape.attention_scale),
            attention_softcap: shape.attention_softcap.map(f64::from),
            logit_softcap: shape.logit_softcap.map(f64::from),
            windows: (0..shape.layers).map(window).collect(),
            rope_frequencies: Reader::new(files, shape).rope_frequencies()?,
            local_rope_frequencies: shape.rope.local_frequencies(),
            rope_magnitude: shape.rope.magnitude(),
            is_tied: files.head() == "token_embd.weight",
        })
    }
}
