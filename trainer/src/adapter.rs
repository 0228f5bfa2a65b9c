//! A learned adapter in PEFT's format: a folder with `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};
use jury_engine::{Adapter, LowRank};
use serde_json::json;

use crate::checkpoint::{Named, write_safetensors};
use crate::durable;
use crate::error::TuneError;
use crate::model::{Model, Parameter, Tuning};

/// Prefix of PEFT's tensor names.
const PREFIX: &str = "base_model.model.";
/// The file of the tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// The file of the settings.
pub const CONFIG: &str = "adapter_config.json";

/// Writes a model's adapter into `folder`, which is created. `base` is the name of the model that it belongs to.
/// Returns the path of the tensors.
///
/// # Errors
/// [`TuneError::Setting`] for a model without adapter, [`TuneError::Write`].
pub fn write(model: &Model, base: &str, folder: &Path) -> Result<PathBuf, TuneError> {
    let Tuning::Lora(lora) = model.tuning() else {
        return Err(TuneError::setting("adapter", "all weights were trained, there is none"));
    };
    std::fs::create_dir_all(folder).map_err(|source| TuneError::write(folder, source))?;
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": lora.targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
    });
    let named = |parameter: &Parameter| {
        Named::of(format!("{PREFIX}{}", parameter.name), parameter.var.as_tensor())
    };
    let tensors = model.parameters().iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let weights = folder.join(WEIGHTS);
    write_safetensors(&weights, tensors, &BTreeMap::from([("format", "pt".to_owned())]))?;
    let mut config = serde_json::to_string_pretty(&config).unwrap_or_default();
    config.push('\n');
    durable::replace(&folder.join(CONFIG), config.as_bytes())?;
    Ok(weights)
}

/// Sets a model's adapter to the one in `folder`.
///
/// # Errors
/// [`TuneError::Load`] for files that are missing or damaged, [`TuneError::Foreign`] for an adapter with another
/// model, rank, scale or choice of matrices.
pub fn read(model: &Model, folder: &Path) -> Result<(), TuneError> {
    let foreign = |why: String| TuneError::foreign(&folder.join(WEIGHTS), why);
    let Tuning::Lora(lora) = model.tuning() else {
        return Err(foreign("all weights are trained, no adapter is".to_owned()));
    };
    let adapter = Adapter::read(folder)?;
    let (found, wanted) = (adapter.parts().count(), model.adapted().count());
    if found != wanted {
        let why =
            format!("it adapts {found} matrices, the model's adapter {wanted}: other targets");
        return Err(foreign(why));
    }
    for (name, down, up) in model.adapted() {
        let part = adapter.part(name);
        let part = part.ok_or_else(|| foreign(format!("it lacks {name}: other targets")))?;
        let shapes = ([part.rank, part.inputs], [part.outputs, part.rank]);
        if (down.dims(), up.dims()) != (&shapes.0[..], &shapes.1[..]) {
            return Err(foreign(format!(
                "{name} is {:?} and {:?}, the model's adapter has {:?} and {:?}: another model or rank",
                shapes.0,
                shapes.1,
                down.dims(),
                up.dims()
            )));
        }
        if part.scale != lora.scale() as f32 {
            return Err(foreign(format!(
                "{name} is multiplied by {}, the model's adapter by {}: another alpha",
                part.scale,
                lora.scale()
            )));
        }
        for (var, values) in [(down, &part.a), (up, &part.b)] {
            let shape = var.shape().clone();
            var.set(&Tensor::from_slice(values, shape, &Device::Cpu)?)?;
        }
    }
    Ok(())
}

/// A model's adapter in the form that the engine accepts.
///
/// # Errors
/// [`TuneError::Setting`] for a model without one.
pub fn parts(model: &Model) -> Result<Vec<(String, LowRank)>, TuneError> {
    let Tuning::Lora(lora) = model.tuning() else {
        let why = "the engine swaps adapters only: train with LoRA, not all weights";
        return Err(TuneError::setting("tuning", why));
    };
    let part = |(name, down, up): (&str, &Var, &Var)| -> Result<(String, LowRank), TuneError> {
        let (rank, inputs) = down.dims2()?;
        let (outputs, _) = up.dims2()?;
        let low = LowRank {
            rank,
            inputs,
            outputs,
            scale: lora.scale() as f32,
            a: down.flatten_all()?.to_vec1()?,
            b: up.flatten_all()?.to_vec1()?,
        };
        Ok((name.to_owned(), low))
    };
    model.adapted().map(part).collect()
}
