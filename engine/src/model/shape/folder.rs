//! A shape from a folder's `config.json`. Defaults are those of the families' configurations in transformers.

mod rotation;

use super::{Activation, ExpertGroups, Experts, Latent, MOST_LAYERS, Shape, Window};
use crate::error::LoadError;
use crate::hf::Config;
use crate::model::Architecture;
use rotation::{attention_scale, rope};

/// Kinds of layers, as named in configurations.
const WINDOW_LAYER: &str = "sliding_attention";
const FULL_LAYER: &str = "full_attention";

/// A family's defaults for missing settings.
struct Defaults {
    vocabulary: Option<usize>,
    heads: Option<usize>,
    kv_heads: Option<usize>,
    head_size: Option<usize>,
    context: Option<usize>,
    rope_base: f64,
    window_tokens: Option<usize>,
    window_period: usize,
}

pub(super) fn read(architecture: Architecture, config: &Config) -> Result<Shape, LoadError> {
    let defaults = Defaults::of(architecture);
    let or_default = |key: &str, default: Option<usize>| match default {
        Some(default) => config.size_or(key, default),
        None => config.size(key),
    };
    let width = config.size("hidden_size")?;
    let heads = or_default("num_attention_heads", defaults.heads)?;
    let layers = config.size("num_hidden_layers")?.min(MOST_LAYERS + 1);
    let latent = latent(architecture, config)?;
    let head_size = match defaults.head_size {
        Some(size) => config.size_or("head_dim", size)?,
        None => config.size_or("head_dim", width.checked_div(heads).unwrap_or(0))?,
    };
    let (kv_heads, key_size, value_size) = match latent {
        Some(latent) => (1, latent.rank + latent.rope_size, latent.rank),
        None => {
            let kv_heads = defaults.kv_heads.unwrap_or(heads);
            (config.size_or("num_key_value_heads", kv_heads)?, head_size, head_size)
        }
    };
    let gemma = architecture.is_gemma();
    let cap = |key: &str, usual: Option<f64>| -> Result<Option<f32>, LoadError> {
        // `null` disables a cap; a missing field means the family's default.
        Ok(if config.names(key) { config.float_maybe(key)? } else { usual }.map(|cap| cap as f32))
    };
    let gemma2 = architecture == Architecture::Gemma2;
    let rope_size = latent.map_or(head_size, |latent| latent.rope_size);
    let vocabulary = or_default("vocab_size", defaults.vocabulary)?;
    Ok(Shape {
        architecture,
        layers,
        width,
        heads,
        kv_heads,
        key_size,
        value_size,
        hidden: config.size("intermediate_size")?,
        vocabulary,
        outputs: vocabulary,
        context_length: or_default("max_position_embeddings", defaults.context)?,
        norm_epsilon: config.float_or("rms_norm_eps", 1e-6)? as f32,
        rope: rope(architecture, config, rope_size, defaults.rope_base)?,
        activation: activation(architecture, config)?,
        embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
        attention_scale: attention_scale(architecture, config, key_size, latent)?,
        attention_softcap: cap("attn_logit_softcapping", gemma2.then_some(50.0))?,
        logit_softcap: cap("final_logit_softcapping", gemma2.then_some(30.0))?,
        window: window(architecture, config, &defaults, layers)?,
        experts: experts(architecture, config)?,
        latent,
    })
}

// === impl Defaults ===

impl Defaults {
    fn of(architecture: Architecture) -> Defaults {
        let plain = Defaults {
            vocabulary: None,
            heads: None,
            kv_heads: None,
            head_size: None,
            context: None,
            rope_base: 10_000.0,
            window_tokens: None,
            window_period: 1,
        };
        match architecture {
            Architecture::Llama | Architecture::Qwen2 | Architecture::DeepSeek2 => plain,
            Architecture::Qwen3 => Defaults { head_size: Some(128), ..plain },
            Architecture::Gemma2 => Defaults {
                vocabulary: Some(256_000),
                heads: Some(8),
                kv_heads: Some(4),
                head_size: Some(256),
                context: Some(8_192),
                window_tokens: Some(4_096),
                window_period: 2,
                ..plain
            },
            Architecture::Gemma3 => Defaults {
                vocabulary: Some(262_208),
                heads: Some(8),
                kv_heads: Some(4),
                head_size: Some(256),
                context: Some(131_072),
                rope_base: 1_000_000.0,
                window_tokens: Some(4_096),
                window_period: 6,
            },
        }
    }
}

