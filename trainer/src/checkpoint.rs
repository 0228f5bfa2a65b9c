//! The state of a run in one file: parameters, AdamW's moments, and the run's own state.
//!
//! Written completely or not at all. Equal runs write equal bytes, and a run that was interrupted and resumed equals
//! one that was not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::durable;
use crate::error::TuneError;
use crate::model::Model;
use crate::optimiser::AdamW;

/// The key of the run's own state in the file's metadata.
const STATE: &str = "jury";
/// Upper bound of safetensors headers.
const MOST_HEADER_BYTES: u64 = 100_000_000;
/// Alignment to which safetensors headers are padded.
const ALIGNMENT: usize = 8;

/// Writes a checkpoint; `state` is whatever else the run needs to continue.
///
/// # Errors
/// [`TuneError::Write`]; the previous checkpoint is intact in that case.
pub fn save(
    path: &Path,
    model: &Model,
    optimiser: &AdamW,
    state: &impl Serialize,
) -> Result<(), TuneError> {
    let mut tensors = Vec::new();
    for (index, parameter) in model.parameters().iter().enumerate() {
        let (name, dims) = (&parameter.name, parameter.var.dims());
        tensors.push(Named::of(format!("value.{name}"), &parameter.var)?);
        let moments = [("first", &optimiser.first[index]), ("second", &optimiser.second[index])];
        for (kind, floats) in moments {
            let (name, floats) = (format!("{kind}.{name}"), Cow::Borrowed(floats.as_slice()));
            tensors.push(Named { name, shape: dims.to_vec(), floats });
        }
    }
    let state = serde_json::to_string(state)
        .map_err(|error| TuneError::foreign(path, error.to_string()))?;
    write_safetensors(path, tensors, &BTreeMap::from([(STATE, state)]))
}

/// Restores model and optimiser from a checkpoint, and returns the run's state; `None` if there is no file. Before
/// anything is restored, `steps` returns the number of steps of a state, or why it belongs to another run.
///
/// # Errors
/// [`TuneError::Foreign`] for a file that is damaged or of another model, and any error of `steps`.
pub fn load<S: DeserializeOwned>(
    path: &Path,
    model: &Model,
    optimiser: &mut AdamW,
    steps: impl FnOnce(&S) -> Result<u64, TuneError>,
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
    let steps = steps(&state)?;
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
    optimiser.steps = steps;
    Ok(Some(state))
}

/// Only the run's state, a few bytes of a large file; `None` if there is no file.
///
/// # Errors
/// As [`load`].
pub fn state<S: DeserializeOwned>(path: &Path) -> Result<Option<S>, TuneError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TuneError::read(path, source)),
    };
    let damaged = |why: String| TuneError::foreign(path, format!("no checkpoint: {why}"));
    let read = |mut file: File| -> std::io::Result<Vec<u8>> {
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut header = Vec::new();
        let length = u64::from_le_bytes(length).min(MOST_HEADER_BYTES);
        file.take(length).read_to_end(&mut header)?;
        Ok(header)
    };
    let header = read(file).map_err(|error| damaged(error.to_string()))?;
    let header: Value =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let state = header["__metadata__"][STATE].as_str().unwrap_or_default();
    serde_json::from_str(state).map(Some).map_err(|error| damaged(error.to_string()))
}

/// A tensor to write.
pub(crate) struct Named<'a> {
    pub(crate) name: String,
    shape: Vec<usize>,
    floats: Cow<'a, [f32]>,
}

// === impl Named ===

impl Named<'_> {
    pub(crate) fn of(name: String, tensor: &Tensor) -> Result<Named<'static>, TuneError> {
        let floats = Cow::Owned(tensor.flatten_all()?.to_vec1::<f32>()?);
        Ok(Named { name, shape: tensor.dims().to_vec(), floats })
    }
}

/// Writes f32 tensors by name, one at a time, so that weights and moments are never copied as a whole in memory.
pub(crate) fn write_safetensors(
    path: &Path,
    mut tensors: Vec<Named<'_>>,
    metadata: &BTreeMap<&str, String>,
) -> Result<(), TuneError> {
    tensors.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    header.insert("__metadata__".to_owned(), json!(metadata));
    for Named { name, shape, floats } in &tensors {
        let start = end;
        end += size_of_val(&**floats);
        let told = json!({"dtype": Dtype::F32, "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), told);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(ALIGNMENT) - header.len()));
    durable::replace_by(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for tensor in &tensors {
            let bytes: Vec<u8> =
                tensor.floats.iter().flat_map(|float| float.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
        Ok(())
    })
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}
