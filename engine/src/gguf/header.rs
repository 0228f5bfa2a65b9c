//! A GGUF file's header: metadata, and the table of tensors.
//!
//! Every length is checked against the rest of the file before memory is reserved.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::metadata::{Metadata, Value};
use jury_kernels::blocks::BlockType;

use super::types;
use crate::error::LoadError;
use crate::tensor::TensorInfo;

/// The format's maximum number of dimensions.
const MAX_DIMENSIONS: u32 = 4;
/// The format's default alignment of tensor data, in bytes.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Versions of the format that can be read.
const VERSIONS: [u32; 2] = [2, 3];
/// Minimum size of a metadata entry or a tensor entry; bounds the counts in the header.
const LEAST_ENTRY_BYTES: u64 = 12;

/// A file's header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Offsets are from the start of the file.
    pub(super) tensors: HashMap<String, TensorInfo>,
    pub(super) layout: MetadataLayout,
}

/// Position of the metadata in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetadataLayout {
    pub(super) entries: u64,
    /// Of the first entry's first byte.
    pub(super) start: u64,
    /// After the last.
    pub(super) end: u64,
    /// Of tensor data, in bytes.
    pub(super) alignment: u64,
}

// === impl Header ===

impl Header {
    pub(super) fn read(file: &File, path: &Path, file_bytes: u64) -> Result<Header, LoadError> {
        let reader = BufReader::with_capacity(1 << 20, file);
        let mut source = Source { reader, position: 0, file_bytes, path };
        source.read_header()
    }
}

/// The header's bytes, and how many are left.
struct Source<'a> {
    reader: BufReader<&'a File>,
    position: u64,
    file_bytes: u64,
    path: &'a Path,
}

// === impl Source ===

