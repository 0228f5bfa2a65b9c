//! Low-rank adapters (LoRA): small matrices that change a loaded model's projections and can be swapped at run time.
//!
//! ```text
//! Adapter::read(path)                  a PEFT folder (peft.rs) or a GGUF adapter (gguf.rs)
//! Adapter::new(order, parts)           matrices in memory, as a trainer has them
//!   -> Engine::load_adapter            checked against the model (fit.rs), packed for the kernels -> AdapterId
//!   -> Engine::submit_adapted          queues a group that uses it; groups with other adapters or none run beside it
//!   -> Engine::unload_adapter          drops its cached prompts; running groups keep it until they end
//! ```
//!
//! An adapted projection computes `W x + scale * B (A x)`; the second term is computed in floats from floats. A row's
//! bits depend only on its own adapter and input; where B is all zeros, they equal those of the unadapted model.
//!
//! A training loop samples with its current weights like this, without ever reloading the model. (Matrices trained on
//! [`crate::floats`] use Hugging Face's row order, whatever the file format.)
//!
//! ```no_run
//! # use jury_engine::{Adapter, Engine, EngineConfig, Group, LowRank, RowOrder};
//! # fn current_weights() -> Vec<(String, LowRank)> { Vec::new() }
//! # fn groups() -> Vec<Group> { Vec::new() }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut engine = Engine::load("model.gguf".as_ref(), &EngineConfig::default())?;
//! let mut events = Vec::new();
//! for _step in 0..100 {
//!     let adapter = Adapter::new(RowOrder::HuggingFace, current_weights())?;
//!     let id = engine.load_adapter(&adapter)?;
//!     for group in groups() {
//!         engine.submit_adapted(group, id)?;
//!     }
//!     while !engine.is_idle() {
//!         engine.step(&mut events);
//!     }
//!     engine.unload_adapter(id)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! NOT supported: DoRA, and adapters of embeddings, heads, norms, biases, experts, or the queries and keys of latent
//! attention. Each is rejected with an error that names it. Base weights cannot be replaced at run time either: at load
//! they are packed (and most of them quantised) into memory that steps read without locks. Training all weights would
//! need a packer from floats to each matrix's type, a place in `Weights` for the new panels, and an empty prefix cache;
//! until then, load the engine again.

mod fit;
mod gguf;
mod peft;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{AdapterError, LoadError};
use crate::hf::tensor_name;
use crate::model::Architecture;
pub(crate) use fit::{fit, in_order};

/// Larger than any useful rank; bounds the sizes that a file may ask for.
const MOST_RANK: usize = 4096;

/// An adapter before it is fitted to a model: for each adapted projection, its two matrices.
#[derive(Debug, Clone)]
pub struct Adapter {
    order: RowOrder,
    /// Family of the model that it was made for, in GGUF's naming, if known.
    architecture: Option<String>,
    /// The model that it was made for, if known.
    base: Option<String>,
    /// By GGUF's name of the projection: `blk.3.attn_q`.
    parts: BTreeMap<String, LowRank>,
    digest: String,
}

/// What is added to one projection: `scale * B (A x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// Rows of A and columns of B, at least 1.
    pub rank: usize,
    /// Columns of A: the projection's inputs.
    pub inputs: usize,
    /// Rows of B: the projection's outputs.
    pub outputs: usize,
    /// Factor of the product: usually alpha / rank.
    pub scale: f32,
    /// Rank x inputs, row by row.
    pub a: Vec<f32>,
    /// Outputs x rank, row by row.
    pub b: Vec<f32>,
}

/// Row order of B for queries and keys: GGUF files of the llama family order these rows differently from Hugging Face's
/// folders. For other families the two are the same. Fitting an adapter converts it to its model's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As PEFT writes them, for models in Hugging Face's folders.
    HuggingFace,
    /// As llama.cpp writes them, for models in GGUF files.
    Gguf,
}

/// Identifies a loaded adapter. Ids are never reused during the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub(crate) u64);

// === impl Adapter ===

