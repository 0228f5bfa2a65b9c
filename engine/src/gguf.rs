//! Reads GGUF files: metadata, the table of tensors, and tensor bytes.
//!
//! Every length in the file is checked against what is left of the file before memory is reserved, so a
//! truncated or damaged file gives a [`LoadError`] and never a panic or a huge allocation. (candle's own reader
//! allocates what the file says, therefore it is not used here.) A file that ends early is told by the furthest end of
//! all its tensors, so that its error says how much is missing. Not told apart: a file that was cut off, and one whose
//! lengths are damaged so that it seems to be.

pub(crate) mod blocks;
mod metadata;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) use blocks::BlockType;
pub(crate) use metadata::{Metadata, Value};

use crate::error::LoadError;
use crate::tensor::TensorInfo;

/// Tensors have at most this many dimensions in the format.
const MAX_DIMENSIONS: u32 = 4;
/// The format's default alignment of tensor data, in bytes.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Least bytes that a metadata entry or a tensor entry takes; bounds the counts in the header.
const LEAST_ENTRY_BYTES: u64 = 12;

/// An open GGUF file.
#[derive(Debug)]
pub(crate) struct GgufFile {
    path: PathBuf,
    file: File,
    /// Size of the whole file, in bytes.
    pub(crate) file_bytes: u64,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: HashMap<String, TensorInfo>,
}

// === impl GgufFile ===

impl GgufFile {
    /// Reads everything but the tensors' bytes.
    pub(crate) fn open(path: &Path) -> Result<GgufFile, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut source = Source {
            reader: BufReader::with_capacity(1 << 20, &file),
            position: 0,
            file_bytes,
            path,
        };
        let (metadata, tensors) = source.read_header()?;
        Ok(GgufFile { path: path.to_owned(), file, file_bytes, metadata, tensors })
    }

    /// The tensor's raw blocks.
    pub(crate) fn read(&self, info: &TensorInfo) -> Result<Vec<u8>, LoadError> {
        let io = |source| LoadError::Io { path: self.path.clone(), source };
        let mut bytes = vec![0; info.bytes as usize];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(info.offset)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(bytes)
    }

    /// An error that names this file as contradicting itself.
    pub(crate) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.clone(), why: why.into() }
    }

    /// An error that names this file as asking for something unknown.
    pub(crate) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), why: why.into() }
    }
}

/// The header's bytes, with what is left of them.
struct Source<'a> {
    reader: BufReader<&'a File>,
    position: u64,
    file_bytes: u64,
    path: &'a Path,
}

// === impl Source ===

impl Source<'_> {
    fn read_header(&mut self) -> Result<(Metadata, HashMap<String, TensorInfo>), LoadError> {
        if self.file_bytes < 24 {
            return Err(self.not_gguf(format!("it has {} bytes", self.file_bytes)));
        }
        let magic = self.array::<4>()?;
        if &magic != b"GGUF" {
            return Err(self.not_gguf(format!("it starts with {magic:02x?}")));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(LoadError::Unsupported {
                path: self.path.to_owned(),
                why: format!("GGUF version {version}"),
            });
        }
        let tensor_count = self.count("tensors", LEAST_ENTRY_BYTES)?;
        let entry_count = self.count("metadata entries", LEAST_ENTRY_BYTES)?;
        let mut values = HashMap::new();
        for _ in 0..entry_count {
            let key = self.text()?;
            let kind = self.u32()?;
            values.insert(key, self.value(kind)?);
        }
        let metadata = Metadata::new(self.path.to_owned(), values);
        let alignment = metadata.unsigned_or("general.alignment", DEFAULT_ALIGNMENT)?;
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(self.corrupt(format!("alignment of {alignment} bytes")));
        }
        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let (name, info) = self.tensor_entry()?;
            tensors.insert(name, info);
        }
        self.place(&mut tensors, alignment)?;
        Ok((metadata, tensors))
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
        let block_type = BlockType::from_code(kind).ok_or_else(|| LoadError::Unsupported {
            path: self.path.to_owned(),
            why: format!("tensor {name:?} has weight type {kind}"),
        })?;
        let (block_weights, block_bytes) = block_type.block();
        if dimensions[0] % block_weights != 0 {
            let row = dimensions[0];
            return Err(
                self.corrupt(format!("tensor {name:?} has rows of {row} in {block_type:?}"))
            );
        }
        let bytes = elements / block_weights as u64 * block_bytes as u64;
        let offset = self.u64()?;
        if offset.checked_add(bytes).is_none() {
            return Err(self.corrupt(format!("tensor {name:?} starts at {offset}")));
        }
        Ok((name, TensorInfo { dimensions, block_type, shard: 0, offset, bytes }))
    }

    /// Makes offsets absolute and checks that every tensor lies inside the file.
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

    /// A text; bytes that are not UTF-8 are replaced, as other readers of the format do.
    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.count("bytes of text", 1)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// A count of things of at least `least_bytes` each, which must fit what is left of the file.
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