fn activation(architecture: Architecture, config: &Config) -> Result<Activation, LoadError> {
    let (key, usual) = match architecture.is_gemma() {
        true => ("hidden_activation", "gelu_pytorch_tanh"),
        false => ("hidden_act", "silu"),
    };
    match config.text_maybe(key)?.unwrap_or(usual) {
        "silu" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(config.unsupported(format!("{key} {other:?}"))),
    }
}

fn window(
    architecture: Architecture,
    config: &Config,
    defaults: &Defaults,
    layers: usize,
) -> Result<Option<Window>, LoadError> {
    let has_window = match architecture {
        Architecture::Gemma2 | Architecture::Gemma3 => true,
        Architecture::Qwen2 | Architecture::Qwen3 => config.flag_or("use_sliding_window", false)?,
        Architecture::Llama | Architecture::DeepSeek2 => false,
    };
    if config.flag_or("use_bidirectional_attention", false)? {
        return Err(config.unsupported("attention in both directions"));
    }
    if !has_window {
        return Ok(None);
    }
    let tokens = match defaults.window_tokens {
        Some(tokens) => config.size_or("sliding_window", tokens)?,
        None => config.size("sliding_window")?,
    };
    if let Some(kinds) = config.texts_maybe("layer_types")? {
        if let Some(kind) = kinds.iter().find(|&&kind| kind != WINDOW_LAYER && kind != FULL_LAYER) {
            return Err(config.unsupported(format!("layers of type {kind:?}")));
        }
        let layers = kinds.into_iter().map(|kind| kind == WINDOW_LAYER).collect();
        return Ok(Some(Window { tokens, layers }));
    }
    if !architecture.is_gemma() {
        let first = config.size_or("max_window_layers", 28)?;
        let layers = (0..layers).map(|layer| layer >= first).collect();
        return Ok(Some(Window { tokens, layers }));
    }
    let period = config.size_or("sliding_window_pattern", defaults.window_period)?;
    if period == 0 {
        return Err(config.corrupt("sliding_window_pattern is 0"));
    }
    Ok(Some(Window::periodic(tokens, period, layers)))
}

fn latent(architecture: Architecture, config: &Config) -> Result<Option<Latent>, LoadError> {
    if architecture != Architecture::DeepSeek2 {
        return Ok(None);
    }
    Ok(Some(Latent {
        rank: config.size("kv_lora_rank")?,
        rope_size: config.size("qk_rope_head_dim")?,
        nope_size: config.size("qk_nope_head_dim")?,
        value_size: config.size("v_head_dim")?,
        query_rank: config.size_maybe("q_lora_rank")?,
    }))
}

fn experts(architecture: Architecture, config: &Config) -> Result<Option<Experts>, LoadError> {
    if architecture != Architecture::DeepSeek2 {
        return Ok(None);
    }
    let Some(count) = config.size_maybe("n_routed_experts")? else { return Ok(None) };
    if config.size_or("moe_layer_freq", 1)? != 1 {
        return Err(config.unsupported("experts in some layers only"));
    }
    if config.text_maybe("scoring_func")?.unwrap_or("softmax") != "softmax" {
        return Err(config.unsupported("experts that are not chosen by softmax"));
    }
    let groups = match config.text_maybe("topk_method")?.unwrap_or("greedy") {
        "greedy" => None,
        "group_limited_greedy" => {
            Some(ExpertGroups { count: config.size("n_group")?, used: config.size("topk_group")? })
        }
        other => return Err(config.unsupported(format!("topk_method {other:?}"))),
    };
    Ok(Some(Experts {
        count,
        used: config.size("num_experts_per_tok")?,
        hidden: config.size("moe_intermediate_size")?,
        shared: config.size_or("n_shared_experts", 0)?,
        dense_layers: config.size_or("first_k_dense_replace", 0)?,
        scale: config.float_or("routed_scaling_factor", 1.0)? as f32,
        normalise: config.flag_or("norm_topk_prob", false)?,
        groups,
    }))
}
