//! Reads GGUF files: metadata, the table of tensors, and tensor bytes.
//!
//! ```text
//! open  --header.rs-->  metadata, table of tensors  (types.rs: weight types by name)
//!       --split.rs--->  the other parts of a split file, with the remaining tensors
//! read  ------------->  a tensor's blocks           (blocks.rs: their encoding)
//! ```
//!
//! Every length in the file is checked against the rest of the file before memory is reserved, so a truncated or
//! damaged file gives a [`LoadError`] and never a panic or a huge allocation. (candle's own reader allocates what the
//! file says, so it is not used here.) A file that ends early is detected by the furthest end of all its tensors, so
//! the error can say how much is missing. A truncated file cannot be told from one whose lengths are damaged so that it
//! appears truncated.

mod header;
mod metadata;
mod split;
#[cfg(test)]
mod tests;
mod types;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) use metadata::Metadata;

use crate::error::LoadError;
use crate::tensor::TensorInfo;
use header::{Header, MetadataLayout};

/// An open model: one GGUF file, or the parts of one that was split.
#[derive(Debug)]
pub(crate) struct GgufFile {
    /// In order; the first has the metadata.
    parts: Vec<Part>,
    pub(crate) metadata: Metadata,
    /// Of all parts.
    pub(crate) tensors: HashMap<String, TensorInfo>,
    /// Of the first part.
    layout: MetadataLayout,
}

/// Metadata, byte for byte as in the file.
#[derive(Debug)]
pub(crate) struct RawMetadata {
    /// Number of entries.
    pub(crate) entries: u64,
    pub(crate) bytes: Vec<u8>,
    /// Of tensor data, in bytes.
    pub(crate) alignment: u64,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
}

// === impl GgufFile ===

impl GgufFile {
    /// Reads everything except the tensors' bytes. For a split file, `path` is the first part and the others are found
    /// from it.
    pub(crate) fn open(path: &Path) -> Result<GgufFile, LoadError> {
        let (first, Header { metadata, mut tensors, layout }) = Part::open(path)?;
        let further = split::further_parts(path, &metadata)?;
        let count = further.len() + 1;
        let mut parts = vec![first];
        for (shard, path) in (1..).zip(&further) {
            let (part, header) = Part::open(path)?;
            split::check_part(path, &header.metadata, shard + 1, count)?;
            for (name, info) in header.tensors {
                if tensors.insert(name.clone(), TensorInfo { shard, ..info }).is_some() {
                    return Err(part.corrupt(format!("tensor {name:?} is in another part, too")));
                }
            }
            parts.push(part);
        }
        let expected = metadata.unsigned("split.tensors.count")?;
        let found = tensors.len() as u64;
        if let Some(expected) = expected.filter(|&expected| count > 1 && expected != found) {
            let why = format!("its {count} parts have {found} tensors instead of {expected}");
            return Err(parts[0].corrupt(format!("{why}: fetch all parts again")));
        }
        Ok(GgufFile { parts, metadata, tensors, layout })
    }

    /// The tensor's raw blocks.
    pub(crate) fn read(&self, info: &TensorInfo) -> Result<Vec<u8>, LoadError> {
        self.parts[info.shard].read(info.offset, info.bytes)
    }

    /// The first part's metadata, for copying.
    pub(crate) fn raw_metadata(&self) -> Result<RawMetadata, LoadError> {
        let MetadataLayout { entries, start, end, alignment } = self.layout;
        let bytes = self.parts[0].read(start, end - start)?;
        Ok(RawMetadata { entries, bytes, alignment })
    }

    /// All parts, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.parts.iter().map(|part| part.path.clone()).collect()
    }

    /// Total size of all parts, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// An error that reports this file as corrupt.
    pub(crate) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        self.parts[0].corrupt(why)
    }

    /// An error that reports this file as unsupported.
    pub(crate) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.parts[0].path.clone(), why: why.into() }
    }
}

// === impl Part ===

impl Part {
    fn open(path: &Path) -> Result<(Part, Header), LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let header = Header::read(&file, path, bytes)?;
        Ok((Part { path: path.to_owned(), file, bytes }, header))
    }

    fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, LoadError> {
        let io = |source| LoadError::Io { path: self.path.clone(), source };
        let mut read = vec![0; bytes as usize];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        file.read_exact(&mut read).map_err(io)?;
        Ok(read)
    }

    fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.clone(), why: why.into() }
    }
}
