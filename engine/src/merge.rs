//! Adds an adapter to a model's weights, for programs without adapter support; or replaces weights by trained ones.
//!
//! ```text
//! folder of safetensors -> folder.rs -> a folder: adapted matrices in the base's type or another, all else copied
//! GGUF file             -> gguf.rs   -> a GGUF file: adapted matrices as Q8_0, all else byte for byte
//! ```
//!
//! Sums are computed in floats: `W + scale * B A` with the dequantised W, rounded once at the end. Only one tensor is
//! in memory at a time. Every named matrix can be merged, including those that the engine cannot adapt at run time.
//! Output gets its final name only when it is complete.
//!
//! NOT supported: converting between the two formats. A GGUF file contains no tokenizer that transformers can read, and
//! only llama.cpp's converter turns a folder's tokenizer into GGUF's.

mod folder;
mod gguf;
mod whole;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::adapter::{Adapter, LowRank, in_order};
use crate::error::{AdapterError, LoadError};
use crate::files::ModelFiles;
use crate::hf::{HfFolder, tensor_name};
use crate::model::Shape;
use jury_kernels::cpu::SimdLevel;
use jury_kernels::cpu::rows::add_scaled;

/// The type of a merged folder's matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatType {
    /// 16 bits with the exponent range of f32: the type in which models are trained.
    Bf16,
    /// 32 bits.
    F32,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The file of weights.
    pub weights: PathBuf,
    /// Tensors of the model.
    pub tensors: usize,
    /// Number of tensors that were changed.
    pub changed: usize,
    /// Size of the file, in bytes.
    pub bytes: u64,
}

/// An adapter cannot be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The adapter is for another model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The output would have the other format, or would overwrite existing data.
    #[error("{path}: {why}")]
    Refused {
        /// The output path.
        path: PathBuf,
        /// Why it was rejected, and what to do.
        why: String,
    },
    /// The output could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// Merges `adapter` into the model at `base`. A folder becomes a folder, whose matrices have `float_type` (`None`: the
/// base's); a GGUF file becomes a GGUF file. `progress` receives the number of tensors written, and their total.
///
/// # Errors
/// [`MergeError`]; `out` then contains only what was there before, or a folder without weights.
pub fn merge(
    base: &Path,
    adapter: &Adapter,
    out: &Path,
    float_type: Option<FloatType>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Merged, MergeError> {
    let files = ModelFiles::open(base)?;
    let shape = Shape::read(&files)?;
    adapter.check_family(&shape)?;
    let changes = Changes { adapter, shape: &shape, files: &files, level: SimdLevel::detect() };
    changes.check()?;
    let refused = |why: &str| MergeError::Refused { path: out.to_owned(), why: why.to_owned() };
    let is_gguf_name = out.extension().is_some_and(|extension| extension == "gguf");
    match &files {
        ModelFiles::Folder(_) if is_gguf_name => Err(refused(
            "the model is a folder, and only a folder can be made of it: name one, then make a GGUF file with \
             llama.cpp's convert_hf_to_gguf.py",
        )),
        ModelFiles::Gguf(_) if !is_gguf_name => Err(refused(
            "the model is a GGUF file, which has no Hugging Face tokenizer: name a file that ends in .gguf, or merge \
             into the folder that the file was made of",
        )),
        ModelFiles::Gguf(_) if float_type.is_some() => Err(refused(
            "a type is for folders; in a GGUF file adapted matrices become Q8_0 and the others stay as they are",
        )),
        ModelFiles::Folder(folder) => {
            folder::write(&Edits::Adapter(changes), folder, out, float_type, progress)
        }
        ModelFiles::Gguf(file) => gguf::write(&changes, file, out, progress),
    }
}

/// Copies the folder of safetensors at `base` with trained weights: `weights` are whole tensors by transformers' names,
/// stored as transformers does. Other tensors are unchanged, and all keep the base's types.
///
/// # Errors
/// As [`merge`]; [`MergeError::Refused`] for a GGUF file.
pub fn replace(
    base: &Path,
    weights: &HashMap<String, Vec<f32>>,
    out: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Merged, MergeError> {
    let ModelFiles::Folder(folder) = ModelFiles::open(base)? else {
        let why = "the model is a GGUF file, which has no Hugging Face tokenizer: train the folder of safetensors that \
                   it was made of";
        return Err(MergeError::Refused { path: out.to_owned(), why: why.to_owned() });
    };
    let mut weights = by_gguf_name(weights, &folder)?;
    // The file of a tied model may still contain a head: it equals the embedding table.
    if let (None, Some(&table)) =
        (folder.tensors.get("output.weight"), weights.get("token_embd.weight"))
    {
        weights.insert("output.weight".to_owned(), table);
    }
    folder::write(&Edits::Weights(weights), &folder, out, None, progress)
}

/// Weights by the names of the folder's tensors; checks that all exist with these sizes.
fn by_gguf_name<'a>(
    weights: &'a HashMap<String, Vec<f32>>,
    folder: &HfFolder,
) -> Result<HashMap<String, &'a [f32]>, LoadError> {
    let named = |(name, floats): (&String, &'a Vec<f32>)| {
        let gguf = tensor_name(folder.architecture, name).unwrap_or_default();
        let stored = folder.tensors.get(&gguf).map(|info| info.elements());
        if stored != Some(floats.len() as u64) {
            let (found, stored) = (floats.len(), stored.unwrap_or_default());
            let why = format!("{name} has {stored} elements, the trained one {found}");
            return Err(folder.corrupt(why));
        }
        Ok((gguf, floats.as_slice()))
    };
    weights.iter().map(|(name, floats)| named((name, floats))).collect()
}

