//! Adapters made for the fixtures, fixtures with an adapter added to the weights, and the distance between the two.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::bf16;
use jury_engine::{Adapter, LowRank, RowOrder};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tempfile::TempDir;

use crate::support::{config, load_file};

/// Families whose every projection can be adapted.
pub const FAMILIES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"];
pub const MODULES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// Numbers around zero, of about `size`.
pub fn noise(count: usize, salt: u64, size: f32) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * size
    };
    (0..count).map(|_| next()).collect()
}

pub struct Tensor {
    pub shape: Vec<usize>,
    pub floats: Vec<f32>,
}

/// All tensors of a fixture.
pub fn tensors(folder: &Path) -> HashMap<String, Tensor> {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |view: &TensorView<'_>| -> Vec<f32> {
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::BF16 => {
                data.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    file.tensors()
        .into_iter()
        .map(|(name, view)| (name, Tensor { shape: view.shape().to_vec(), floats: floats(&view) }))
        .collect()
}

/// An adapter of all projections of a fixture, with Hugging Face's names.
pub fn parts(folder: &Path, rank: usize, salt: u64, size: f32) -> BTreeMap<String, LowRank> {
    let mut parts = BTreeMap::new();
    for (name, tensor) in tensors(folder) {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        let Some(at) = MODULES.iter().position(|known| module.ends_with(known)) else { continue };
        let [outputs, inputs] = tensor.shape[..] else { panic!("{name}") };
        let layer: u64 = module.split('.').nth(2).unwrap().parse().unwrap();
        let salt = salt * 1_000 + layer * 10 + at as u64;
        let part = LowRank {
            rank,
            inputs,
            outputs,
            scale: 0.75,
            a: noise(rank * inputs, salt, 1.0),
            b: noise(outputs * rank, salt + 5, size),
        };
        parts.insert(module.to_owned(), part);
    }
    assert!(parts.len().is_multiple_of(MODULES.len()) && !parts.is_empty());
    parts
}

pub fn adapter(parts: &BTreeMap<String, LowRank>) -> Adapter {
    Adapter::new(RowOrder::HuggingFace, parts.clone()).unwrap()
}

/// The fixture with an adapter added to its weights.
pub fn merged(folder: &Path, parts: &BTreeMap<String, LowRank>) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        if folder.join(name).exists() {
            std::fs::copy(folder.join(name), to.path().join(name)).unwrap();
        }
    }
    let mut tensors = tensors(folder);
    for (module, part) in parts {
        let tensor = tensors.get_mut(&format!("{module}.weight")).unwrap();
        for (at, weight) in tensor.floats.iter_mut().enumerate() {
            let (row, column) = (at / part.inputs, at % part.inputs);
            let sum: f32 = (0..part.rank)
                .map(|k| part.b[row * part.rank + k] * part.a[k * part.inputs + column])
                .sum();
            *weight += part.scale * sum;
        }
    }
    write(&to.path().join("model.safetensors"), &tensors);
    to
}

fn write(path: &Path, tensors: &HashMap<String, Tensor>) {
    let bytes: HashMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.floats.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, tensor)| {
        (name, TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[name]).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// Root mean square of the differences.
pub fn distance(one: &[f32], other: &[f32]) -> f64 {
    let squares = one.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2));
    (squares.sum::<f64>() / one.len() as f64).sqrt()
}

/// Tokens for a vocabulary of at least 200.
pub fn prompt(salt: u64, length: usize) -> Vec<u32> {
    noise(length, salt, 1.0).into_iter().map(|x| ((x + 1.0) * 99.0) as u32).collect()
}

pub fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The order in which llama.cpp stores the rows of llama's queries and keys.
pub fn interleaved(part: &LowRank, head: usize) -> LowRank {
    let rows = (0..part.outputs).flat_map(|row| {
        let (first, at) = (row / head * head, row % head);
        part.b[(first + at % 2 * (head / 2) + at / 2) * part.rank..][..part.rank].to_vec()
    });
    LowRank { b: rows.collect(), ..part.clone() }
}

/// Distance between merged files and base plus adapter, and how far the adapter moves the base.
pub fn apart(base: &Path, adapter: &Adapter, merged: &Path, prompt: &[u32]) -> (f64, f64) {
    let mut engine = load_file(base, &config(2));
    let id = engine.load_adapter(adapter).unwrap();
    let beside = engine.logits_after_adapted(prompt, id).unwrap();
    let own = engine.logits_after(prompt).unwrap();
    let whole = load_file(merged, &config(2)).logits_after(prompt).unwrap();
    (distance(&beside, &whole), distance(&beside, &own))
}
