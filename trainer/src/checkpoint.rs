//! Where a run stands, in one file: parameters, AdamW's moments, and what the run says of itself.
//!
//! Written whole or not at all. Equal runs write equal bytes: a run that was ended and went on is the run that was not.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::durable;
use crate::error::TuneError;
use crate::model::Model;
use crate::optimiser::AdamW;

/// The key of the run's own words in the file's metadata.
const STATE: &str = "jury";

/// Writes a checkpoint; `state` is whatever else the run needs to go on.
///
/// # Errors
/// [`TuneError::Write`]; the checkpoint before still stands then.
pub fn save(
    path: &Path,
    model: &Model,
    optimiser: &AdamW,
    state: &impl Serialize,
) -> Result<(), TuneError> {
    let mut tensors = Vec::new();
    for (index, parameter) in model.parameters().iter().enumerate() {
        let shape = parameter.var.dims().to_vec();
        let values = parameter.var.flatten_all()?.to_vec1::<f32>()?;
        for (kind, floats) in [
            ("value", &values),
            ("first", &optimiser.first[index]),
            ("second", &optimiser.second[index]),
        ] {
            tensors.push((format!("{kind}.{}", parameter.name), shape.clone(), bytes(floats)));
        }
    }
    let state = serde_json::to_string(state)
        .map_err(|error| TuneError::foreign(path, error.to_string()))?;
    write_safetensors(path, &tensors, HashMap::from([(STATE.to_owned(), state)]))
}

/// Sets model and optimiser to a checkpoint, and gives the run's state; `None` without a file.
///
/// # Errors
/// [`TuneError::Foreign`] for a file that is damaged or of another model.
pub fn load<S: DeserializeOwned>(
    path: &Path,
    model: &Model,
    optimiser: &mut AdamW,
    steps: impl FnOnce(&S) -> u64,
) -> Result<Option<S>, TuneError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TuneError::read(path, source)),
    };
    let damaged = |why: String| TuneError::foreign(path, format!("no checkpoint: {why}"));
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let state = metadata.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
    let state: S = serde_json::from_str(state.map_or("", String::as_str))
        .map_err(|error| damaged(error.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let floats = |name: String, size: usize| -> Result<Vec<f32>, TuneError> {
        let tensor = tensors.tensor(&name).map_err(|error| damaged(error.to_string()))?;
        let floats = floats(tensor.data());
        if tensor.dtype() != Dtype::F32 || floats.len() != size {
            return Err(damaged(format!("{name} is of another model")));
        }
        Ok(floats)
    };
    for (index, parameter) in model.parameters().iter().enumerate() {
        let (name, size) = (&parameter.name, parameter.var.elem_count());
        let values = floats(format!("value.{name}"), size)?;
        optimiser.first[index] = floats(format!("first.{name}"), size)?;
        optimiser.second[index] = floats(format!("second.{name}"), size)?;
        let shape = parameter.var.shape().clone();
        parameter.var.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
    }
    optimiser.steps = steps(&state);
    Ok(Some(state))
}

/// Writes named f32 tensors.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &[(String, Vec<usize>, Vec<u8>)],
    metadata: HashMap<String, String>,
) -> Result<(), TuneError> {
    let unfit = |error: safetensors::SafeTensorError| TuneError::foreign(path, error.to_string());
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(unfit)?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(unfit)?;
    durable::replace(path, &bytes)
}

pub(crate) fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}
