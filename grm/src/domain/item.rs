//! One item to judge: a query and its candidate responses.

mod shape;

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
    /// What a tool gave back that the assistant had called.
    Tool,
    /// Instructions to the assistant by who built on it; newer clients send them in place of the system's.
    Developer,
}

/// Why a JSON line is not an item.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ItemError {
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
    #[error(r#"an item is one object with "query" and "responses", this is {found}"#)]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// A field is missing or of another shape.
    #[error("{path}: {problem}")]
    Field {
        /// Path of the field, such as `query[1].role`.
        path: String,
        /// What is wrong, with what is allowed.
        problem: String,
    },
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
    /// [`ItemError`] when `json` is not an object of this shape; it names the field.
    pub fn from_json(json: &str) -> Result<(Self, Vec<String>), ItemError> {
        let value = read_value(json)?;
        shape::check(&value)?;
        let unknown_keys = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
            .filter(|key| !KNOWN_KEYS.contains(&key.as_str()))
            .cloned()
            .collect();
        // From the text again: a field given twice is seen there alone.
        let item = serde_json::from_str(json).map_err(|error| not_json(&error))?;
        Ok((item, unknown_keys))
    }

    /// The key of an item that `key` is probably meant to be, if one is near.
    pub fn key_like(key: &str) -> Option<&'static str> {
        let near = |known: &&&str| is_near(key, known);
        KNOWN_KEYS.iter().find(near).copied()
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

// === private ===

/// The one value that `json` holds.
fn read_value(json: &str) -> Result<serde_json::Value, ItemError> {
    let mut values = serde_json::Deserializer::from_str(json);
    let value = Deserialize::deserialize(&mut values).map_err(|error| not_json(&error))?;
    match values.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(ItemError::MoreFollows { line: error.line(), column: error.column() }),
    }
}

fn not_json(error: &serde_json::Error) -> ItemError {
    let (line, column) = (error.line(), error.column());
    let said = error.to_string();
    let place = format!(" at line {line} column {column}");
    let problem = match said.strip_suffix(&place).unwrap_or(&said) {
        "expected ident" => "this is no JSON value",
        problem => problem,
    };
    ItemError::NotJson { line, column, problem: problem.to_owned() }
}

/// True for a known key with another case, a letter more, less, or other, or two exchanged.
fn is_near(key: &str, known: &str) -> bool {
    let (key, known) = (key.to_lowercase().into_bytes(), known.as_bytes());
    let same_start = key.iter().zip(known).take_while(|(a, b)| a == b).count();
    let rests = (&key[same_start..], &known[same_start..]);
    match rests {
        ([], []) => true,
        ([a, b, key @ ..], [c, d, known @ ..]) if (a, b) == (d, c) && key == known => true,
        ([_, key @ ..], [_, known @ ..]) if key == known => true,
        ([_, key @ ..], known) if key == known => true,
        (key, [_, known @ ..]) => key == known,
        _ => false,
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
    fn a_misspelt_key_is_told_which_one_it_is_like() {
        for key in ["respones", "response", "Responses", "responsess", "repsonses", "rezponses"] {
            assert_eq!(Item::key_like(key), Some("responses"), "{key}");
        }
        assert_eq!(Item::key_like("colour"), None);
    }

    #[test]
    fn a_field_of_another_shape_is_named_in_the_words_of_json() {
        for (json, message) in [
            (
                r#"{"query": [{"role": "bot", "content": "q"}], "responses": ["a"]}"#,
                r#"query[0].role: must be "system", "user", "assistant", "tool" or "developer", is "bot""#,
            ),
            (
                r#"{"query": [{"role": "user"}], "responses": ["a"]}"#,
                r#"query[0]: must be a turn like {"role": "user", "content": ".."}, has no content"#,
            ),
            (
                r#"{"query": 3, "responses": ["a"]}"#,
                r#"query: must be a text, or a list of turns like {"role": "user", "content": ".."}, is a number"#,
            ),
            (
                r#"{"query": "q", "responses": ["a", {"text": "b"}]}"#,
                "responses[1]: must be a text, is an object",
            ),
            (r#"{"query": "q", "responses": "a"}"#, "responses: must be a list, is a text"),
            (r#"{"query": "q"}"#, "responses: is missing"),
            (
                r#"{"query": "q", "respones": ["a"]}"#,
                r#"responses: is missing; is "respones" meant to be it?"#,
            ),
            (
                r#"{"query": "q", "responses": ["a"], "best": -1}"#,
                "best: must be the index of a response, counted from 0, is a number",
            ),
            (
                r#"[{"query": "q", "responses": ["a"]}]"#,
                r#"an item is one object with "query" and "responses", this is a list"#,
            ),
            ("not json", "not JSON at line 1, column 2: this is no JSON value"),
        ] {
            assert_eq!(Item::from_json(json).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_follows_an_item_and_a_field_given_twice_are_errors() {
        let error = Item::from_json("{}\n{}").unwrap_err();
        assert_eq!(error, ItemError::MoreFollows { line: 2, column: 1 });
        let twice = r#"{"query": "q", "responses": ["a"], "responses": ["b"]}"#;
        assert!(Item::from_json(twice).unwrap_err().to_string().contains("duplicate field"));
    }

    #[test]
    fn null_is_the_same_as_leaving_an_optional_field_out() {
        let json = r#"{"query": "q", "responses": ["a"], "best": null, "criteria": null}"#;
        assert_eq!(Item::from_json(json).unwrap().0.best, None);
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
