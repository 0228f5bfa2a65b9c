//! Writes a merged GGUF file: the base's metadata and tensors byte for byte, except the adapted matrices.

use std::path::Path;

use super::whole::NewFile;
use super::{Changes, MergeError, Merged};
use crate::gguf::GgufFile;
use crate::tensor::TensorInfo;
use half::f16;
use jury_kernels::blocks::BlockType;

/// The version of the format that is written; version 2, which can also be read, has the same layout.
const VERSION: u32 = 3;
/// Weights of a Q8_0 block.
const BLOCK: usize = 32;

pub(super) fn write(
    changes: &Changes<'_>,
    file: &GgufFile,
    out: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Merged, MergeError> {
    if file.paths().len() > 1 {
        let why = "the model is split into several files: join them with llama.cpp's llama-gguf-split --merge first";
        return Err(MergeError::Refused { path: out.to_owned(), why: why.to_owned() });
    }
    if out.symlink_metadata().is_ok() {
        let why = "is there already; name a new file".to_owned();
        return Err(MergeError::Refused { path: out.to_owned(), why });
    }
    let raw = file.raw_metadata()?;
    let mut tensors: Vec<(&String, &TensorInfo)> = file.tensors.iter().collect();
    tensors.sort_unstable_by_key(|(_, info)| info.offset);
    let mut to = NewFile::create(out)?;
    to.write(b"GGUF")?;
    to.write(&VERSION.to_le_bytes())?;
    to.write(&(tensors.len() as u64).to_le_bytes())?;
    to.write(&raw.entries.to_le_bytes())?;
    to.write(&raw.bytes)?;
    let mut offset = 0u64;
    let (mut types, mut changed) = (Vec::new(), 0);
    for (name, info) in &tensors {
        let kind = match changes.of(name) {
            None => info.block_type,
            Some(_) => {
                changed += 1;
                merged_type(info.dimensions[0])
            }
        };
        to.write(&(name.len() as u64).to_le_bytes())?;
        to.write(name.as_bytes())?;
        to.write(&(info.dimensions.len() as u32).to_le_bytes())?;
        for &size in &info.dimensions {
            to.write(&(size as u64).to_le_bytes())?;
        }
        to.write(&kind.code().to_le_bytes())?;
        to.write(&offset.to_le_bytes())?;
        let rows = info.elements() / info.dimensions[0] as u64;
        offset += rows * kind.row_bytes(info.dimensions[0]) as u64;
        offset = offset.next_multiple_of(raw.alignment);
        types.push(kind);
    }
    for (index, ((name, info), kind)) in tensors.iter().zip(types).enumerate() {
        progress(index, tensors.len());
        to.pad(raw.alignment)?;
        let bytes = file.read(info)?;
        match changes.of(name) {
            None => to.write(&bytes)?,
            Some(part) => {
                let mut weights = vec![0.0; info.elements() as usize];
                info.block_type.read_floats(&bytes, &mut weights);
                changes.add(part, &mut weights);
                to.write(&stored(kind, &weights))?;
            }
        }
    }
    // llama.cpp pads the last tensor as well.
    to.pad(raw.alignment)?;
    let bytes = to.finish()?;
    Ok(Merged { weights: out.to_owned(), tensors: tensors.len(), changed, bytes })
}

/// Q8_0, if rows are whole blocks.
fn merged_type(inputs: usize) -> BlockType {
    if inputs.is_multiple_of(BLOCK) { BlockType::Q8_0 } else { BlockType::F16 }
}

fn stored(kind: BlockType, weights: &[f32]) -> Vec<u8> {
    match kind {
        BlockType::Q8_0 => weights.chunks_exact(BLOCK).flat_map(block).collect(),
        _ => weights.iter().flat_map(|&weight| f16::from_f32(weight).to_le_bytes()).collect(),
    }
}

/// A Q8_0 block, rounded as in llama.cpp: a scale in f16, and codes computed with the unrounded scale.
fn block(weights: &[f32]) -> [u8; 2 + BLOCK] {
    let most = weights.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
    let scale = most / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut block = [0; 2 + BLOCK];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (code, &weight) in block[2..].iter_mut().zip(weights) {
        *code = (weight * inverse).round() as i8 as u8;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_within_half_a_step() {
        let weights: Vec<f32> = (0..64).map(|at| (at as f32 * 0.7).sin() * 3.0).collect();
        let bytes = stored(BlockType::Q8_0, &weights);
        let mut read = vec![0.0; 64];
        BlockType::Q8_0.read_floats(&bytes, &mut read);
        for (weight, read) in weights.iter().zip(read) {
            assert!((weight - read).abs() < 3.0 / 127.0 * 0.51, "{weight} {read}");
        }
        assert_eq!(block(&[0.0; 32]), [0; 34]);
    }
}