impl Adapter {
    /// Reads an adapter: a GGUF file, a folder in PEFT's format (`adapter_config.json` and
    /// `adapter_model.safetensors`), or the safetensors file in such a folder.
    ///
    /// # Errors
    /// The files are missing, not an adapter, or corrupt, or need something that the engine does not support.
    pub fn read(path: &Path) -> Result<Adapter, LoadError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            _ if path.is_dir() => peft::read(path, &path.join(peft::WEIGHTS)),
            Some("safetensors") => peft::read(path.parent().unwrap_or(Path::new(".")), path),
            Some("bin" | "pt" | "pth") => Err(LoadError::Unsupported {
                path: path.to_owned(),
                why: "a pickle can run any code: save the adapter as safetensors (PEFT's default)"
                    .to_owned(),
            }),
            _ => gguf::read(path),
        }
    }

    /// Whether `path` looks like an adapter rather than a model. Only names and headers are checked; it may be damaged.
    pub fn is_at(path: &Path) -> bool {
        path.join(peft::CONFIG).is_file()
            || path.file_name().is_some_and(|name| name == peft::WEIGHTS)
            || path.is_file() && gguf::is_adapter(path)
    }

    /// Makes an adapter from matrices in memory. Names are GGUF's (`blk.0.attn_q`) or Hugging Face's
    /// (`model.layers.0.self_attn.q_proj`); each projection may appear once.
    ///
    /// # Errors
    /// There are no parts, a name belongs to no projection, sizes contradict each other, or a value is not finite.
    pub fn new(
        order: RowOrder,
        parts: impl IntoIterator<Item = (String, LowRank)>,
    ) -> Result<Adapter, AdapterError> {
        let mut named = BTreeMap::new();
        for (name, part) in parts {
            part.check(&name)?;
            let canonical =
                projection(&name).ok_or_else(|| AdapterError::Foreign { name: name.clone() })?;
            if named.insert(canonical, part).is_some() {
                return Err(AdapterError::Invalid { name, why: "it is there twice".to_owned() });
            }
        }
        if named.is_empty() {
            return Err(AdapterError::Empty);
        }
        let digest = digest(order, &named);
        Ok(Adapter { order, architecture: None, base: None, parts: named, digest })
    }

    /// 64 hexadecimal digits: a hash of all matrices with their scales and names, and of the row order. File names and
    /// layout do not matter.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The model it was made for, as named by its authors.
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The family of models it was made for, as GGUF names it; None when it does not say.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// The order of rows of queries and keys.
    pub fn order(&self) -> RowOrder {
        self.order
    }

    /// All adapted projections by GGUF's names (`blk.3.attn_q`), in the order of their names.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &LowRank)> {
        self.parts.iter().map(|(name, part)| (name.as_str(), part))
    }

    /// Number of values in all its matrices.
    pub fn parameters(&self) -> u64 {
        self.parts.values().map(|part| (part.a.len() + part.b.len()) as u64).sum()
    }

    /// The greatest rank.
    pub fn rank(&self) -> usize {
        self.parts.values().map(|part| part.rank).max().unwrap_or(0)
    }

    /// The part of a projection, by GGUF's name or Hugging Face's.
    pub fn part(&self, name: &str) -> Option<&LowRank> {
        self.parts.get(&projection(name)?)
    }
}

// === impl LowRank ===

impl LowRank {
    fn check(&self, name: &str) -> Result<(), AdapterError> {
        let invalid = |why: String| AdapterError::Invalid { name: name.to_owned(), why };
        let LowRank { rank, inputs, outputs, .. } = *self;
        if !(1..=MOST_RANK).contains(&rank) {
            return Err(invalid(format!("rank {rank}, which must be 1 to {MOST_RANK}")));
        }
        for (matrix, numbers, [rows, columns]) in
            [("A", &self.a, [rank, inputs]), ("B", &self.b, [outputs, rank])]
        {
            if Some(numbers.len()) != rows.checked_mul(columns) || numbers.is_empty() {
                let found = numbers.len();
                return Err(invalid(format!(
                    "{matrix} has {found} numbers instead of {rows} x {columns}"
                )));
            }
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(invalid(format!("{matrix} has values that are not finite")));
            }
        }
        if !self.scale.is_finite() {
            return Err(invalid(format!("scale {}", self.scale)));
        }
        Ok(())
    }
}

/// GGUF's name of a projection under either name, without `.weight`.
fn projection(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("blk.") {
        let (layer, kind) = rest.split_once('.')?;
        // Only the canonical spelling: `blk.03.attn_q` would otherwise be a second name for `blk.3.attn_q`.
        return Some(format!("blk.{}.{kind}", layer.parse::<usize>().ok()?));
    }
    // Projections have the same names in every family.
    let canonical = tensor_name(Architecture::Llama, &format!("{name}.weight"))?;
    let canonical = canonical.strip_suffix(".weight")?;
    canonical.starts_with("blk.").then(|| canonical.to_owned())
}

fn digest(order: RowOrder, parts: &BTreeMap<String, LowRank>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(match order {
        RowOrder::HuggingFace => b"lora hugging-face",
        RowOrder::Gguf => b"lora gguf",
    });
    for (name, part) in parts {
        for number in [name.len(), part.rank, part.inputs, part.outputs] {
            hasher.update(&(number as u64).to_le_bytes());
        }
        hasher.update(name.as_bytes());
        hasher.update(&part.scale.to_le_bytes());
        for matrix in [&part.a, &part.b] {
            let bytes: Vec<u8> = matrix.iter().flat_map(|number| number.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
    }
    hasher.finalize().to_hex().to_string()
}
