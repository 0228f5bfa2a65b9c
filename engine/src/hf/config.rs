//! A folder's `config.json` with typed access; a missing or mistyped field is a [`LoadError`].
//!
//! `null` is the same as absence, as in the programs that write these files.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::LoadError;

/// Maximum of any size of a model. Sums of sizes and products of two cannot overflow.
const MOST_SIZE: u64 = 1 << 24;

/// A JSON object of a model's folder, or an object in it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    path: PathBuf,
    /// Prefix of the object's fields in error messages: empty, or ends with a dot.
    prefix: String,
    fields: Map<String, Value>,
}

// === impl Config ===

impl Config {
    /// Reads a JSON file of at most `most_bytes`.
    pub(crate) fn read(path: &Path, most_bytes: u64) -> Result<Config, LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let about = std::fs::metadata(path).map_err(io)?;
        if !about.is_file() || about.len() > most_bytes {
            let why = format!("not a file of at most {most_bytes} bytes");
            return Err(LoadError::Corrupt { path: path.to_owned(), why });
        }
        let text = std::fs::read(path).map_err(io)?;
        Config::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Config, LoadError> {
        let fields = serde_json::from_slice(text).map_err(|error| LoadError::Corrupt {
            path: path.to_owned(),
            why: format!("not a JSON object: {error}"),
        })?;
        Ok(Config { path: path.to_owned(), prefix: String::new(), fields })
    }

    /// An object in this one.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Config>, LoadError> {
        let prefix = format!("{}{key}.", self.prefix);
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => {
                Ok(Some(Config { path: self.path.clone(), prefix, fields: fields.clone() }))
            }
            Some(_) => Err(self.mistyped(key)),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether the field is present, even as `null`.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The names of all fields.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// A required size or count.
    pub(crate) fn size(&self, key: &str) -> Result<usize, LoadError> {
        self.size_maybe(key)?.ok_or_else(|| self.missing(key))
    }

    /// A size or count with a default.
    pub(crate) fn size_or(&self, key: &str, default: usize) -> Result<usize, LoadError> {
        Ok(self.size_maybe(key)?.unwrap_or(default))
    }

    /// An optional size or count.
    pub(crate) fn size_maybe(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let size = value.as_u64().ok_or_else(|| self.mistyped(key))?;
        if size > MOST_SIZE {
            return Err(self.corrupt(format!("{}{key} is {size}", self.prefix)));
        }
        Ok(Some(size as usize))
    }

    /// A required real number.
    pub(crate) fn float(&self, key: &str) -> Result<f64, LoadError> {
        self.float_maybe(key)?.ok_or_else(|| self.missing(key))
    }

    /// A real number with a default.
    pub(crate) fn float_or(&self, key: &str, default: f64) -> Result<f64, LoadError> {
        Ok(self.float_maybe(key)?.unwrap_or(default))
    }

    /// An optional real number.
    pub(crate) fn float_maybe(&self, key: &str) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.mistyped(key))
    }

    /// A flag with a default.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, LoadError> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.mistyped(key))
    }

    /// An optional string.
    pub(crate) fn text_maybe(&self, key: &str) -> Result<Option<&str>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.mistyped(key))
    }

    /// A string, if the field is one.
    pub(crate) fn text_if(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// Whether the field is present and neither `false` nor empty.
    pub(crate) fn asks_for(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| match value {
            Value::Bool(flag) => *flag,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::String(text) => !text.is_empty(),
            _ => true,
        })
    }

    /// An optional list of strings.
    pub(crate) fn texts_maybe(&self, key: &str) -> Result<Option<Vec<&str>>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.map(Some).ok_or_else(|| self.mistyped(key))
    }

    pub(crate) fn corrupt(&self, why: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: self.path.clone(), why: why.into() }
    }

    pub(crate) fn unsupported(&self, why: impl Into<String>) -> LoadError {
        LoadError::Unsupported { path: self.path.clone(), why: why.into() }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn missing(&self, key: &str) -> LoadError {
        self.corrupt(format!("{}{key} is missing", self.prefix))
    }

    fn mistyped(&self, key: &str) -> LoadError {
        self.corrupt(format!("{}{key} is {} of the wrong type", self.prefix, self.fields[key]))
    }
}