impl Source<'_> {
    fn read_header(&mut self) -> Result<Header, LoadError> {
        if self.file_bytes < 24 {
            return Err(self.not_gguf(format!("it has {} bytes", self.file_bytes)));
        }
        let magic = self.array::<4>()?;
        if &magic != b"GGUF" {
            return Err(self.not_gguf(format!("it starts with {magic:02x?}")));
        }
        self.check_version()?;
        let tensor_count = self.count("tensors", LEAST_ENTRY_BYTES)?;
        let entry_count = self.count("metadata entries", LEAST_ENTRY_BYTES)?;
        let start = self.position;
        let mut values = HashMap::new();
        for _ in 0..entry_count {
            let key = self.text()?;
            let kind = self.u32()?;
            values.insert(key, self.value(kind)?);
        }
        let end = self.position;
        let metadata = Metadata::new(self.path.to_owned(), values);
        let alignment = metadata.unsigned_or("general.alignment", DEFAULT_ALIGNMENT)?;
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(self.corrupt(format!("alignment of {alignment} bytes")));
        }
        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let (name, info) = self.tensor_entry()?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(self.corrupt(format!("tensor {name:?} is there twice")));
            }
        }
        self.place(&mut tensors, alignment)?;
        let layout = MetadataLayout { entries: entry_count, start, end, alignment };
        Ok(Header { metadata, tensors, layout })
    }

    fn check_version(&mut self) -> Result<(), LoadError> {
        let version = self.u32()?;
        if VERSIONS.contains(&version) {
            return Ok(());
        }
        if (1..=VERSIONS[1]).contains(&version.swap_bytes()) {
            return Err(self.unsupported(
                "it is big-endian, and only little-endian files can be read: convert it with \
                 `gguf_convert_endian.py FILE little` of llama.cpp's gguf package, or fetch the ordinary file",
            ));
        }
        Err(self.unsupported(format!(
            "it has version {version} of the format; known are 2 and 3: convert the model again"
        )))
    }

    fn tensor_entry(&mut self) -> Result<(String, TensorInfo), LoadError> {
        let name = self.text()?;
        let rank = self.u32()?;
        if rank == 0 || rank > MAX_DIMENSIONS {
            return Err(self.corrupt(format!("tensor {name:?} has {rank} dimensions")));
        }
        let mut dimensions = Vec::new();
        let mut elements: u64 = 1;
        for _ in 0..rank {
            let size = self.u64()?;
            elements = elements
                .checked_mul(size)
                .filter(|&elements| elements > 0 && elements < 1 << 48)
                .ok_or_else(|| self.corrupt(format!("tensor {name:?} has a size of {size}")))?;
            dimensions.push(size as usize);
        }
        let kind = self.u32()?;
        let block_type = BlockType::from_code(kind)
            .ok_or_else(|| self.unsupported(types::refusal(&name, kind)))?;
        let (block_weights, block_bytes) = block_type.block();
        if dimensions[0] % block_weights != 0 {
            let row = dimensions[0];
            return Err(
                self.corrupt(format!(
                "tensor {name:?} has rows of {row} in {block_type:?}, whose blocks are of {block_weights}"
            ))
            );
        }
        let bytes = elements / block_weights as u64 * block_bytes as u64;
        let offset = self.u64()?;
        if offset.checked_add(bytes).is_none() {
            return Err(self.corrupt(format!("tensor {name:?} starts at {offset}")));
        }
        Ok((name, TensorInfo { dimensions, block_type, shard: 0, offset, bytes }))
    }

    /// Makes offsets absolute and checks that every tensor is inside the file, and that the file has room for all of
    /// them together.
    fn place(
        &self,
        tensors: &mut HashMap<String, TensorInfo>,
        alignment: u64,
    ) -> Result<(), LoadError> {
        let data_start = self.position.next_multiple_of(alignment);
        let end = |info: &TensorInfo| data_start.saturating_add(info.offset + info.bytes);
        let furthest_end = tensors.values().map(end).max().unwrap_or(data_start);
        if furthest_end > self.file_bytes {
            return Err(self.truncated(furthest_end));
        }
        // Otherwise a small file could claim any amount of memory, with many tensors over the same bytes.
        let all = tensors.values().fold(0, |all: u64, info| all.saturating_add(info.bytes));
        if all > self.file_bytes - data_start {
            return Err(self.corrupt("its tensors overlap"));
        }
        tensors.values_mut().for_each(|info| info.offset += data_start);
        Ok(())
    }

    fn value(&mut self, kind: u32) -> Result<Value, LoadError> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>()?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            9 => self.values()?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(self.corrupt(format!("metadata of type {other}"))),
        })
    }

    fn values(&mut self) -> Result<Value, LoadError> {
        let kind = self.u32()?;
        if kind == 9 {
            return Err(self.corrupt("a list of lists in the metadata"));
        }
        if kind == 8 {
            let count = self.count("texts", 8)?;
            let texts: Result<Vec<String>, LoadError> = (0..count).map(|_| self.text()).collect();
            return Ok(Value::Texts(texts?));
        }
        let count = self.count("values", 1)?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(match self.value(kind)? {
                Value::Unsigned(number) => number as f64,
                Value::Signed(number) => number as f64,
                Value::Float(number) => number,
                Value::Bool(flag) => f64::from(u8::from(flag)),
                _ => return Err(self.corrupt("a list of a type that has no numbers")),
            });
        }
        Ok(Value::Numbers(numbers))
    }

    /// A string; bytes that are not UTF-8 are replaced, as other readers of the format do.
    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.count("bytes of text", 1)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// A count of items of at least `least_bytes` each, which must fit in the rest of the file.
    fn count(&mut self, what: &str, least_bytes: u64) -> Result<u64, LoadError> {
        let count = self.u64()?;
        let end = count.checked_mul(least_bytes).and_then(|least| least.checked_add(self.position));
        match end {
            None => Err(self.corrupt(format!("{count} {what}"))),
            Some(end) if end > self.file_bytes => Err(self.truncated(end)),
            Some(_) => Ok(count),
        }
    }

    fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LoadError> {
        let end = self.position + bytes.len() as u64;
        if end > self.file_bytes {
            return Err(self.truncated(end));
        }
        self.reader
            .read_exact(bytes)
            .map_err(|source| LoadError::Io { path: self.path.to_owned(), source })?;
        self.position = end;
        Ok(())
    }

    fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.to_owned(), why: why.into() }
    }

    fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.to_owned(), why: why.into() }
    }

    fn truncated(&self, needed_bytes: u64) -> LoadError {
        LoadError::Truncated {
            path: self.path.to_owned(),
            needed_bytes,
            file_bytes: self.file_bytes,
        }
    }

    fn not_gguf(&self, why: String) -> LoadError {
        LoadError::NotGguf { path: self.path.to_owned(), why }
    }
}
