//! A shape from a GGUF file's metadata.

use super::rope::{RopeScaling, yarn_magnitude};
use super::{
    Activation, ExpertGroups, Experts, LARGEST, Latent, MOST_LAYERS, Rope, Shape, Window,
    one_by_root,
};
use crate::error::LoadError;
use crate::gguf::GgufFile;
use crate::model::Architecture;
use jury_kernels::cpu::rows::RopePairs;

/// Gemma 2's default.
const GEMMA2_WINDOW: u64 = 4096;
const GEMMA2_PERIOD: usize = 2;
const GEMMA3_PERIOD: usize = 6;
const GEMMA3_LOCAL_BASE: f64 = 10_000.0;
/// The router's probabilities are a softmax.
const GATING_SOFTMAX: u64 = 1;

/// Metadata under the family's own prefix.
struct Reader<'a> {
    file: &'a GgufFile,
    architecture: Architecture,
}

pub(super) fn read(file: &GgufFile) -> Result<Shape, LoadError> {
    let name = file.metadata.text("general.architecture")?;
    let architecture =
        Architecture::of_gguf(name).ok_or_else(|| file.unsupported(Architecture::refusal(name)))?;
    let reader = Reader { file, architecture };
    let (width, heads) = (reader.size("embedding_length")?, reader.size("attention.head_count")?);
    let layers = reader.size("block_count")?.min(MOST_LAYERS + 1);
    let latent = reader.latent()?;
    let key_length = reader.size_or("attention.key_length", width / heads)?;
    let (kv_heads, key_size, value_size) = match latent {
        Some(latent) => (1, latent.rank + latent.rope_size, latent.rank),
        None => (
            reader.size_or("attention.head_count_kv", heads)?,
            key_length,
            reader.size_or("attention.value_length", key_length)?,
        ),
    };
    let rope = reader.rope(latent.map_or(key_size, |latent| latent.rope_size))?;
    let gemma = architecture.is_gemma();
    let vocabulary = file.metadata.texts("tokenizer.ggml.tokens")?.len();
    Ok(Shape {
        architecture,
        layers,
        width,
        heads,
        kv_heads,
        key_size,
        value_size,
        hidden: reader.size("feed_forward_length")?,
        vocabulary,
        outputs: vocabulary,
        context_length: reader.size("context_length")?,
        norm_epsilon: file.metadata.float(&reader.key("attention.layer_norm_rms_epsilon"))? as f32,
        activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
        embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
        attention_scale: reader.attention_scale(width / heads, layers, key_size, latent)?,
        attention_softcap: reader.cap("attn_logit_softcapping", Architecture::Gemma2, 50.0)?,
        logit_softcap: reader.cap("final_logit_softcapping", Architecture::Gemma2, 30.0)?,
        window: reader.window(layers)?,
        experts: reader.experts()?,
        rope,
        latent,
    })
}

