//! One item to judge: a query and its candidate responses.

use serde::{Deserialize, Serialize};

use super::json::{self, JsonError, KeyHint, keys, message};

/// A query with its candidate responses, as one JSON line.
///
/// `best` and `labels` are ground truth for evaluation and training; they never reach a prompt,
/// except in the hinted variant of rejective fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The caller's name for the item; the verdict repeats it.
    #[serde(default, deserialize_with = "message::id")]
    pub id: String,
    /// Where the item came from, for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The conversation that the responses answer.
    pub query: Query,
    /// The candidate responses, at least one. Indices everywhere refer to this order.
    #[serde(deserialize_with = "message::responses")]
    pub responses: Vec<String>,
    /// A ground-truth answer for the model to compare with; see [`Item::known_answer`] for whether there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Rubrics that replace the template's general criteria.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<Vec<String>>,
    /// Principles supplied by the caller, which the critique then applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principles: Option<Vec<String>>,
    /// Index of the response known to be best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<usize>,
    /// Known quality of every response, parallel to `responses`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<f64>>,
    /// A name by which reports group items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// What the responses answer: one user message, or a conversation that ends with a turn of the user or of a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Query {
    /// A single user message.
    Text(String),
    /// A conversation, oldest turn first.
    Turns(Vec<Turn>),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who speaks a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions to the assistant.
    System,
    /// The person who asks.
    User,
    /// The model that answered earlier turns.
    Assistant,
    /// The result of a tool that the assistant called.
    Tool,
    /// Instructions to the assistant from the application's developer; newer clients send them instead of a system
    /// turn.
    Developer,
}

/// The shape of an item, for error messages.
const SHAPE: &str = r#"an item is one object with "query" and "responses""#;

// === impl Item ===

impl Item {
    /// An item with only a query and its responses.
    pub fn bare(query: Query, responses: Vec<String>) -> Self {
        Self {
            id: String::new(),
            source: None,
            query,
            responses,
            reference: None,
            criteria: None,
            principles: None,
            best: None,
            labels: None,
            category: None,
        }
    }

    /// The reference, unless it is blank: a blank one counts as absent, whichever way it came in.
    pub fn known_answer(&self) -> Option<&str> {
        self.reference.as_deref().filter(|reference| !reference.trim().is_empty())
    }

    /// Bytes of all text that is judged or used to judge.
    pub fn text_bytes(&self) -> usize {
        let of_list =
            |list: &Option<Vec<String>>| -> usize { list.iter().flatten().map(String::len).sum() };
        let query = match &self.query {
            Query::Text(text) => text.len(),
            Query::Turns(turns) => turns.iter().map(|turn| turn.content.len()).sum(),
        };
        query
            + self.responses.iter().map(String::len).sum::<usize>()
            + self.reference.as_ref().map_or(0, String::len)
            + of_list(&self.criteria)
            + of_list(&self.principles)
    }

    /// Reads an item from JSON. Also returns the paths of unknown keys.
    ///
    /// # Errors
    /// [`JsonError`] when `json` is not an object of this shape; the error names the field.
    pub fn from_json(json: &str) -> Result<(Self, Vec<String>), JsonError> {
        let (item, value) = json::read(json, SHAPE)?;
        Ok((item, keys::unknown_of_item(&value)))
    }

    /// What the unknown key at `path` was probably meant to be, if it resembles a known one.
    pub fn key_hint(path: &str) -> Option<KeyHint> {
        keys::meant(path)
    }
}

// === impl Query ===

impl Query {
    /// The conversation as turns, oldest first.
    pub fn turns(&self) -> Vec<Turn> {
        match self {
            Self::Text(text) => vec![Turn { role: Role::User, content: text.clone() }],
            Self::Turns(turns) => turns.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
