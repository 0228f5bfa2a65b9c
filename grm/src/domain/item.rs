//! One item to judge: a query and its candidate responses.

use serde::{Deserialize, Serialize};

use super::json::{self, JsonError, KeyHint, keys, message};

/// A query with its candidate responses, as one JSON line.
///
/// `best` and `labels` are ground truth for evaluation and training; they never reach a prompt,
/// except in the hinted variant of rejective fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The caller's name for the item, echoed in the verdict.
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
    /// A ground-truth answer that the model may compare with; [`Item::known_answer`] says whether there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Rubrics that take the place of the template's general criteria.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<Vec<String>>,
    /// Principles written ahead, which the critique then applies.
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

/// What the responses answer: one user message, or a conversation that ends in a turn of the user or
/// of a tool.
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
    /// What a tool gave back that the assistant had called.
    Tool,
    /// Instructions to the assistant by who built on it; newer clients send them in place of the system's.
    Developer,
}

/// What an item is, for whoever wrote something else.
const SHAPE: &str = r#"an item is one object with "query" and "responses""#;

// === impl Item ===

impl Item {
    /// An item of nothing but a query and its responses.
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

    /// The reference, if it says anything: a blank one is none, however it came in.
    pub fn known_answer(&self) -> Option<&str> {
        self.reference.as_deref().filter(|reference| !reference.trim().is_empty())
    }

    /// Bytes of all the text that is judged or judged by.
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

    /// Reads an item from JSON, and gives the paths of the keys that nobody will look at.
    ///
    /// # Errors
    /// [`JsonError`] when `json` is not an object of this shape; it names the field.
    pub fn from_json(json: &str) -> Result<(Self, Vec<String>), JsonError> {
        let (item, value) = json::read(json, SHAPE)?;
        Ok((item, keys::unknown_of_item(&value)))
    }

    /// What the unknown key at `path` was probably meant to be, if it is near anything.
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
