//! Items and requests from JSON, the same for files, the command line and any door that speaks JSON.
//!
//! ```text
//! text -> one value (not JSON? more than one?) -> typed, by serde -> limits
//!              |                                     |
//!              +-- keys that nobody reads            +-- errors with the path of the field
//! ```
//!
//! [`json_line`] writes: one value, one line.
//!
//! Absent and null are the same, and take the default. Unknown keys are no error: they are returned,
//! for the caller to warn of.

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

/// Why a JSON text is not what it should be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}: {problem}")]
    NotJson {
        /// Line of the text, 1-based.
        line: usize,
        /// Byte of the line, 1-based.
        column: usize,
        /// What the parser met.
        problem: String,
    },
    /// A whole JSON value, and then more.
    #[error("one JSON value ends before line {line}, column {column}, and more follows")]
    MoreFollows {
        /// Line of what follows, 1-based.
        line: usize,
        /// Byte of the line, 1-based.
        column: usize,
    },
    /// JSON, but no object.
    #[error("{what}, this is {found}")]
    NotAnObject {
        /// What it should be.
        what: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// A field is missing, of another shape, or beyond a limit.
    #[error("{path}: {problem}")]
    Field {
        /// Path of the field, such as `query[1].role`.
        path: String,
        /// What is wrong, with what is allowed.
        problem: String,
    },
}

/// Reads the one object that `json` holds, as a type and as a plain value. `what` says what it should be.
///
/// # Errors
/// [`JsonError`] with the path of the first field that is wrong.
pub(super) fn read<T: DeserializeOwned>(
    json: &str,
    what: &'static str,
) -> Result<(T, Value), JsonError> {
    let value = read_value(json)?;
    if !value.is_object() {
        return Err(JsonError::NotAnObject { what, found: kind(&value) });
    }
    // From the text again: a field given twice is seen there alone.
    let mut text = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize(&mut text) {
        Ok(read) => Ok((read, value)),
        Err(error) => {
            let path = error.path().to_string();
            Err(words::field_error(&path, error.inner(), &value))
        }
    }
}

/// Null, like absence, takes the default.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads an object, and nothing in its place: derived types would take a list of their fields, too.
pub(super) fn object<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(ObjectVisitor { expected, null: None })
}

/// The same, where null takes the default.
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

/// What a value is, in the words of JSON.
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
