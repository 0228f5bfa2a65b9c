//! What was learned, as PEFT has it: a folder of `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde_json::json;

use crate::checkpoint::{bytes, floats, write_safetensors};
use crate::durable;
use crate::error::TuneError;
use crate::model::{Model, Tuning};

/// How PEFT's names begin.
const PREFIX: &str = "base_model.model.";
/// The file of the tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// The file of the settings.
pub const CONFIG: &str = "adapter_config.json";

/// Writes a model's adapter into `folder`, which is made. `base` is the name of the model that it belongs to. Gives the
/// path of the tensors.
///
/// # Errors
/// [`TuneError::Setting`] for a model without adapter, [`TuneError::Io`].
pub fn write(model: &Model, base: &str, folder: &Path) -> Result<PathBuf, TuneError> {
    let Tuning::Lora(lora) = model.tuning() else {
        return Err(TuneError::setting("adapter", "all weights were trained, there is none"));
    };
    std::fs::create_dir_all(folder).map_err(|source| TuneError::io("make", folder, source))?;
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
    let mut tensors = Vec::new();
    for parameter in model.parameters() {
        let values = parameter.var.flatten_all()?.to_vec1::<f32>()?;
        let name = format!("{PREFIX}{}", parameter.name);
        tensors.push((name, parameter.var.dims().to_vec(), bytes(&values)));
    }
    let weights = folder.join(WEIGHTS);
    write_safetensors(&weights, &tensors, HashMap::from([("format".to_owned(), "pt".to_owned())]))?;
    let mut config = serde_json::to_string_pretty(&config).unwrap_or_default();
    config.push('\n');
    durable::replace(&folder.join(CONFIG), config.as_bytes())?;
    Ok(weights)
}

/// Sets a model's adapter to the one in `folder`.
///
/// # Errors
/// [`TuneError::Foreign`] for one of another model, rank or choice of matrices.
pub fn read(model: &Model, folder: &Path) -> Result<(), TuneError> {
    let path = folder.join(WEIGHTS);
    let bytes = std::fs::read(&path).map_err(|source| TuneError::io("read", &path, source))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| TuneError::foreign(&path, error.to_string()))?;
    if tensors.len() != model.parameters().len() {
        let (found, wanted) = (tensors.len(), model.parameters().len());
        let why = format!("it has {found} tensors, the model's adapter {wanted}: other targets");
        return Err(TuneError::foreign(&path, why));
    }
    for parameter in model.parameters() {
        let name = format!("{PREFIX}{}", parameter.name);
        let tensor =
            tensors.tensor(&name).map_err(|error| TuneError::foreign(&path, error.to_string()))?;
        if tensor.shape() != parameter.var.dims() {
            let why = format!(
                "{name} is {:?}, the model's adapter has {:?}: another model or rank",
                tensor.shape(),
                parameter.var.dims()
            );
            return Err(TuneError::foreign(&path, why));
        }
        let values = floats(tensor.data());
        let shape = parameter.var.shape().clone();
        parameter.var.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    Ok(())
}
