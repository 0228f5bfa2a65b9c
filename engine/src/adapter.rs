//! Low-rank adapters (LoRA): small matrices that change a loaded model's projections, and are swapped while it stays.
//!
//! ```text
//! Adapter::read(path)                  a PEFT folder (peft.rs) or a GGUF adapter (gguf.rs)
//! Adapter::new(order, parts)           matrices in memory, as a trainer has them
//!   -> Engine::load_adapter            checked against the model (fit.rs), packed for the kernels -> AdapterId
//!   -> Engine::submit_adapted          a group drawn with it; groups of other adapters and of none run beside it
//!   -> Engine::unload_adapter          its cached prompts are forgotten; groups under way keep it to their end
//! ```
//!
//! An adapted projection computes `W x + scale * B (A x)`, the second part in floats from floats. A row's bits depend
//! on its own adapter and input alone; with B of zeros they are the model's own.
//!
//! A training loop draws with its current weights like this, and never loads the model again. (Matrices that were trained on
//! [`crate::floats`] have the rows of Hugging Face, whatever the files are.)
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
//! NOT here: DoRA, adapters of embeddings, heads, norms and biases, of experts, and of latent attention's queries and
//! keys; each is refused by name. Nor are base weights replaced at run time: they are packed (and most of them quantised)
//! at load into memory that steps read without locks. Training all weights would need a packer from floats to the type of
//! each matrix, a place in `Weights` for the new panels, and an empty prefix cache; until then, load the engine again.

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

/// A greater rank than any that pays; bounds sizes that a file may ask for.
const MOST_RANK: usize = 4096;

/// An adapter before it is fitted to a model: for each adapted projection, its two matrices.
#[derive(Debug, Clone)]
pub struct Adapter {
    order: RowOrder,
    /// Family of the model it was made for, as GGUF names it, where it says so.
    architecture: Option<String>,
    /// The model it was made for, where it says so.
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
    /// What the product is multiplied by: mostly alpha / rank.
    pub scale: f32,
    /// Rank x inputs, row by row.
    pub a: Vec<f32>,
    /// Outputs x rank, row by row.
    pub b: Vec<f32>,
}

/// The order of the rows of B for queries and keys: GGUF files of the llama family have them in another order than
/// Hugging Face's folders. For other families it makes no difference. A fitted adapter is turned to its model's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As PEFT writes them, for models in Hugging Face's folders.
    HuggingFace,
    /// As llama.cpp writes them, for models in GGUF files.
    Gguf,
}

/// Names an adapter that an engine has loaded, for as long as the engine lives. A number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub(crate) u64);

// === impl Adapter ===

impl Adapter {
    /// Reads an adapter: a GGUF file, a folder as PEFT writes it (`adapter_config.json` and `adapter_model.safetensors`), or
    /// the safetensors file in such a folder.
    ///
    /// # Errors
    /// Files that are missing, foreign or corrupt, or that ask for what the engine does not have.
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

    /// Whether this is an adapter and no model, by the little that tells them apart; it may be damaged.
    pub fn is_at(path: &Path) -> bool {
        path.join(peft::CONFIG).is_file()
            || path.file_name().is_some_and(|name| name == peft::WEIGHTS)
            || path.is_file() && gguf::is_adapter(path)
    }

    /// An adapter of matrices in memory. Names are GGUF's (`blk.0.attn_q`) or Hugging Face's
    /// (`model.layers.0.self_attn.q_proj`), each projection once.
    ///
    /// # Errors
    /// No parts, names of no projection, sizes that contradict each other, and values that are not finite.
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

    /// 64 hexadecimal digits: a hash of all matrices, their scales and names, and the order of rows. How the files are
    /// called and laid out makes no difference.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The model it was made for, as its makers wrote it.
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

    /// Numbers in all its matrices.
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
        // One name for each: `blk.03.attn_q` would be another than `blk.3.attn_q`.
        return Some(format!("blk.{}.{kind}", layer.parse::<usize>().ok()?));
    }
    // Names of projections are those of every family.
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
