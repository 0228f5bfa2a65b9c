//! Writes a merged folder: one file of safetensors, and copies of the base folder's other files.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::whole::NewFile;
use super::{Edits, FloatType, MergeError, Merged};
use crate::hf::{Entry, HfFolder, Shard, block_type, tensor_name};
use half::bf16;
use safetensors::tensor::Dtype;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
/// Extensions of weight files in any format, which the merged file replaces.
const WEIGHT_ENDINGS: [&str; 7] =
    [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".gguf", ".pt", ".pth"];
/// Headers are padded to it, so that tensors are aligned.
const ALIGNMENT: usize = 8;

pub(super) fn write(
    edits: &Edits<'_>,
    folder: &HfFolder,
    out: &Path,
    float_type: Option<FloatType>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Merged, MergeError> {
    make(out)?;
    copy_beside(folder.path(), out, float_type)?;
    let entries: Vec<(&Shard, Entry)> = folder
        .shards()
        .iter()
        .flat_map(|shard| shard.entries().into_iter().map(move |entry| (shard, entry)))
        .collect();
    let (mut header, mut end) = (Map::new(), 0);
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    for (_, entry) in &entries {
        let dtype = stored_type(entry, float_type);
        let start = end;
        end += if dtype == entry.dtype { entry.bytes } else { elements(entry) * size(dtype) };
        let told = json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [start, end]});
        header.insert(entry.name.clone(), told);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(ALIGNMENT) - header.len()));
    let weights = out.join(WEIGHTS);
    let mut to = NewFile::create(&weights)?;
    to.write(&(header.len() as u64).to_le_bytes())?;
    to.write(header.as_bytes())?;
    let mut changed = 0;
    for (index, (shard, entry)) in entries.iter().enumerate() {
        progress(index, entries.len());
        let (bytes, dtype) =
            (shard.bytes(entry.offset, entry.bytes), stored_type(entry, float_type));
        let name = tensor_name(folder.architecture, &entry.name);
        let edited = name.as_deref().filter(|name| edits.touch(name));
        match block_type(entry.dtype) {
            Some(kind) if edited.is_some() || dtype != entry.dtype => {
                let mut floats = vec![0.0; elements(entry)];
                kind.read_floats(bytes, &mut floats);
                if let Some(name) = edited {
                    changed += 1;
                    edits.apply(name, &mut floats);
                }
                to.write(&stored(dtype, &floats))?;
            }
            _ => to.write(bytes)?,
        }
    }
    let bytes = to.finish()?;
    Ok(Merged { weights, tensors: entries.len(), changed, bytes })
}

/// Creates the folder, or uses an empty one: existing files might be someone's only copy.
fn make(out: &Path) -> Result<(), MergeError> {
    let failed = |source| MergeError::Write { path: out.to_owned(), source };
    std::fs::create_dir_all(out).map_err(failed)?;
    if std::fs::read_dir(out).map_err(failed)?.next().is_some() {
        let why = "is not empty; name a new folder".to_owned();
        return Err(MergeError::Refused { path: out.to_owned(), why });
    }
    Ok(())
}

/// Copies settings, tokenizer, template, licence: everything in the folder except weights.
fn copy_beside(from: &Path, to: &Path, float_type: Option<FloatType>) -> Result<(), MergeError> {
    let failed = |source| MergeError::Write { path: to.to_owned(), source };
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let is_weights = WEIGHT_ENDINGS.iter().any(|ending| text.ends_with(ending));
        if is_weights || !entry.path().is_file() {
            continue;
        }
        let target = to.join(&name);
        let failed = |source| MergeError::Write { path: target.clone(), source };
        match float_type {
            Some(float_type) if text == CONFIG => {
                let config = std::fs::read(entry.path()).map_err(failed)?;
                std::fs::write(&target, with_type(&config, float_type)).map_err(failed)?;
            }
            _ => drop(std::fs::copy(entry.path(), &target).map_err(failed)?),
        }
    }
    Ok(())
}

/// The settings with another weight type, in whichever fields already name one.
fn with_type(config: &[u8], float_type: FloatType) -> Vec<u8> {
    let Ok(Value::Object(mut config)) = serde_json::from_slice(config) else {
        return config.to_vec();
    };
    let name = match float_type {
        FloatType::Bf16 => "bfloat16",
        FloatType::F32 => "float32",
    };
    for key in ["torch_dtype", "dtype"] {
        if config.contains_key(key) {
            config.insert(key.to_owned(), name.into());
        }
    }
    let mut text = format!("{:#}", Value::Object(config));
    text.push('\n');
    text.into_bytes()
}

/// Floats get the requested type; other types stay.
fn stored_type(entry: &Entry, float_type: Option<FloatType>) -> Dtype {
    match float_type {
        Some(FloatType::Bf16) if block_type(entry.dtype).is_some() => Dtype::BF16,
        Some(FloatType::F32) if block_type(entry.dtype).is_some() => Dtype::F32,
        _ => entry.dtype,
    }
}

fn elements(entry: &Entry) -> usize {
    entry.shape.iter().product()
}

fn size(dtype: Dtype) -> usize {
    if dtype == Dtype::F32 { 4 } else { 2 }
}

fn stored(dtype: Dtype, floats: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F32 => floats.iter().flat_map(|float| float.to_le_bytes()).collect(),
        Dtype::F16 => {
            floats.iter().flat_map(|&float| half::f16::from_f32(float).to_le_bytes()).collect()
        }
        _ => floats.iter().flat_map(|&float| bf16::from_f32(float).to_le_bytes()).collect(),
    }
}
