//! The safetensors files of a folder, mapped into memory.
//!
//! The safetensors crate checks headers against the files' lengths: tensors are inside their file, follow each other,
//! and have the sizes that their shapes and types require. Errors about truncated or missing files are made here, with
//! exact numbers.

#![allow(unsafe_code)] // Mapping a file is unsafe; see `Shard::open`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors};

use super::config::Config;
use crate::error::LoadError;

/// Limit for an index; the largest published ones have a few megabytes.
const MOST_INDEX_BYTES: u64 = 256 << 20;
/// The weights of a model in one file.
const SINGLE: &str = "model.safetensors";
/// Maps tensors to files.
const INDEX: &str = "model.safetensors.index.json";
/// A file starts with the length of its header, a u64.
const LENGTH_BYTES: usize = 8;

/// One file of weights.
#[derive(Debug)]
pub(crate) struct Shard {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    header: Metadata,
}

/// A tensor's entry in a file's header.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    /// The contiguous dimension last.
    pub(crate) shape: Vec<usize>,
    /// In bytes, from the start of the file.
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

/// Opens all files of weights of a folder.
pub(super) fn open_all(folder: &Path) -> Result<Vec<Shard>, LoadError> {
    let index = folder.join(INDEX);
    if folder.join(SINGLE).exists() || !index.exists() {
        return Ok(vec![Shard::open(&folder.join(SINGLE))?]);
    }
    let index = Config::read(&index, MOST_INDEX_BYTES)?;
    let map = index.object("weight_map")?;
    let map = map.ok_or_else(|| index.corrupt("weight_map is missing"))?;
    let mut names = Vec::new();
    for tensor in map.keys() {
        let name = map.text_maybe(tensor)?.unwrap_or_default();
        // A bare file name: an index must not point outside its folder.
        if Path::new(name).file_name().is_none_or(|file| file != name) {
            return Err(index.corrupt(format!("{tensor} is in a file called {name:?}")));
        }
        names.push((name, tensor));
    }
    names.sort_unstable();
    let mut shards: Vec<Shard> = Vec::new();
    for tensors in names.chunk_by(|(one, _), (other, _)| one == other) {
        let path = folder.join(tensors[0].0);
        if !path.exists() {
            let why = format!("{INDEX} names it, but it is missing (download it again)");
            let source = io::Error::new(io::ErrorKind::NotFound, why);
            return Err(LoadError::Io { path, source });
        }
        let shard = Shard::open(&path)?;
        let missing = tensors.iter().find(|(_, tensor)| shard.header.info(tensor).is_none());
        if let Some((name, tensor)) = missing {
            return Err(index.corrupt(format!("{tensor} is not in {name}")));
        }
        shards.push(shard);
    }
    Ok(shards)
}

// === impl Shard ===

impl Shard {
    /// Opens one file.
    pub(crate) fn open(path: &Path) -> Result<Shard, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        if path.exists() && !path.is_file() {
            return Err(corrupt(path.to_owned(), "not a file"));
        }
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is only read, as bytes, and lives no longer than loading. Changing a model's files meanwhile
        // is forbidden, as for every other program that maps them.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (header_bytes, header) =
            SafeTensors::read_metadata(&map).map_err(|error| damaged(path, &map, &error))?;
        Ok(Shard { path: path.to_owned(), map, data_start: LENGTH_BYTES + header_bytes, header })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file, in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| Entry {
            name,
            dtype: info.dtype,
            shape: info.shape.clone(),
            offset: self.data_start + info.data_offsets.0,
            bytes: info.data_offsets.1 - info.data_offsets.0,
        };
        self.header.tensors().into_iter().map(entry).collect()
    }

    /// Bytes of the file; the range must be an [`Entry`]'s.
    pub(crate) fn bytes(&self, offset: usize, bytes: usize) -> &[u8] {
        &self.map[offset..offset + bytes]
    }
}

/// Explains what is wrong with a file that the safetensors crate rejects.
fn damaged(path: &Path, file: &[u8], error: &SafeTensorError) -> LoadError {
    let needed_bytes = match error {
        SafeTensorError::HeaderTooSmall => Some(LENGTH_BYTES as u64),
        SafeTensorError::InvalidHeaderLength => header_end(file),
        SafeTensorError::MetadataIncompleteBuffer => tensors_end(file),
        _ => None,
    };
    let file_bytes = file.len() as u64;
    match needed_bytes {
        Some(needed_bytes) if needed_bytes > file_bytes => {
            LoadError::Truncated { path: path.to_owned(), needed_bytes, file_bytes }
        }
        Some(end) => corrupt(
            path.to_owned(),
            &format!("its last tensor ends at {end}, the file at {file_bytes}"),
        ),
        None => corrupt(path.to_owned(), &error.to_string()),
    }
}

/// Where the header ends, according to its length field.
fn header_end(file: &[u8]) -> Option<u64> {
    u64::from_le_bytes(*file.first_chunk::<LENGTH_BYTES>()?).checked_add(LENGTH_BYTES as u64)
}

/// Where the last tensor ends, according to a valid header.
fn tensors_end(file: &[u8]) -> Option<u64> {
    let end = header_end(file)?;
    let header = file.get(LENGTH_BYTES..usize::try_from(end).ok()?)?;
    let header: Metadata = serde_json::from_slice(header).ok()?;
    end.checked_add(header.data_len() as u64)
}

fn corrupt(path: PathBuf, why: &str) -> LoadError {
    LoadError::Corrupt { path, why: why.to_owned() }
}
