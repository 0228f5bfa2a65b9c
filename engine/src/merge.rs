//! Adds an adapter to a model's weights, for programs that know no adapters; or puts trained weights in their place.
//!
//! ```text
//! folder of safetensors -> folder.rs -> a folder: adapted matrices in the base's type or another, all else copied
//! GGUF file             -> gguf.rs   -> a GGUF file: adapted matrices as Q8_0, all else byte for byte
//! ```
//!
//! Sums are floats: `W + scale * B A`, W as it was dequantised, rounded once at the end. One tensor is in memory at a time.
//! Every matrix that has a name can be merged, those included that the engine cannot adapt while it runs. What is written
//! gets its name when it is whole.
//!
//! NOT here: one form from the other. A GGUF file has no tokenizer that transformers reads, and a folder's tokenizer becomes
//! GGUF's in llama.cpp's converter alone.

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
    /// 16 bits with the range of floats: what models are trained in.
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
    /// Those that were changed.
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
    /// The other form is asked for, or what is there would be lost.
    #[error("{path}: {why}")]
    Refused {
        /// Where it was to go.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// It could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Merges `adapter` into the model at `base`. A folder becomes a folder, whose matrices have `float_type` (`None`: the
/// base's); a GGUF file becomes a GGUF file. `progress` is told how many tensors are written, of how many.
///
/// # Errors
/// [`MergeError`]; then nothing is at `out` but what was there, or a folder without weights.
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

/// Writes the folder of safetensors at `base` again, with trained weights: `weights` are whole tensors by transformers'
/// names, as transformers stores them. Tensors that are not among them stay as they are, and all have the base's types.
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
    // A file of a tied model may have kept a head all the same: it is the table still.
    if let (None, Some(&table)) =
        (folder.tensors.get("output.weight"), weights.get("token_embd.weight"))
    {
        weights.insert("output.weight".to_owned(), table);
    }
    folder::write(&Edits::Weights(weights), &folder, out, None, progress)
}

/// Weights by the names of the folder's tensors, all of which are there in these sizes.
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

/// What becomes of a folder's tensors.
enum Edits<'a> {
    Adapter(Changes<'a>),
    Weights(HashMap<String, &'a [f32]>),
}

// === impl Edits ===

impl Edits<'_> {
    /// Whether the tensor of this name, GGUF's, changes.
    fn touch(&self, tensor: &str) -> bool {
        match self {
            Edits::Adapter(changes) => changes.of(tensor).is_some(),
            Edits::Weights(weights) => weights.contains_key(tensor),
        }
    }

    /// Changes it.
    fn apply(&self, tensor: &str, floats: &mut [f32]) {
        match self {
            Edits::Adapter(changes) => {
                if let Some(part) = changes.of(tensor) {
                    changes.add(part, floats);
                }
            }
            Edits::Weights(weights) => {
                // A head that is not used may have other sizes than the table.
                let trained = weights.get(tensor).filter(|trained| trained.len() == floats.len());
                if let Some(trained) = trained {
                    floats.copy_from_slice(trained);
                }
            }
        }
    }
}

/// What an adapter does to a model's tensors.
struct Changes<'a> {
    adapter: &'a Adapter,
    shape: &'a Shape,
    files: &'a ModelFiles,
    level: SimdLevel,
}

// === impl Changes ===

impl<'a> Changes<'a> {
    /// Every part has a matrix of its sizes.
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

    /// The part that changes the tensor of this name, GGUF's.
    fn of<'name>(&self, tensor: &'name str) -> Option<(&'name str, &'a LowRank)> {
        let name = tensor.strip_suffix(".weight")?;
        Some((name, self.adapter.part(name)?))
    }

    /// Adds a part to its matrix, outputs x inputs.
    fn add(&self, (name, part): (&str, &LowRank), weights: &mut [f32]) {
        let b: Cow<'_, [f32]> = in_order(self.adapter.order(), self.shape, name, part);
        for (row, factors) in weights.chunks_exact_mut(part.inputs).zip(b.chunks_exact(part.rank)) {
            for (a, &factor) in part.a.chunks_exact(part.inputs).zip(factors) {
                add_scaled(self.level, a, part.scale * factor, row);
            }
        }
    }
}
