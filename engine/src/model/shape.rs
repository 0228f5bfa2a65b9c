//! The sizes and settings of a model, from its file's metadata, checked against each other.

use crate::error::LoadError;
use crate::gguf::GgufFile;
use crate::kernels::GROUP;
use crate::kernels::rows::RopePairs;

/// Bound on every single size, so that products of sizes cannot overflow.
const LARGEST: usize = 1 << 24;

/// Sizes and settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) architecture: String,
    pub(crate) layers: usize,
    /// Of the residual stream.
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    /// Elements of a head.
    pub(crate) head_size: usize,
    /// Of the feed-forward network's inner layer.
    pub(crate) hidden: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f32,
    pub(crate) rope_pairs: RopePairs,
    pub(crate) rope_base: f64,
}

// === impl Shape ===

impl Shape {
    pub(crate) fn read(file: &GgufFile) -> Result<Shape, LoadError> {
        let metadata = &file.metadata;
        let architecture = metadata.text("general.architecture")?.to_owned();
        let rope_pairs = match architecture.as_str() {
            "llama" => RopePairs::Neighbours,
            "qwen2" | "qwen3" => RopePairs::Halves,
            other => return Err(file.unsupported(format!("architecture {other:?}"))),
        };
        let size = |name: &str| -> Result<usize, LoadError> {
            let size = metadata.size(&format!("{architecture}.{name}"))?;
            if size == 0 || size > LARGEST {
                return Err(file.corrupt(format!("{architecture}.{name} is {size}")));
            }
            Ok(size)
        };
        let maybe = |name: &str, default: usize| -> Result<usize, LoadError> {
            let key = format!("{architecture}.{name}");
            let size = metadata.unsigned_or(&key, default as u64)? as usize;
            if size == 0 || size > LARGEST {
                return Err(file.corrupt(format!("{key} is {size}")));
            }
            Ok(size)
        };
        let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_size = maybe("attention.key_length", width / heads)?;
        let shape = Shape {
            layers: size("block_count")?,
            width,
            heads,
            kv_heads: maybe("attention.head_count_kv", heads)?,
            head_size,
            hidden: size("feed_forward_length")?,
            vocabulary: metadata.texts("tokenizer.ggml.tokens")?.len(),
            context_length: size("context_length")?,
            norm_epsilon: metadata
                .float(&format!("{architecture}.attention.layer_norm_rms_epsilon"))?
                as f32,
            rope_pairs,
            rope_base: metadata.float_or(&format!("{architecture}.rope.freq_base"), 10_000.0)?,
            architecture: architecture.clone(),
        };
        let rope_size = maybe("rope.dimension_count", head_size)?;
        let value_size = maybe("attention.value_length", head_size)?;
        let experts = metadata.unsigned_or(&format!("{architecture}.expert_count"), 0)?;
        let scaling = metadata.text_maybe(&format!("{architecture}.rope.scaling.type"))?;
        if rope_size != head_size || value_size != head_size || experts > 0 {
            return Err(file.unsupported("partial rotation, uneven heads, or experts"));
        }
        if let Some(kind) = scaling.filter(|&kind| kind != "none") {
            return Err(file.unsupported(format!("position scaling {kind:?}")));
        }
        shape.check().map_err(|why| file.unsupported(why))?;
        Ok(shape)
    }

    /// Query heads that share a key and value head.
    pub(crate) fn heads_per_kv(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Keys and values of one token in all layers.
    #[cfg(feature = "candle")]
    pub(crate) fn kv_floats_per_token(&self) -> usize {
        self.layers * self.kv_heads * self.head_size * 2
    }

    fn check(&self) -> Result<(), String> {
        let queries = self.heads * self.head_size;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!("{} query heads for {} key heads", self.heads, self.kv_heads));
        }
        for (what, size, unit) in [
            ("head size", self.head_size, GROUP),
            ("width", self.width, GROUP),
            ("attention width", queries, GROUP),
            ("hidden size", self.hidden, GROUP),
        ] {
            if !size.is_multiple_of(unit) {
                return Err(format!("{what} of {size}, which is not a multiple of {unit}"));
            }
        }
        if self.vocabulary == 0 {
            return Err("an empty vocabulary".to_owned());
        }
        let sane = self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0;
        if !sane || !self.rope_base.is_finite() || self.rope_base <= 0.0 {
            return Err("settings that are no positive numbers".to_owned());
        }
        Ok(())
    }
}
