//! Reads adapters in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`.
//!
//! Settings that change the arithmetic and are not supported are rejected by field name; settings that only describe
//! the training are ignored. Ranks are taken from the matrices.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Adapter, LowRank, RowOrder};
use crate::error::{AdapterError, LoadError};
use crate::hf::{Config, Entry, Shard, block_type};

/// The matrices.
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// The settings.
pub(super) const CONFIG: &str = "adapter_config.json";
/// Limit; published ones have a few kilobytes.
const MOST_CONFIG_BYTES: u64 = 4 << 20;
/// Prefix of the names of the model's modules.
const WRAPPER: &str = "base_model.model.";

/// Fields that must be absent, false or empty, and the feature that each asks for.
const UNKNOWN: [(&str, &str); 10] = [
    ("use_dora", "DoRA (weight-decomposed adapters)"),
    ("modules_to_save", "whole modules beside the low-rank matrices"),
    ("trainable_token_indices", "trained token embeddings"),
    ("target_parameters", "adapters of parameters that are no modules"),
    ("layer_replication", "layers that are built of others"),
    ("fan_in_fan_out", "matrices that are stored turned over"),
    ("lora_bias", "biases of the low-rank matrices"),
    ("alora_invocation_tokens", "activated LoRA"),
    ("use_qalora", "QA-LoRA"),
    ("use_bdlora", "block-diagonal LoRA"),
];
/// Prefixes of `init_lora_weights` values that change the model's own weights.
const CHANGES_BASE: [&str; 4] = ["pissa", "olora", "loftq", "corda"];

pub(super) fn read(folder: &Path, weights: &Path) -> Result<Adapter, LoadError> {
    let config = Config::read(&folder.join(CONFIG), MOST_CONFIG_BYTES)?;
    let scaling = Scaling::read(&config)?;
    let shard = Shard::open(weights)?;
    let corrupt = |why: String| LoadError::Corrupt { path: weights.to_owned(), why };
    let entries = shard.entries();
    let mut pairs: BTreeMap<&str, [Option<&Entry>; 2]> = BTreeMap::new();
    for entry in &entries {
        let Some((module, side)) = split(&entry.name) else {
            return Err(LoadError::Unsupported {
                path: weights.to_owned(),
                why: format!(
                    "tensor {} is neither lora_A nor lora_B of a projection: only those are known",
                    entry.name
                ),
            });
        };
        if pairs.entry(module).or_default()[side].replace(entry).is_some() {
            return Err(corrupt(format!(
                "{module} has two matrices of one kind: several adapters?"
            )));
        }
    }
    let mut parts = Vec::new();
    for (module, sides) in pairs {
        let [Some(a), Some(b)] = sides else {
            let missing = if sides[0].is_none() { "lora_A" } else { "lora_B" };
            return Err(corrupt(format!("tensor {module}.{missing}.weight is missing")));
        };
        let ([rank, inputs], [outputs, inner]) =
            (matrix(a).map_err(corrupt)?, matrix(b).map_err(corrupt)?);
        if rank != inner {
            return Err(corrupt(format!(
                "{} is {rank} x {inputs} and {} is {outputs} x {inner}: the ranks differ",
                a.name, b.name
            )));
        }
        let scale = scaling.of(module, rank);
        let (a, b) = (floats(&shard, a, weights)?, floats(&shard, b, weights)?);
        parts.push((module.to_owned(), LowRank { rank, inputs, outputs, scale, a, b }));
    }
    let adapter = Adapter::new(RowOrder::HuggingFace, parts).map_err(|error| match error {
        AdapterError::Foreign { .. } => {
            LoadError::Unsupported { path: weights.to_owned(), why: error.to_string() }
        }
        _ => corrupt(error.to_string()),
    })?;
    let base = config.text_maybe("base_model_name_or_path")?.map(str::to_owned);
    Ok(Adapter { base, ..adapter })
}

/// Factors of the products.
struct Scaling {
    alpha: f64,
    by_root: bool,
    /// Of single modules, by suffix of their names.
    alphas: Vec<(String, f64)>,
}

// === impl Scaling ===

impl Scaling {
    fn read(config: &Config) -> Result<Scaling, LoadError> {
        let kind = config.text_maybe("peft_type")?.unwrap_or("LORA");
        if kind != "LORA" {
            return Err(config.unsupported(format!("peft_type {kind:?}; \"LORA\" is known")));
        }
        for (field, what) in UNKNOWN {
            if config.asks_for(field) {
                return Err(config.unsupported(format!("{field}: {what}")));
            }
        }
        let bias = config.text_maybe("bias")?.unwrap_or("none");
        if bias != "none" {
            return Err(config.unsupported(format!("bias {bias:?}; \"none\" is known")));
        }
        let start = config.text_if("init_lora_weights").unwrap_or_default().to_lowercase();
        if CHANGES_BASE.iter().any(|method| start.starts_with(method)) {
            return Err(config.unsupported(format!(
                "init_lora_weights {start:?} changed the model's own weights; convert it to a plain adapter with PEFT \
                 (save_pretrained with path_initial_model_for_weight_conversion)"
            )));
        }
        // Ranks come from the matrices, but a module's own alpha has to be matched by name.
        let mut alphas = Vec::new();
        if let Some(patterns) = config.object("alpha_pattern")? {
            for key in patterns.keys() {
                if !key
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_.".contains(letter))
                {
                    return Err(
                        patterns.unsupported(format!("alpha_pattern {key:?}: no plain name"))
                    );
                }
                alphas.push((key.to_owned(), patterns.float(key)?));
            }
        }
        let by_root = config.flag_or("use_rslora", false)?;
        Ok(Scaling { alpha: config.float("lora_alpha")?, by_root, alphas })
    }

    fn of(&self, module: &str, rank: usize) -> f32 {
        let is_named = |key: &str| {
            module.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let own = self.alphas.iter().find(|(key, _)| is_named(key));
        let alpha = own.map_or(self.alpha, |&(_, alpha)| alpha);
        let rank = rank as f64;
        (alpha / if self.by_root { rank.sqrt() } else { rank }) as f32
    }
}

/// The module of a matrix, and whether it is A (0) or B (1). Some versions insert the adapter's name before `weight`.
fn split(name: &str) -> Option<(&str, usize)> {
    let module = name.strip_prefix(WRAPPER).unwrap_or(name).strip_suffix(".weight")?;
    [".lora_A", ".lora_B"].into_iter().enumerate().find_map(|(side, mark)| {
        let (module, adapter) = module.rsplit_once(mark)?;
        let is_plain = adapter.is_empty() || adapter == ".default";
        is_plain.then_some((module, side))
    })
}

fn matrix(entry: &Entry) -> Result<[usize; 2], String> {
    <[usize; 2]>::try_from(entry.shape.as_slice())
        .map_err(|_| format!("{} is {:?}, no matrix", entry.name, entry.shape))
}

fn floats(shard: &Shard, entry: &Entry, path: &Path) -> Result<Vec<f32>, LoadError> {
    let kind = block_type(entry.dtype).ok_or_else(|| LoadError::Unsupported {
        path: path.to_owned(),
        why: format!(
            "{} has weights of type {:?}; F32, F16 and BF16 are known",
            entry.name, entry.dtype
        ),
    })?;
    let mut floats = vec![0.0; entry.shape.iter().product()];
    kind.read_floats(shard.bytes(entry.offset, entry.bytes), &mut floats);
    Ok(floats)
}