// === impl Reader ===

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name())
    }

    fn size(&self, name: &str) -> Result<usize, LoadError> {
        let key = self.key(name);
        self.bounded(&key, self.file.metadata.size(&key)?)
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize, LoadError> {
        let key = self.key(name);
        self.bounded(&key, self.file.metadata.unsigned_or(&key, default as u64)? as usize)
    }

    fn bounded(&self, key: &str, size: usize) -> Result<usize, LoadError> {
        if size == 0 || size > LARGEST {
            return Err(self.file.corrupt(format!("{key} is {size}")));
        }
        Ok(size)
    }

    fn float_or(&self, name: &str, default: f64) -> Result<f64, LoadError> {
        self.file.metadata.float_or(&self.key(name), default)
    }

    /// A cap, which one family has by default.
    fn cap(&self, name: &str, of: Architecture, usual: f64) -> Result<Option<f32>, LoadError> {
        let default = if self.architecture == of { usual } else { 0.0 };
        Ok(Some(self.float_or(name, default)? as f32).filter(|&cap| cap != 0.0))
    }

    fn rope(&self, default_size: usize) -> Result<Rope, LoadError> {
        let pairs = match self.architecture {
            // In GGUF files of these families, rows of queries and keys are in this order.
            Architecture::Llama | Architecture::DeepSeek2 => RopePairs::Neighbours,
            _ => RopePairs::Halves,
        };
        let local_base = match self.architecture {
            Architecture::Gemma3 => Some(self.float_or("rope.freq_base_swa", GEMMA3_LOCAL_BASE)?),
            _ => None,
        };
        Ok(Rope {
            pairs,
            size: self.size_or("rope.dimension_count", default_size)?,
            base: self.float_or("rope.freq_base", 10_000.0)?,
            local_base,
            scaling: self.scaling()?,
        })
    }

    /// The factor of linear scaling has two names; files from 2023 use the older one. A factor without a type means
    /// linear scaling, and a factor of 0 means none.
    fn scaling(&self) -> Result<RopeScaling, LoadError> {
        let metadata = &self.file.metadata;
        let (named, older) = (self.key("rope.scaling.factor"), self.key("rope.scale_linear"));
        let said = match metadata.float_maybe(&named)? {
            Some(factor) => Some(factor),
            None => metadata.float_maybe(&older)?,
        };
        let factor = || said.map_or_else(|| metadata.float(&named), Ok);
        let kind = metadata.text_maybe(&self.key("rope.scaling.type"))?;
        Ok(match kind.unwrap_or(if said.is_some() { "linear" } else { "none" }) {
            "none" => RopeScaling::None,
            "linear" if said == Some(0.0) => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: factor()? },
            "yarn" => {
                let (factor, context_length) = (factor()?, self.size("context_length")?);
                let weight_in_scores = self.float_or("rope.scaling.yarn_log_multiplier", 0.0)?;
                // DeepSeek has the same weight for queries and keys as for scores; for other families the first is 1.
                let usual = match self.architecture {
                    Architecture::DeepSeek2 if weight_in_scores != 0.0 => 1.0,
                    _ => yarn_magnitude(factor, 1.0) / yarn_magnitude(factor, weight_in_scores),
                };
                RopeScaling::Yarn {
                    factor,
                    original_context: self
                        .size_or("rope.scaling.original_context_length", context_length)?
                        as f64,
                    fast_turns: self.float_or("rope.scaling.yarn_beta_fast", 32.0)?,
                    slow_turns: self.float_or("rope.scaling.yarn_beta_slow", 1.0)?,
                    magnitude: usual * self.float_or("rope.scaling.attn_factor", 1.0)?,
                }
            }
            other => return Err(self.file.unsupported(format!("position scaling {other:?}"))),
        })
    }

    fn attention_scale(
        &self,
        width_per_head: usize,
        layers: usize,
        key_size: usize,
        latent: Option<Latent>,
    ) -> Result<f32, LoadError> {
        if let Some(latent) = latent {
            let plain = one_by_root((latent.nope_size + latent.rope_size) as f64);
            let factor = self.float_or("rope.scaling.factor", 1.0)?;
            // The file contains a tenth of the weight: the converter multiplied it by 0.1.
            let weight = 10.0 * self.float_or("rope.scaling.yarn_log_multiplier", 0.0)?;
            let magnitude = yarn_magnitude(factor, weight) as f32;
            return Ok(plain * magnitude * magnitude);
        }
        // The files do not record that the largest Gemma models divide by the residual stream's width per head.
        let largest = matches!(
            (self.architecture, layers),
            (Architecture::Gemma2, 46) | (Architecture::Gemma3, 62)
        );
        Ok(one_by_root(if largest { width_per_head } else { key_size } as f64))
    }

    fn window(&self, layers: usize) -> Result<Option<Window>, LoadError> {
        let (default, period) = match self.architecture {
            Architecture::Gemma2 => (GEMMA2_WINDOW, GEMMA2_PERIOD),
            Architecture::Gemma3 => (0, GEMMA3_PERIOD),
            _ => return Ok(None),
        };
        let metadata = &self.file.metadata;
        let tokens = metadata.unsigned_or(&self.key("attention.sliding_window"), default)?;
        if tokens == 0 {
            return Ok(None);
        }
        let tokens = self.bounded("attention.sliding_window", tokens as usize)?;
        let pattern = self.key("attention.sliding_window_pattern");
        if let Ok(kinds) = metadata.numbers(&pattern)
            && !kinds.is_empty()
        {
            let layers = kinds.iter().map(|&kind| kind != 0.0).collect();
            return Ok(Some(Window { tokens, layers }));
        }
        let period = metadata.unsigned_or(&pattern, period as u64)? as usize;
        Ok(Some(Window::periodic(tokens, self.bounded(&pattern, period)?, layers)))
    }

    fn latent(&self) -> Result<Option<Latent>, LoadError> {
        if self.architecture != Architecture::DeepSeek2 {
            return Ok(None);
        }
        // Newer files contain the sizes of the absorbed form as well as these.
        let mla = |name: &str| -> Result<usize, LoadError> {
            let key = self.key(&format!("attention.{name}_mla"));
            match self.file.metadata.unsigned(&key)? {
                Some(size) => self.bounded(&key, size as usize),
                None => self.size(&format!("attention.{name}")),
            }
        };
        let (key_size, rope_size) = (mla("key_length")?, self.size("rope.dimension_count")?);
        let query_rank = self.file.metadata.unsigned(&self.key("attention.q_lora_rank"))?;
        Ok(Some(Latent {
            rank: self.size("attention.kv_lora_rank")?,
            rope_size,
            nope_size: key_size.checked_sub(rope_size).filter(|&size| size > 0).ok_or_else(
                || self.file.corrupt(format!("{rope_size} rotated elements of {key_size}")),
            )?,
            value_size: mla("value_length")?,
            query_rank: query_rank.filter(|&rank| rank > 0).map(|rank| rank as usize),
        }))
    }

    fn experts(&self) -> Result<Option<Experts>, LoadError> {
        let metadata = &self.file.metadata;
        let count = metadata.unsigned_or(&self.key("expert_count"), 0)? as usize;
        if count == 0 {
            return Ok(None);
        }
        let name = self.architecture.name();
        if self.architecture != Architecture::DeepSeek2 {
            return Err(self.file.unsupported(format!("experts in architecture {name:?}")));
        }
        let gating = metadata.unsigned_or(&self.key("expert_gating_func"), GATING_SOFTMAX)?;
        if gating > GATING_SOFTMAX {
            return Err(self.file.unsupported(format!("experts chosen by function {gating}")));
        }
        let groups = metadata.unsigned_or(&self.key("expert_group_count"), 1)? as usize;
        let used_groups = self.size_or("expert_group_used_count", 1)?;
        Ok(Some(Experts {
            count: self.bounded("expert_count", count)?,
            used: self.size("expert_used_count")?,
            hidden: self.size("expert_feed_forward_length")?,
            shared: metadata.unsigned_or(&self.key("expert_shared_count"), 0)? as usize,
            dense_layers: metadata.unsigned_or(&self.key("leading_dense_block_count"), 0)? as usize,
            scale: Some(self.float_or("expert_weights_scale", 1.0)? as f32)
                .filter(|&scale| scale != 0.0)
                .unwrap_or(1.0),
            normalise: metadata.flag_or(&self.key("expert_weights_norm"), false)?,
            groups: (groups > 1).then_some(ExpertGroups { count: groups, used: used_groups }),
        }))
    }
}
