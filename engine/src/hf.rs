//! Reads a model's folder as published on Hugging Face: `config.json`, and weights as safetensors in one or several
//! files.
//!
//! ```text
//! config.json                        settings                                          (config.rs)
//! model.safetensors, or
//! model.safetensors.index.json  -->  model-00001-of-00002.safetensors ...  mapped      (shards.rs)
//!                                    names of tensors --> GGUF's                       (names.rs)
//! tokenizer.json, tokenizer_config.json, chat_template.jinja: paths only
//! ```
//!
//! NOT supported: quantised weights (their types are rejected) and pickled ones.

mod config;
mod names;
mod shards;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(crate) use config::Config;
pub(crate) use names::{canonical as tensor_name, published as published_name};
use safetensors::tensor::Dtype;
pub(crate) use shards::{Entry, Shard};

use crate::error::LoadError;
use crate::model::Architecture;
use crate::tensor::TensorInfo;
use jury_kernels::blocks::BlockType;

/// Limit for `config.json`; published ones have a few kilobytes.
const MOST_CONFIG_BYTES: u64 = 4 << 20;
/// Limit for `tokenizer_config.json`, which lists all special tokens.
const MOST_TOKENIZER_CONFIG_BYTES: u64 = 64 << 20;

/// Suffix of an `architectures` entry for models whose head gives labels.
const CLASSIFIER: &str = "ForSequenceClassification";
/// Suffixes for models that generate text.
const WRITERS: [&str; 2] = ["ForCausalLM", "ForConditionalGeneration"];
/// Prefixes of the tensors of reward heads and of value heads used in training.
const REWARD_HEADS: [&str; 3] = ["score.", "v_head.", "value_head."];

/// The contents of `config.json`.
#[derive(Debug)]
pub(crate) struct FolderConfig {
    pub(crate) architecture: Architecture,
    /// Whether it is a `*ForSequenceClassification`.
    pub(crate) is_classifier: bool,
    /// Settings of the text model.
    pub(crate) config: Config,
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct HfFolder {
    path: PathBuf,
    pub(crate) architecture: Architecture,
    /// Whether it is a `*ForSequenceClassification` with one label.
    pub(crate) is_scalar: bool,
    /// Settings of the text model.
    pub(crate) config: Config,
    shards: Vec<Shard>,
    pub(crate) tensors: HashMap<String, TensorInfo>,
    /// Size of all files of weights, in bytes.
    pub(crate) file_bytes: u64,
}

// === impl HfFolder ===

impl HfFolder {
    /// Reads everything except the tensors' bytes.
    pub(crate) fn open(path: &Path) -> Result<HfFolder, LoadError> {
        let FolderConfig { architecture, is_classifier, config } = HfFolder::read_config(path)?;
        let shards = shards::open_all(path)?;
        let mut folder = HfFolder {
            path: path.to_owned(),
            architecture,
            is_scalar: is_classifier,
            config,
            file_bytes: shards.iter().map(Shard::file_bytes).sum(),
            tensors: HashMap::new(),
            shards: Vec::new(),
        };
        for (number, shard) in shards.iter().enumerate() {
            for entry in shard.entries() {
                // Without this check the model would generate text, which it may not have been trained for.
                if !is_classifier && REWARD_HEADS.iter().any(|head| entry.name.starts_with(head)) {
                    return Err(folder.unsupported(format!(
                        "it has a head of its own, {}; reward models are read as *{CLASSIFIER} with one label (score.weight), and a \
                         model that writes has none: remove it from the files if that is what this one is for",
                        entry.name
                    )));
                }
                folder.add(number, entry)?;
            }
        }
        folder.shards = shards;
        if is_classifier {
            folder.tensors.remove("output.weight");
            folder.check_score()?;
            return Ok(folder);
        }
        // A tied head is the embedding table, even if the file also contains a head.
        if folder.config.flag_or("tie_word_embeddings", architecture.is_gemma())? {
            folder.tensors.remove("output.weight");
        } else if !folder.tensors.contains_key("output.weight") {
            return Err(folder.corrupt("tensor lm_head.weight is missing"));
        }
        Ok(folder)
    }