/// Changes to a folder's tensors.
enum Edits<'a> {
    Adapter(Changes<'a>),
    Weights(HashMap<String, &'a [f32]>),
}

// === impl Edits ===

impl Edits<'_> {
    /// Whether the tensor of this GGUF name changes.
    fn touch(&self, tensor: &str) -> bool {
        match self {
            Edits::Adapter(changes) => changes.of(tensor).is_some(),
            Edits::Weights(weights) => weights.contains_key(tensor),
        }
    }

    /// Applies the change.
    fn apply(&self, tensor: &str, floats: &mut [f32]) {
        match self {
            Edits::Adapter(changes) => {
                if let Some(part) = changes.of(tensor) {
                    changes.add(part, floats);
                }
            }
            Edits::Weights(weights) => {
                // An unused head may have other sizes than the table.
                let trained = weights.get(tensor).filter(|trained| trained.len() == floats.len());
                if let Some(trained) = trained {
                    floats.copy_from_slice(trained);
                }
            }
        }
    }
}

/// An adapter's changes to a model's tensors.
struct Changes<'a> {
    adapter: &'a Adapter,
    shape: &'a Shape,
    files: &'a ModelFiles,
    level: SimdLevel,
}

// === impl Changes ===

impl<'a> Changes<'a> {
    /// Checks that every part has a matrix of its sizes.
    fn check(&self) -> Result<(), AdapterError> {
        for (name, part) in self.adapter.parts() {
            let info = self.files.tensors().get(&format!("{name}.weight"));
            let dimensions = info.map(|info| info.dimensions.as_slice());
            let &[inputs, outputs] = dimensions.unwrap_or_default() else {
                let why = "the model has no such matrix".to_owned();
                return Err(AdapterError::Unsupported { name: name.to_owned(), why });
            };
            part.check_sizes(name, [inputs, outputs])?;
        }
        Ok(())
    }

    /// The part that changes the tensor of this GGUF name.
    fn of<'name>(&self, tensor: &'name str) -> Option<(&'name str, &'a LowRank)> {
        let name = tensor.strip_suffix(".weight")?;
        Some((name, self.adapter.part(name)?))
    }

    /// Adds a part to its matrix (outputs x inputs).
    fn add(&self, (name, part): (&str, &LowRank), weights: &mut [f32]) {
        let b: Cow<'_, [f32]> = in_order(self.adapter.order(), self.shape, name, part);
        for (row, factors) in weights.chunks_exact_mut(part.inputs).zip(b.chunks_exact(part.rank)) {
            for (a, &factor) in part.a.chunks_exact(part.inputs).zip(factors) {
                add_scaled(self.level, a, part.scale * factor, row);
            }
        }
    }
}
