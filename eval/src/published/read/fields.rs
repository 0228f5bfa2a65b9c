//! Typed access to the fields of a record.

use jury_grm::domain::{Query, Turn};
use serde_json::{Map, Value};

use super::{RecordError, wrong};

/// The fields of a record, or of an object within it.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn has(self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn optional_text(self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    pub(super) fn text(self, name: &str) -> Result<String, RecordError> {
        self.value(name)?.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "must be a text"))
    }

    /// An identifier: a text, or a whole number.
    pub(super) fn name(self, name: &str) -> Result<String, RecordError> {
        match self.value(name)? {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(wrong(name, "must be a text or a number")),
        }
    }

    pub(super) fn texts(self, name: &str) -> Result<Vec<String>, RecordError> {
        let texts = self.list(name)?.iter().map(|text| text.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(|| wrong(name, "must hold texts"))
    }

    /// Booleans count as 0 and 1.
    pub(super) fn numbers(self, name: &str) -> Result<Vec<f64>, RecordError> {
        let number = |value: &Value| match value {
            Value::Bool(is_right) => Some(f64::from(u8::from(*is_right))),
            value => value.as_f64(),
        };
        let numbers = self.list(name)?.iter().map(number);
        numbers.collect::<Option<_>>().ok_or_else(|| wrong(name, "must hold numbers"))
    }

    /// Pairs of indices.
    pub(super) fn pairs(self, name: &str) -> Result<Vec<(usize, usize)>, RecordError> {
        let pair = |value: &Value| match value.as_array()?.as_slice() {
            [one, other] => {
                let index = |value: &Value| usize::try_from(value.as_u64()?).ok();
                Some((index(one)?, index(other)?))
            }
            _ => None,
        };
        let pairs = self.list(name)?.iter().map(pair);
        pairs.collect::<Option<_>>().ok_or_else(|| wrong(name, "must hold pairs of indices"))
    }

    pub(super) fn object(self, name: &str) -> Result<Fields<'a>, RecordError> {
        self.value(name)?.as_object().map(Fields).ok_or_else(|| wrong(name, "must be an object"))
    }

    pub(super) fn objects(self, name: &str) -> Result<Vec<Fields<'a>>, RecordError> {
        let objects = self.list(name)?.iter().map(|value| value.as_object().map(Fields));
        objects.collect::<Option<_>>().ok_or_else(|| wrong(name, "must hold objects"))
    }

    /// A text, or turns with `role` and `content`.
    pub(super) fn query(self, name: &str) -> Result<Query, RecordError> {
        if let Value::String(text) = self.value(name)? {
            return Ok(Query::Text(text.clone()));
        }
        let turn = |turn: Fields<'a>| {
            let role = serde_json::from_value(turn.value("role")?.clone());
            let role = role.map_err(|error| wrong("role", error.to_string()))?;
            Ok(Turn { role, content: turn.text("content")? })
        };
        self.objects(name)?.into_iter().map(turn).collect::<Result<_, _>>().map(Query::Turns)
    }

    fn list(self, name: &str) -> Result<&'a Vec<Value>, RecordError> {
        self.value(name)?.as_array().ok_or_else(|| wrong(name, "must be a list"))
    }

    fn value(self, name: &str) -> Result<&'a Value, RecordError> {
        self.0.get(name).filter(|value| !value.is_null()).ok_or_else(|| wrong(name, "is missing"))
    }
}
