//! Reads adapters in llama.cpp's format: GGUF files whose `general.type` is adapter, with `<tensor>.lora_a` and
//! `.lora_b`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Adapter, LowRank, RowOrder};
use crate::error::{AdapterError, LoadError};
use crate::gguf::GgufFile;
use crate::tensor::TensorInfo;

/// Whether a file declares itself to be an adapter.
pub(super) fn is_adapter(path: &Path) -> bool {
    let kind = |file: &GgufFile| file.metadata.text_maybe("general.type").ok()?.map(str::to_owned);
    GgufFile::open(path).ok().as_ref().and_then(kind).is_some_and(|kind| kind == "adapter")
}

pub(super) fn read(path: &Path) -> Result<Adapter, LoadError> {
    let file = GgufFile::open(path)?;
    let kind = file.metadata.text_maybe("general.type")?.unwrap_or("model");
    if kind != "adapter" {
        return Err(file.unsupported(format!(
            "general.type is {kind:?}, an adapter's is \"adapter\" (llama.cpp's convert_lora_to_gguf.py makes them)"
        )));
    }
    let method = file.metadata.text("adapter.type")?;
    if method != "lora" {
        return Err(file.unsupported(format!("adapter.type {method:?}; \"lora\" is known")));
    }
    if !file.metadata.numbers("adapter.alora.invocation_tokens")?.is_empty() {
        return Err(file.unsupported("an activated LoRA (adapter.alora.invocation_tokens)"));
    }
    let alpha = file.metadata.float("adapter.lora.alpha")? as f32;
    let mut pairs: BTreeMap<&str, [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for (name, info) in &file.tensors {
        let sides = [name.strip_suffix(".lora_a"), name.strip_suffix(".lora_b")];
        let Some((side, base)) = (0..2).find_map(|side| Some((side, sides[side]?))) else {
            return Err(file.unsupported(format!(
                "tensor {name} is neither .lora_a nor .lora_b: only low-rank matrices are known"
            )));
        };
        pairs.entry(base).or_default()[side] = Some(info);
    }
    let mut parts = Vec::new();
    for (base, sides) in pairs {
        let [Some(a), Some(b)] = sides else {
            let missing = if sides[0].is_none() { "lora_a" } else { "lora_b" };
            return Err(file.corrupt(format!("tensor {base}.{missing} is missing")));
        };
        let ([inputs, rank], [inner, outputs]) = (matrix(&file, base, a)?, matrix(&file, base, b)?);
        if rank != inner {
            return Err(file.corrupt(format!(
                "{base}: lora_a has {rank} rows and lora_b {inner} columns, which must be equal"
            )));
        }
        // llama.cpp treats an alpha of zero like this.
        let scale = if alpha == 0.0 { 1.0 } else { alpha / rank as f32 };
        let (a, b) = (floats(&file, a)?, floats(&file, b)?);
        let name = base.strip_suffix(".weight").unwrap_or(base).to_owned();
        parts.push((name, LowRank { rank, inputs, outputs, scale, a, b }));
    }
    let architecture = file.metadata.text_maybe("general.architecture")?.map(str::to_owned);
    let base = file.metadata.text_maybe("general.base_model.0.name")?.map(str::to_owned);
    let adapter = Adapter::new(RowOrder::Gguf, parts).map_err(|error| refused(&file, &error))?;
    Ok(Adapter { architecture, base, ..adapter })
}

fn matrix(file: &GgufFile, base: &str, info: &TensorInfo) -> Result<[usize; 2], LoadError> {
    <[usize; 2]>::try_from(info.dimensions.as_slice())
        .map_err(|_| file.corrupt(format!("a part of {base} is {:?}, no matrix", info.dimensions)))
}

fn floats(file: &GgufFile, info: &TensorInfo) -> Result<Vec<f32>, LoadError> {
    let mut floats = vec![0.0; info.elements() as usize];
    info.block_type.read_floats(&file.read(info)?, &mut floats);
    Ok(floats)
}

fn refused(file: &GgufFile, error: &AdapterError) -> LoadError {
    match error {
        AdapterError::Foreign { .. } => file.unsupported(error.to_string()),
        _ => file.corrupt(error.to_string()),
    }
}
