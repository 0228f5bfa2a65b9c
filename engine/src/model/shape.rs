//! The sizes and settings of a model, read from its files and checked against each other.
//!
//! This checks that the files make sense; [`runnable`] decides whether the forward pass can compute the model.

mod folder;
mod gguf;
mod parts;
pub(crate) mod rope;
mod runnable;
#[cfg(test)]
mod tests;

pub(crate) use parts::{Activation, ExpertGroups, Experts, Latent, Window};
pub(crate) use rope::Rope;
pub(crate) use runnable::runnable;

use super::Architecture;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::hf::Config;

/// Bound on every single size, so that products of sizes cannot overflow.
const LARGEST: usize = 1 << 24;
/// Bound on the number of layers: a step is one job of the threads, with some tens of phases per layer and at most
/// 65,535 phases. Published models have at most some hundreds of layers.
const MOST_LAYERS: usize = 1 << 10;

/// Sizes and settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) architecture: Architecture,
    pub(crate) layers: usize,
    /// Width of the residual stream.
    pub(crate) width: usize,
    pub(crate) heads: usize,
    /// Heads of keys and values; 1 for latent attention.
    pub(crate) kv_heads: usize,
    /// Elements of one head's key as it is stored and multiplied; for latent attention, rank + rotated part.
    pub(crate) key_size: usize,
    /// Elements of one head's value; for latent attention the rank, and the value is the beginning of the key.
    pub(crate) value_size: usize,
    /// Size of the feed-forward network's inner layer; with experts, in the dense layers.
    pub(crate) hidden: usize,
    pub(crate) vocabulary: usize,
    /// Outputs of the head: one per token of the vocabulary; 1 for a scalar reward model.
    pub(crate) outputs: usize,
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f32,
    pub(crate) rope: Rope,
    pub(crate) activation: Activation,
    /// Factor of the embeddings.
    pub(crate) embedding_scale: f32,
    /// Factor of the attention scores, applied before the cap.
    pub(crate) attention_scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub(crate) attention_softcap: Option<f32>,
    /// The same for logits.
    pub(crate) logit_softcap: Option<f32>,
    pub(crate) window: Option<Window>,
    pub(crate) latent: Option<Latent>,
    pub(crate) experts: Option<Experts>,
}

// === impl Shape ===

impl Shape {
    pub(crate) fn read(files: &ModelFiles) -> Result<Shape, LoadError> {
        let shape = match files {
            ModelFiles::Gguf(file) => {
                let shape = gguf::read(file)?;
                shape.check().map_err(|why| file.corrupt(why))?;
                shape
            }
            ModelFiles::Folder(folder) => {
                let shape = Shape::of_configuration(folder.architecture, &folder.config)?;
                let outputs = if folder.is_scalar { 1 } else { shape.vocabulary };
                Shape { outputs, ..shape }
            }
        };
        match files.tensors().keys().filter_map(|name| shape.leaves_out(name)).min() {
            None => Ok(shape),
            Some(why) => Err(files.corrupt(why)),
        }
    }

    /// Why this tensor of a layer must not be left out: a model without some of its weights would compute something
    /// else.
    fn leaves_out(&self, name: &str) -> Option<String> {
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        if layer >= self.layers {
            let layers = self.layers;
            return Some(format!(
                "it has a tensor {name}, and settings that tell of {layers} layers"
            ));
        }
        let shared = self.experts.as_ref().map_or(0, |experts| experts.shared);
        (shared == 0 && part.contains("_shexp"))
            .then(|| format!("it has a tensor {name}, and settings that tell of no shared experts"))
    }

    /// From the text of a folder's configuration.
    #[cfg(test)]
    pub(crate) fn of_text(configuration: &str) -> Shape {
        let path = std::path::Path::new("config.json");
        let config = Config::parse(path, configuration.as_bytes()).unwrap();
        let family = config.text_maybe("model_type").unwrap().unwrap().to_owned();
        Shape::of_configuration(Architecture::of_folder(&family).unwrap(), &config).unwrap()
    }

    /// From the settings of a folder alone.
    pub(crate) fn of_configuration(
        architecture: Architecture,
        config: &Config,
    ) -> Result<Shape, LoadError> {
        let shape = folder::read(architecture, config)?;
        shape.check().map_err(|why| config.corrupt(why))?;
        Ok(shape)
    }

    /// Elements of a head, for models whose keys and values have the same size.
    pub(crate) fn head_size(&self) -> usize {
        self.key_size
    }

    /// Query heads that share a key and value head.
    pub(crate) fn heads_per_kv(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Floats of one token's keys and values in all layers.
    pub(crate) fn kv_floats_per_token(&self) -> usize {
        self.layers * self.stored().iter().sum::<usize>()
    }

    /// Elements of a token's key and of its value in one layer. A latent vector serves as both.
    pub(crate) fn stored(&self) -> [usize; 2] {
        let values = if self.latent.is_some() { 0 } else { self.value_size };
        [self.kv_heads * self.key_size, self.kv_heads * values]
    }

    /// How many of the newest tokens a token sees in this layer, including itself; `None` for all.
    pub(crate) fn window(&self, layer: usize) -> Option<usize> {
        let window = self.window.as_ref()?;
        window.layers[layer].then_some(window.tokens)
    }

    /// Whether this layer has experts instead of one feed-forward network.
    pub(crate) fn has_experts(&self, layer: usize) -> bool {
        self.experts.as_ref().is_some_and(|experts| layer >= experts.dense_layers)
    }

    fn check(&self) -> Result<(), String> {
        let latent = self.latent.map_or([1; 5], |latent| {
            let query_rank = latent.query_rank.unwrap_or(1);
            [latent.rank, latent.rope_size, latent.nope_size, latent.value_size, query_rank]
        });
        let sizes = [
            ("width", self.width),
            ("number of heads", self.heads),
            ("number of key heads", self.kv_heads),
            ("key size", self.key_size),
            ("value size", self.value_size),
            ("hidden size", self.hidden),
            ("vocabulary", self.vocabulary),
            ("context length", self.context_length),
            ("rotated size", self.rope.size),
        ];
        let latents = latent.map(|size| ("size of latent attention", size));
        for (what, size) in sizes.into_iter().chain(latents) {
            if size == 0 || size > LARGEST {
                return Err(format!("{what} of {size}"));
            }
        }
        if self.layers == 0 || self.layers > MOST_LAYERS {
            return Err(format!("{} layers", self.layers));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} query heads for {} key heads", self.heads, self.kv_heads));
        }
        if !self.rope.size.is_multiple_of(2) || self.rope.size > self.key_size {
            return Err(format!("{} rotated elements of {}", self.rope.size, self.key_size));
        }
        let positive = [self.norm_epsilon, self.embedding_scale, self.attention_scale];
        let caps = self.attention_softcap.into_iter().chain(self.logit_softcap);
        if !positive.into_iter().chain(caps).all(|number| number.is_finite() && number > 0.0) {
            return Err("settings that are no positive numbers".to_owned());
        }
        self.rope.check()?;
        if let Some(window) = &self.window {
            window.check(self.layers)?;
        }
        self.experts.as_ref().map_or(Ok(()), |experts| experts.check(self.layers))
    }
}

/// Computed in f32, as the CPU kernels have always done.
fn one_by_root(size: f64) -> f32 {
    1.0 / (size as f32).sqrt()
}
