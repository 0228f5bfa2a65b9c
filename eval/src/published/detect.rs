//! Detects which set a file belongs to, by the fields of its first record.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::records::{is_parquet, records};
use super::{RecordsError, Set};

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Jury's items, one per line.
    Items,
    /// The records of a published set.
    Published(Set),
}

/// Why the format of a file cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A table with other columns.
    #[error(
        "a Parquet file of no set that is known; its columns are {columns}. Known are {}",
        names()
    )]
    Unknown {
        /// Comma-separated.
        columns: String,
    },
}

/// Determines the format of a file by its first record that is an object. A text file whose fields match no set is
/// taken as Jury's items; reading it then reports what is wrong with its lines.
///
/// # Errors
/// [`FormatError`], which does not name the file.
pub fn format_of(path: &Path) -> Result<Format, FormatError> {
    let mut first = None;
    for record in records(path)? {
        if let Ok(fields) = record?.content {
            first = Some(fields);
            break;
        }
    }
    let fields = first.unwrap_or_default();
    match set_of(&fields) {
        Some(set) => Ok(Format::Published(set)),
        None if is_parquet(path).map_err(RecordsError::from)? => {
            let columns: Vec<&str> = fields.keys().map(String::as_str).collect();
            Err(FormatError::Unknown { columns: columns.join(", ") })
        }
        None => Ok(Format::Items),
    }
}

/// Every set has a combination of fields that no other set has.
fn set_of(fields: &Map<String, Value>) -> Option<Set> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    let are_lists =
        |names: &[&str]| names.iter().all(|name| fields.get(*name).is_some_and(Value::is_array));
    if has(&["query", "responses"]) {
        None
    } else if has(&["prompt", "subset", "num_correct"]) && are_lists(&["chosen", "rejected"]) {
        Some(Set::RewardBench2)
    } else if has(&["prompt", "id"]) && are_lists(&["chosen", "rejected"]) {
        Some(Set::RmBench)
    } else if has(&["conversation_input", "category_path"]) {
        Some(Set::Rmb)
    } else if has(&["question", "response_A", "response_B", "label"]) {
        Some(Set::JudgeBench)
    } else if has(&["prompt", "response_1", "response_2"])
        && (has(&["winner"]) || has(&["scores", "sampled_conflict_pairs"]))
    {
        Some(Set::Ppe)
    } else if has(&["input", "output_1", "output_2", "label"]) {
        Some(Set::LlmBar)
    } else if has(&["input", "llm_response"]) && (has(&["label"]) || has(&["error_label"])) {
        Some(Set::RealMistake)
    } else if has(&["prompt", "chosen", "rejected"]) {
        Some(Set::RewardBench)
    } else {
        None
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let set = Set::ALL.into_iter().find(|set| set.name() == name);
        match (name, set) {
            ("items", _) => Ok(Self::Items),
            (_, Some(set)) => Ok(Self::Published(set)),
            _ => Err(format!("no format {name:?}; there are items, {}", names())),
        }
    }
}

fn names() -> String {
    Set::ALL.map(Set::name).join(", ")
}