    /// Reads only config.json.
    pub(crate) fn read_config(folder: &Path) -> Result<FolderConfig, LoadError> {
        let whole = Config::read(&folder.join("config.json"), MOST_CONFIG_BYTES)?;
        let kind = whole.text_maybe("model_type")?.unwrap_or_default();
        let architecture = Architecture::of_folder(kind)
            .ok_or_else(|| whole.unsupported(format!("model_type {kind:?}")))?;
        if whole.has("quantization_config") {
            return Err(whole.unsupported("quantised weights in safetensors"));
        }
        let classes = whole.texts_maybe("architectures")?.unwrap_or_default();
        let is_known = |class: &&str| {
            class.ends_with(CLASSIFIER) || WRITERS.iter().any(|writer| class.ends_with(writer))
        };
        if let Some(class) = classes.iter().find(|class| !is_known(class)) {
            return Err(whole.unsupported(format!(
                "a model of class {class:?}; known are *{} and *{}, which write, and *{CLASSIFIER}, reward models",
                WRITERS[0], WRITERS[1]
            )));
        }
        let is_classifier = classes.iter().any(|class| class.ends_with(CLASSIFIER));
        let config = whole.object("text_config")?.unwrap_or(whole);
        Ok(FolderConfig { architecture, is_classifier, config })
    }

    /// A tensor's bytes.
    pub(crate) fn read(&self, info: &TensorInfo) -> &[u8] {
        self.shards[info.shard].bytes(info.offset as usize, info.bytes as usize)
    }

    /// All files of weights, in their order.
    pub(crate) fn weight_paths(&self) -> Vec<PathBuf> {
        self.shards.iter().map(|shard| shard.path().to_owned()).collect()
    }

    /// The folder's name, usually the name that its authors gave the model.
    pub(crate) fn name(&self) -> String {
        let name = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        name.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All files of weights, in their order.
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The tokenizer's special tokens, and often the chat template.
    pub(crate) fn tokenizer_config_path(&self) -> PathBuf {
        self.path.join("tokenizer_config.json")
    }

    /// The chat template, if it has a separate file.
    pub(crate) fn chat_template_path(&self) -> PathBuf {
        self.path.join("chat_template.jinja")
    }

    pub(crate) fn has_chat_template(&self) -> Result<bool, LoadError> {
        let tokenizer = self.tokenizer_config_path();
        if self.chat_template_path().is_file() || !tokenizer.exists() {
            return Ok(self.chat_template_path().is_file());
        }
        Ok(Config::read(&tokenizer, MOST_TOKENIZER_CONFIG_BYTES)?.has("chat_template"))
    }

    /// An error that reports this folder as corrupt.
    pub(crate) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.clone(), why: why.into() }
    }

    /// An error that reports this folder as unsupported.
    pub(crate) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), why: why.into() }
    }

    /// A classifier must give exactly one number; with several it is unclear which one is the score.
    fn check_score(&self) -> Result<(), LoadError> {
        match self.tensors.get("score.weight").map(|info| info.dimensions.as_slice()) {
            Some([_, 1]) => Ok(()),
            Some(&[_, labels]) => Err(self.unsupported(format!(
                "a classifier of {labels} labels; a reward model has one (score.weight of one row)"
            ))),
            Some(_) => Err(self.corrupt("tensor score.weight is no matrix")),
            None => Err(self.corrupt("tensor score.weight is missing")),
        }
    }

    fn add(&mut self, shard: usize, entry: Entry) -> Result<(), LoadError> {
        let Some(name) = names::canonical(self.architecture, &entry.name) else { return Ok(()) };
        let block_type = block_type(entry.dtype).ok_or_else(|| {
            self.unsupported(format!("{} has weights of type {:?}", entry.name, entry.dtype))
        })?;
        let info = TensorInfo {
            dimensions: entry.shape.into_iter().rev().collect(),
            block_type,
            shard,
            offset: entry.offset as u64,
            bytes: entry.bytes as u64,
        };
        match self.tensors.insert(name, info) {
            None => Ok(()),
            Some(_) => Err(self.corrupt(format!("{} is there twice", entry.name))),
        }
    }
}

/// The weights' type, if it is a float type that the engine reads.
pub(crate) fn block_type(dtype: Dtype) -> Option<BlockType> {
    match dtype {
        Dtype::F32 => Some(BlockType::F32),
        Dtype::F16 => Some(BlockType::F16),
        Dtype::BF16 => Some(BlockType::BF16),
        _ => None,
    }
}
