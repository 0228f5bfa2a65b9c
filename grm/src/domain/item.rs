//! One item to judge: a query and its candidate responses.

use serde::{Deserialize, Serialize};

/// A query with its candidate responses, as one JSON line.
///
/// `best` and `labels` are ground truth for evaluation and training; they never reach a prompt,
/// except in the hinted variant of rejective fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The caller's name for the item, echoed in the verdict.
    #[serde(default)]
    pub id: String,
    /// Where the item came from, for reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The conversation that the responses answer.
    pub query: Query,
    /// The candidate responses, at least one. Indices everywhere refer to this order.
    pub responses: Vec<String>,
    /// A ground-truth answer that the model may compare with.
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

/// What the responses answer: one user message, or a conversation that ends in a user turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Query {
    /// A single user message.
    Text(String),
    /// A conversation, oldest turn first.
    Turns(Vec<Turn>),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

/// Why a JSON line is not an item.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ItemError {
    /// Not JSON, or JSON of another shape; the message names the field.
    #[error("not an item: {0}")]
    Malformed(String),
}

/// The keys of an item; anything else in a line is worth a warning.
const KNOWN_KEYS: [&str; 10] = [
    "id",
    "source",
    "query",
    "responses",
    "reference",
    "criteria",
    "principles",
    "best",
    "labels",
    "category",
];

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

    /// Reads an item from JSON, and names the keys that nobody will look at.
    ///
    /// # Errors
    /// [`ItemError::Malformed`] when `json` is not an object of this shape.
    pub fn from_json(json: &str) -> Result<(Self, Vec<String>), ItemError> {
        let malformed = |error: serde_json::Error| ItemError::Malformed(error.to_string());
        let value: serde_json::Value = serde_json::from_str(json).map_err(malformed)?;
        let unknown_keys = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
            .filter(|key| !KNOWN_KEYS.contains(&key.as_str()))
            .cloned()
            .collect();
        // Parsed from the text again, so that an error names its line and column.
        let item = serde_json::from_str(json).map_err(malformed)?;
        Ok((item, unknown_keys))
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

    /// True when there is nothing to judge a response against.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Turns(turns) => turns.iter().all(|turn| turn.content.trim().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_and_the_item_still_read() {
        let (item, unknown) =
            Item::from_json(r#"{"query": "q", "responses": ["a"], "respones": 1}"#).unwrap();
        assert_eq!(item.responses, ["a"]);
        assert_eq!(unknown, ["respones"]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = Item::from_json(r#"{"query": "q"}"#).unwrap_err();
        assert!(error.to_string().contains("responses"), "{error}");
    }

    #[test]
    fn a_conversation_reads_as_turns() {
        let (item, _) = Item::from_json(
            r#"{"query": [{"role": "user", "content": "hi"}], "responses": ["a"]}"#,
        )
        .unwrap();
        assert_eq!(item.query.turns()[0].role, Role::User);
    }
}
