//! A shape from a folder's `config.json`. Defaults are those of each family's configuration in transformers.

use super::rope::{RopeScaling, yarn_magnitude};
use super::{
    Activation, ExpertGroups, Experts, Latent, MOST_LAYERS, Rope, Shape, Window, one_by_root,
};
use crate::error::LoadError;
use crate::hf::Config;
use crate::kernels::rows::RopePairs;
use crate::model::Architecture;

const WINDOW_LAYER: &str = "sliding_attention";
const FULL_LAYER: &str = "full_attention";

/// What a family assumes where a configuration is silent.
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
        // `null` switches a cap off, absence means the family's.
        Ok(if config.names(key) { config.float_maybe(key)? } else { usual }.map(|cap| cap as f32))
    };
    let gemma2 = architecture == Architecture::Gemma2;
    let rope_size = latent.map_or(head_size, |latent| latent.rope_size);
    Ok(Shape {
        architecture,
        layers,
        width,
        heads,
        kv_heads,
        key_size,
        value_size,
        hidden: config.size("intermediate_size")?,
        vocabulary: or_default("vocab_size", defaults.vocabulary)?,
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

fn rope(
    architecture: Architecture,
    config: &Config,
    size: usize,
    default_base: f64,
) -> Result<Rope, LoadError> {
    let whole = config.object("rope_parameters")?;
    // One for all layers, or one for each kind of layer.
    let global = match &whole {
        Some(whole) => whole.object(FULL_LAYER)?.or_else(|| Some(whole.clone())),
        None => config.object("rope_scaling")?,
    };
    let base = match (&whole, &global) {
        (Some(_), Some(global)) => global.float_or("rope_theta", default_base)?,
        _ => config.float_or("rope_theta", default_base)?,
    };
    let local_base = match (architecture, &whole) {
        (Architecture::Gemma3, Some(whole)) => Some(match whole.object(WINDOW_LAYER)? {
            Some(local) => local.float_or("rope_theta", 10_000.0)?,
            None => 10_000.0,
        }),
        (Architecture::Gemma3, None) => Some(config.float_or("rope_local_base_freq", 10_000.0)?),
        _ => None,
    };
    let in_part = |config: &Config| config.float_or("partial_rotary_factor", 1.0);
    let part = in_part(config)? * global.as_ref().map_or(Ok(1.0), in_part)?;
    if !(0.0..=1.0).contains(&part) {
        return Err(config.corrupt(format!("partial_rotary_factor is {part}")));
    }
    let pairs = match architecture {
        Architecture::DeepSeek2 => RopePairs::Neighbours,
        _ => RopePairs::Halves,
    };
    let scaling = global.map_or(Ok(RopeScaling::None), |global| scaling(config, &global))?;
    Ok(Rope { pairs, size: (size as f64 * part) as usize, base, local_base, scaling })
}

fn scaling(config: &Config, rope: &Config) -> Result<RopeScaling, LoadError> {
    let kind = match rope.text_maybe("rope_type")? {
        Some(kind) => kind,
        None => rope.text_maybe("type")?.unwrap_or("default"),
    };
    let original_context = || match rope.size_maybe("original_max_position_embeddings")? {
        Some(context) => Ok(context as f64),
        None => config.size("max_position_embeddings").map(|context| context as f64),
    };
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: rope.float("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: rope.float("factor")?,
            low_turns: rope.float("low_freq_factor")?,
            high_turns: rope.float("high_freq_factor")?,
            original_context: original_context()?,
        },
        "yarn" => {
            if !rope.flag_or("truncate", true)? {
                return Err(config.unsupported("YaRN without truncation"));
            }
            let factor = rope.float("factor")?;
            let weight = rope.float_or("mscale", 0.0)?;
            let weight_in_scores = rope.float_or("mscale_all_dim", 0.0)?;
            let usual = if weight != 0.0 && weight_in_scores != 0.0 {
                yarn_magnitude(factor, weight) / yarn_magnitude(factor, weight_in_scores)
            } else {
                yarn_magnitude(factor, 1.0)
            };
            RopeScaling::Yarn {
                factor,
                original_context: original_context()?,
                fast_turns: rope.float_or("beta_fast", 32.0)?,
                slow_turns: rope.float_or("beta_slow", 1.0)?,
                magnitude: rope.float_or("attention_factor", usual)?,
            }
        }
        other => return Err(config.unsupported(format!("position scaling {other:?}"))),
    })
}

fn attention_scale(
    architecture: Architecture,
    config: &Config,
    key_size: usize,
    latent: Option<Latent>,
) -> Result<f32, LoadError> {
    let Some(latent) = latent else {
        let size = match architecture.is_gemma() {
            true => config.float_or("query_pre_attn_scalar", 256.0)?,
            false => key_size as f64,
        };
        return Ok(one_by_root(size));
    };
    let plain = one_by_root((latent.nope_size + latent.rope_size) as f64);
    let rope = match config.object("rope_parameters")? {
        Some(rope) => Some(rope),
        None => config.object("rope_scaling")?,
    };
    let Some(rope) = rope else { return Ok(plain) };
    let weight = rope.float_or("mscale_all_dim", 0.0)?;
    let magnitude = yarn_magnitude(rope.float_or("factor", 1.0)?, weight) as f32;
    Ok(plain * magnitude * magnitude)
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
