//! One request for rewards, and what makes it invalid.

mod validate;

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::{self, JsonError, keys, null_as_default, object_or_default};
use super::{Item, Settings, Voting};
pub(super) use validate::{require, require_name};
use validate::{validate_item, validate_settings};

/// The limits on a request, all defined here.
pub mod limits {
    /// Maximum number of samples per request.
    pub const MAX_K: u32 = 256;
    /// Maximum number of responses per item: the largest GRPO group that Jury promises to judge.
    pub const MAX_RESPONSES: usize = 64;
    /// Maximum total bytes of query, responses, reference, criteria and principles.
    pub const MAX_ITEM_BYTES: usize = 4 << 20;
    /// Highest score of a scale.
    pub const MAX_SCORE: i32 = 100;
    /// Longest critique, in tokens.
    pub const MAX_CRITIQUE_TOKENS: u32 = 16_384;
    /// Seeds stay below 2^53 so that every JSON reader represents them exactly.
    pub const MAX_SEED: u64 = (1 << 53) - 1;
    /// Longest request id and item id, in bytes.
    pub const MAX_ID_BYTES: usize = 256;
    /// Longest name of a model or Meta RM, and longest source and category of an item, in bytes.
    pub const MAX_NAME_BYTES: usize = 1024;
    /// Maximum number of criteria of an item, and of principles that its caller gives.
    pub const MAX_CRITERIA: usize = 256;
    /// Maximum number of turns in a conversation.
    pub const MAX_TURNS: usize = 4096;
    /// Longest budget: one day, in milliseconds.
    pub const MAX_BUDGET_MS: u64 = 24 * 60 * 60 * 1000;
}

/// The shape of a request, for error messages.
const SHAPE: &str = r#"a request is one object with "item""#;

/// A request for the rewards of one item, with all defaults applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRequest {
    /// What to judge.
    #[serde(deserialize_with = "item")]
    pub item: Item,
    /// Name of the model that must judge; `None` means the fleet's only model.
    pub model: Option<String>,
    /// How samples are drawn.
    #[serde(default, deserialize_with = "object_or_default")]
    pub settings: Settings,
    /// How the drawn samples become rewards.
    #[serde(default, deserialize_with = "object_or_default")]
    pub voting: Voting,
    /// The request's seed, from which samples derive theirs. Below 2^53.
    #[serde(default, deserialize_with = "null_as_default")]
    pub seed: u64,
    /// Minimum number of valid samples for rewards; `None` means ceil(k / 2).
    pub min_samples: Option<u32>,
    /// Time until the answer is due, in milliseconds; `None` means the coordinator's default.
    pub budget_ms: Option<NonZeroU64>,
    /// Whether the verdict includes its samples.
    #[serde(default, deserialize_with = "null_as_default")]
    pub include_samples: bool,
    /// Whether these samples include the hidden states that a head is trained on; requires `include_samples`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub include_hidden_states: bool,
    /// Whether prompts reveal which response is best, `item.best`. Only for the data of rejective fine-tuning (paper,
    /// section 3.2): rewards of such samples measure nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    pub hinted: bool,
    /// The caller's idempotency key; empty means none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub request_id: String,
}

/// Why a request is invalid: a field, and the limit that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RequestError {
    /// Path of the field, as in the JSON.
    pub field: &'static str,
    /// What is wrong, with the limit and how to fix it.
    pub problem: String,
}

// === impl ScoreRequest ===

impl ScoreRequest {
    /// A request for `item` with all defaults.
    pub fn new(item: Item) -> Self {
        Self {
            item,
            model: None,
            settings: Settings::default(),
            voting: Voting::default(),
            seed: 0,
            min_samples: None,
            budget_ms: None,
            include_samples: false,
            include_hidden_states: false,
            hinted: false,
            request_id: String::new(),
        }
    }

    /// Reads a request from JSON, in the shape of the contract: `{"item": {..}, "settings": {"k": 4}}`. What is absent
    /// or null takes its default. Also returns the paths of unknown keys.
    ///
    /// # Errors
    /// [`JsonError`] for any other shape, and for everything that [`Self::validate`] rejects; the error names the
    /// field.
    pub fn from_json(json: &str) -> Result<(Self, Vec<String>), JsonError> {
        let (request, value): (Self, _) = json::read(json, SHAPE)?;
        request.validate()?;
        Ok((request, keys::unknown_of_request(&value)))
    }

    /// The same for a value that is already parsed. Duplicate keys are the caller's to check.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_value(json: &Value) -> Result<(Self, Vec<String>), JsonError> {
        let request: Self = json::read_from(json, SHAPE)?;
        request.validate()?;
        Ok((request, keys::unknown_of_request(json)))
    }

    /// Minimum number of valid samples for rewards, default applied.
    pub fn effective_min_samples(&self) -> u32 {
        crate::stop::min_samples(self.min_samples, self.settings.k)
    }

    /// Checks everything that depends on the request alone.
    ///
    /// # Errors
    /// The first [`RequestError`] in field order; the error names the field and the limit.
    pub fn validate(&self) -> Result<(), RequestError> {
        validate_item(&self.item)?;
        require_name("model", self.model.as_deref())?;
        validate_settings(&self.settings)?;
        let k = self.settings.k;
        self.voting.validate(k, self.settings.scale.width())?;
        if let Some(min_samples) = self.min_samples {
            require((1..=k).contains(&min_samples), "min_samples", || {
                format!("must be between 1 and k = {k}, is {min_samples}")
            })?;
        }
        require(self.seed <= limits::MAX_SEED, "seed", || {
            format!("must be at most 2^53 - 1, is {}", self.seed)
        })?;
        if let Some(budget_ms) = self.budget_ms {
            require(budget_ms.get() <= limits::MAX_BUDGET_MS, "budget_ms", || {
                format!("must be at most {} (one day), is {budget_ms}", limits::MAX_BUDGET_MS)
            })?;
        }
        require(self.request_id.len() <= limits::MAX_ID_BYTES, "request_id", || {
            format!("must be at most {} bytes, has {}", limits::MAX_ID_BYTES, self.request_id.len())
        })?;
        require(
            self.include_samples || !self.include_hidden_states,
            "include_hidden_states",
            || "hidden states are part of samples; set include_samples, too".to_owned(),
        )?;
        require(!self.hinted || self.item.best.is_some(), "hinted", || {
            "a hint names the best response; set item.best, too".to_owned()
        })?;
        super::reply::check(self)
    }
}

impl From<RequestError> for JsonError {
    fn from(error: RequestError) -> Self {
        Self::Field { path: error.field.to_owned(), problem: error.problem }
    }
}

// === private ===

fn item<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Item, D::Error> {
    json::object(deserializer, "an item, one object with \"query\" and \"responses\"")
}

#[cfg(test)]
mod tests;
