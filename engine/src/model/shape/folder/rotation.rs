//! Settings of rotation, and the scale of attention scores, which some families stretch together.

use super::{FULL_LAYER, WINDOW_LAYER};
use crate::error::LoadError;
use crate::hf::Config;
use crate::model::Architecture;
use crate::model::shape::rope::{RopeScaling, yarn_magnitude};
use crate::model::shape::{Latent, Rope, one_by_root};
use jury_kernels::cpu::rows::RopePairs;

pub(super) fn rope(
    architecture: Architecture,
    config: &Config,
    size: usize,
    default_base: f64,
) -> Result<Rope, LoadError> {
    let whole = config.object("rope_parameters")?;
    let global = global(config, whole.as_ref())?;
    // Settings missing from the newer fields may be in the older ones.
    let newer = |part: Option<&Config>, key: &str| part.map_or(Ok(None), |it| it.float_maybe(key));
    let base = match newer(global.as_ref().filter(|_| whole.is_some()), "rope_theta")? {
        Some(base) => base,
        None => config.float_or("rope_theta", default_base)?,
    };
    let local = whole.as_ref().map_or(Ok(None), |whole| whole.object(WINDOW_LAYER))?;
    let local_base = match newer(local.as_ref(), "rope_theta")? {
        _ if architecture != Architecture::Gemma3 => None,
        Some(base) => Some(base),
        None => Some(config.float_or("rope_local_base_freq", 10_000.0)?),
    };
    let part = match newer(global.as_ref(), "partial_rotary_factor")? {
        Some(part) => part,
        None => config.float_or("partial_rotary_factor", 1.0)?,
    };
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

/// The scaling of layers without a window: the newer `rope_parameters`, one for all layers or one for each kind, or the
/// older `rope_scaling`. If both are present, for example after an edit by hand, they must agree.
fn global(config: &Config, whole: Option<&Config>) -> Result<Option<Config>, LoadError> {
    let older = config.object("rope_scaling")?;
    let Some(whole) = whole else { return Ok(older) };
    let newer = whole.object(FULL_LAYER)?.unwrap_or_else(|| whole.clone());
    if let Some(older) = older {
        let said = |rope: &Config| -> Result<_, LoadError> {
            Ok((scaling(config, rope)?, rope.float_or("mscale_all_dim", 0.0)?))
        };
        if said(&newer)? != said(&older)? {
            return Err(config.corrupt(
                "rope_parameters and rope_scaling scale positions differently: remove the one that is not meant",
            ));
        }
    }
    Ok(Some(newer))
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

pub(super) fn attention_scale(
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
    let Some(rope) = global(config, config.object("rope_parameters")?.as_ref())? else {
        return Ok(plain);
    };
    let weight = rope.float_or("mscale_all_dim", 0.0)?;
    let magnitude = yarn_magnitude(rope.float_or("factor", 1.0)?, weight) as f32;
    Ok(plain * magnitude * magnitude)
}
