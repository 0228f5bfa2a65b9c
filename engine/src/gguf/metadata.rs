//! A GGUF file's metadata with typed access; a missing or mistyped key is a [`LoadError`].

use std::collections::HashMap;
use std::path::PathBuf;

use crate::error::LoadError;

/// The metadata of one file.
#[derive(Debug)]
pub(crate) struct Metadata {
    path: PathBuf,
    values: HashMap<String, Value>,
}

/// One metadata value; integers and floats of every width are widened.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

// === impl Metadata ===

impl Metadata {
    pub(crate) fn new(path: PathBuf, values: HashMap<String, Value>) -> Metadata {
        Metadata { path, values }
    }

    /// A required size or count.
    pub(crate) fn size(&self, key: &str) -> Result<usize, LoadError> {
        Ok(self.unsigned(key)?.ok_or_else(|| self.missing(key))? as usize)
    }

    /// A size or count with a default.
    pub(crate) fn unsigned_or(&self, key: &str, default: u64) -> Result<u64, LoadError> {
        Ok(self.unsigned(key)?.unwrap_or(default))
    }

    /// An optional size or count.
    pub(crate) fn unsigned(&self, key: &str) -> Result<Option<u64>, LoadError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(&Value::Unsigned(number)) => Ok(Some(number)),
            Some(&Value::Signed(number)) if number >= 0 => Ok(Some(number as u64)),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    /// A required real number.
    pub(crate) fn float(&self, key: &str) -> Result<f64, LoadError> {
        self.float_or(key, f64::NAN)
            .and_then(|number| if number.is_nan() { Err(self.missing(key)) } else { Ok(number) })
    }

    /// A real number with a default.
    pub(crate) fn float_or(&self, key: &str, default: f64) -> Result<f64, LoadError> {
        Ok(self.float_maybe(key)?.unwrap_or(default))
    }

    /// An optional real number.
    pub(crate) fn float_maybe(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(&Value::Float(number)) => Ok(Some(number)),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    /// A flag with a default.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, LoadError> {
        match self.values.get(key) {
            None => Ok(default),
            Some(&Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    /// A required string.
    pub(crate) fn text(&self, key: &str) -> Result<&str, LoadError> {
        self.text_maybe(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional string.
    pub(crate) fn text_maybe(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    /// A required list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<&[String], LoadError> {
        match self.values.get(key) {
            None => Err(self.missing(key)),
            Some(Value::Texts(texts)) => Ok(texts),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    /// A list of numbers; empty when absent.
    pub(crate) fn numbers(&self, key: &str) -> Result<&[f64], LoadError> {
        match self.values.get(key) {
            None => Ok(&[]),
            Some(Value::Numbers(numbers)) => Ok(numbers),
            Some(_) => Err(self.mistyped(key)),
        }
    }

    fn missing(&self, key: &str) -> LoadError {
        let why = format!("metadata {key} is missing");
        LoadError::Corrupt { path: self.path.clone(), why }
    }

    fn mistyped(&self, key: &str) -> LoadError {
        let why = format!("metadata {key} has another type than the format says");
        LoadError::Corrupt { path: self.path.clone(), why }
    }
}
