//! Reads items and requests from JSON, in the same way for files, the command line and the HTTP API.
//!
//! ```text
//! text -> one value (not JSON? more than one?) -> typed, by serde -> limits
//!              |                                     |
//!              +-- unknown keys                      +-- errors with the path of the field
//! ```
//!
//! [`json_line`] writes: one value, one line.
//!
//! Absent and null mean the same and take the default. Unknown keys are not an error: their paths are returned, so that
//! the caller can warn about them.

mod escape;
pub(super) mod keys;
mod line;
pub(super) mod message;
mod words;

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use self::keys::KeyHint;
pub use self::line::json_line;

/// Why a JSON text was rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON.
    #[error("not JSON at line {line}, column {column}: {problem}")]
    NotJson {
        /// Line of the text, 1-based.
        line: usize,
        /// Byte within the line, 1-based.
        column: usize,
        /// What the parser found.
        problem: String,
    },
    /// A complete JSON value, followed by more text.
    #[error("one JSON value ends before line {line}, column {column}, and more follows")]
    MoreFollows {
        /// Line of the extra text, 1-based.
        line: usize,
        /// Byte within the line, 1-based.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("{what}, this is {found}")]
    NotAnObject {
        /// What was expected.
        what: &'static str,
        /// What was found instead.
        found: &'static str,
    },
    /// A field is missing, has the wrong type or shape, or exceeds a limit.
    #[error("{path}: {problem}")]
    Field {
        /// Path of the field, such as `query[1].role`.
        path: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

/// Reads the single object in `json`, both as `T` and as a plain value. `what` describes the expected object.
///
/// # Errors
/// [`JsonError`] with the path of the first wrong field.
pub(super) fn read<T: DeserializeOwned>(
    json: &str,
    what: &'static str,
) -> Result<(T, Value), JsonError> {
    let value = read_value(json)?;
    if !value.is_object() {
        return Err(JsonError::NotAnObject { what, found: kind(&value) });
    }
    // Parsed from the text again, because only that detects a duplicate field.
    let mut text = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize(&mut text) {
        Ok(read) => Ok((read, value)),
        Err(error) => {
            let path = error.path().to_string();
            Err(words::field_error(&path, error.inner(), &value))
        }
    }
}

/// The same for a value that is already parsed. Duplicate keys are the caller's to check.
///
/// # Errors
/// As [`read`].
pub(super) fn read_from<T: DeserializeOwned>(
    value: &Value,
    what: &'static str,
) -> Result<T, JsonError> {
    if !value.is_object() {
        return Err(JsonError::NotAnObject { what, found: kind(value) });
    }
    serde_path_to_error::deserialize(value)
        .map_err(|error| words::field_error(&error.path().to_string(), error.inner(), value))
}

/// Null takes the default, as absence does.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an object and nothing else: derived types would also accept a list of their fields.
pub(super) fn object<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(ObjectVisitor { expected, null: None })
}

/// As [`object`], but null takes the default.
pub(super) fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    deserializer.deserialize_any(ObjectVisitor { expected: "an object", null: Some(T::default) })
}

struct ObjectVisitor<T> {
    expected: &'static str,
    null: Option<fn() -> T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        let null = self.null.ok_or_else(|| E::invalid_type(Unexpected::Other("null"), &self))?;
        Ok(null())
    }
}

fn read_value(json: &str) -> Result<Value, JsonError> {
    let not_json = |error: &serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        JsonError::NotJson { line, column, problem: words::syntax_problem(error, json) }
    };
    let mut values = serde_json::Deserializer::from_str(json);
    let value = Value::deserialize(&mut values).map_err(|error| not_json(&error))?;
    match values.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(JsonError::MoreFollows { line: error.line(), column: error.column() }),
    }
}

/// The JSON name of a value's type.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
