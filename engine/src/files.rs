//! A model's files: one GGUF file, or a folder as published on Hugging Face.
//!
//! Both use GGUF's tensor names and dimensions. The contents are as stored in the files: rows of queries and keys may
//! be ordered differently (the shape's rotation says how), and Gemma's norms in folders lack their offset of 1
//! ([`ModelFiles::norm_offset`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::gguf::GgufFile;
use crate::hf::{HfFolder, published_name};
use crate::tensor::TensorInfo;

/// Open files of one model.
#[derive(Debug)]
pub(crate) enum ModelFiles {
    Gguf(GgufFile),
    Folder(HfFolder),
}

// === impl ModelFiles ===

impl ModelFiles {
    /// Reads everything except the tensors' bytes. A folder is read in Hugging Face's format, anything else as GGUF.
    pub(crate) fn open(path: &Path) -> Result<ModelFiles, LoadError> {
        if path.is_dir() {
            HfFolder::open(path).map(ModelFiles::Folder)
        } else {
            GgufFile::open(path).map(ModelFiles::Gguf)
        }
    }

    /// All tensors that the engine knows, by their GGUF names.
    pub(crate) fn tensors(&self) -> &HashMap<String, TensorInfo> {
        match self {
            ModelFiles::Gguf(file) => &file.tensors,
            ModelFiles::Folder(folder) => &folder.tensors,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors().contains_key(name)
    }

    /// The entry of a required tensor, which must have these dimensions.
    pub(crate) fn tensor(
        &self,
        name: &str,
        dimensions: &[usize],
    ) -> Result<&TensorInfo, LoadError> {
        let own = || self.own_name(name);
        let info = self.tensors().get(name);
        let info = info.ok_or_else(|| self.corrupt(format!("tensor {} is missing", own())))?;
        if info.dimensions != dimensions {
            let [found, wanted] = [&info.dimensions, dimensions].map(|sizes| self.own_sizes(sizes));
            return Err(self.corrupt(format!("{} is {found:?} instead of {wanted:?}", own())));
        }
        Ok(info)
    }

    /// A tensor's name in the files.
    fn own_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self {
            ModelFiles::Gguf(_) => name.into(),
            ModelFiles::Folder(folder) => published_name(folder.architecture, name).into(),
        }
    }

    /// A tensor's sizes in the files' order.
    fn own_sizes(&self, sizes: &[usize]) -> Vec<usize> {
        match self {
            ModelFiles::Gguf(_) => sizes.to_vec(),
            ModelFiles::Folder(_) => sizes.iter().rev().copied().collect(),
        }
    }

    /// A tensor's raw blocks.
    pub(crate) fn read(&self, info: &TensorInfo) -> Result<Cow<'_, [u8]>, LoadError> {
        match self {
            ModelFiles::Gguf(file) => file.read(info).map(Cow::Owned),
            ModelFiles::Folder(folder) => Ok(Cow::Borrowed(folder.read(info))),
        }
    }

    /// Part of a tensor's raw blocks: `bytes` is relative to the tensor's start and must be within it.
    pub(crate) fn read_part(
        &self,
        info: &TensorInfo,
        bytes: Range<usize>,
    ) -> Result<Cow<'_, [u8]>, LoadError> {
        let (offset, len) = (info.offset + bytes.start as u64, bytes.len() as u64);
        self.read(&TensorInfo { offset, bytes: len, ..info.clone() })
    }

    /// Offset to add to the weights of norms.
    pub(crate) fn norm_offset(&self) -> f32 {
        match self {
            ModelFiles::Gguf(_) => 0.0,
            ModelFiles::Folder(folder) if folder.architecture.is_gemma() => 1.0,
            ModelFiles::Folder(_) => 0.0,
        }
    }

    /// The model's name as given by its authors; empty if the files have none.
    pub(crate) fn model_name(&self) -> Result<String, LoadError> {
        match self {
            ModelFiles::Gguf(file) => {
                Ok(file.metadata.text_maybe("general.name")?.unwrap_or_default().to_owned())
            }
            ModelFiles::Folder(folder) => Ok(folder.name()),
        }
    }

    pub(crate) fn has_chat_template(&self) -> Result<bool, LoadError> {
        match self {
            ModelFiles::Gguf(file) => {
                Ok(file.metadata.text_maybe("tokenizer.chat_template")?.is_some())
            }
            ModelFiles::Folder(folder) => folder.has_chat_template(),
        }
    }

    /// All files of weights, in their order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        match self {
            ModelFiles::Gguf(file) => file.paths(),
            ModelFiles::Folder(folder) => folder.weight_paths(),
        }
    }

    /// Size of all files of weights, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        match self {
            ModelFiles::Gguf(file) => file.file_bytes(),
            ModelFiles::Folder(folder) => folder.file_bytes,
        }
    }

    /// Whether this is a scalar reward model: its head gives a single number instead of one per token of the
    /// vocabulary.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            ModelFiles::Gguf(_) => false,
            ModelFiles::Folder(folder) => folder.is_scalar,
        }
    }

    /// Name of the output head's tensor. Models without a separate head use their embedding table.
    pub(crate) fn head(&self) -> &'static str {
        if self.is_scalar() {
            return "score.weight";
        }
        if self.has("output.weight") { "output.weight" } else { "token_embd.weight" }
    }

    /// An error that reports these files as corrupt.
    pub(crate) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        match self {
            ModelFiles::Gguf(file) => file.corrupt(why),
            ModelFiles::Folder(folder) => folder.corrupt(why),
        }
    }

    /// An error that reports these files as unsupported.
    pub(crate) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        match self {
            ModelFiles::Gguf(file) => file.unsupported(why),
            ModelFiles::Folder(folder) => folder.unsupported(why),
        }
    }
}
