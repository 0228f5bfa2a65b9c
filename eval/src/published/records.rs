//! A file's records: the objects of a JSON array, the lines of JSON lines, or the rows of Parquet.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value};

/// The first bytes of a Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// One record.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// Its line number, or its position in an array or a table; 1-based.
    pub number: u64,
    /// Its fields, or why it is not an object.
    pub content: Result<Map<String, Value>, String>,
}

/// Why a file's records cannot be read, either at all or from some record on.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its Parquet data is invalid or unsupported.
    #[error(
        "Parquet: {0}; if it is a codec, write the file again with snappy or without compression"
    )]
    Parquet(#[from] ParquetError),
    /// A JSON array that does not parse.
    #[error("a JSON array that is damaged: {0}")]
    Array(serde_json::Error),
}

/// The records of a file, one by one. A JSON array is kept in memory as a whole.
pub type Records = Box<dyn Iterator<Item = Result<Record, RecordsError>>>;

/// Opens a file, detecting its type by its first bytes.
///
/// # Errors
/// [`RecordsError`], which does not name the file.
pub fn records(path: &Path) -> Result<Records, RecordsError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(256).read_to_end(&mut start)?;
    file.rewind()?;
    if start.starts_with(PARQUET_MAGIC) {
        return table(file);
    }
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let read: Vec<Value> =
            serde_json::from_reader(BufReader::new(file)).map_err(RecordsError::Array)?;
        let numbered = (1..).zip(read);
        return Ok(Box::new(numbered.map(|(number, value)| Ok(record(number, Ok(value))))));
    }
    Ok(lines(BufReader::new(file)))
}

/// Whether a file is Parquet.
///
/// # Errors
/// If it cannot be read.
pub(super) fn is_parquet(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(PARQUET_MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == PARQUET_MAGIC)
}

fn table(file: File) -> Result<Records, RecordsError> {
    let reader = SerializedFileReader::new(file)?;
    let columns = reader.metadata().file_metadata().schema().get_fields().len();
    let rows = (1..).zip(reader);
    let record = move |(number, row): (u64, Result<parquet::record::Row, ParquetError>)| {
        let row = row?;
        debug_assert_eq!(row.len(), columns);
        Ok(record(number, Ok(row.to_json_value())))
    };
    Ok(Box::new(rows.map(record)))
}

fn lines(mut reader: BufReader<File>) -> Records {
    let mut number = 0;
    Box::new(std::iter::from_fn(move || {
        loop {
            let mut bytes = Vec::new();
            match reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => number += 1,
                Err(error) => return Some(Err(error.into())),
            }
            let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes).trim_ascii();
            if !text.is_empty() {
                let read =
                    serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"));
                return Some(Ok(record(number, read)));
            }
        }
    }))
}

fn record(number: u64, read: Result<Value, String>) -> Record {
    let content = read.and_then(|value| match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("no object".to_owned()),
    });
    Record { number, content }
}
