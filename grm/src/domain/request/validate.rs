//! The rules for items and settings, each with the limit that it names.

use super::{RequestError, limits};
use crate::domain::{Item, Query, Role, Settings, Turn};

pub(in crate::domain) fn require(
    holds: bool,
    field: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), RequestError> {
    if holds { Ok(()) } else { Err(RequestError { field, problem: problem() }) }
}

/// Limits the length of a name, since errors and metrics repeat it.
pub(in crate::domain) fn require_name(
    field: &'static str,
    name: Option<&str>,
) -> Result<(), RequestError> {
    let bytes = name.map_or(0, str::len);
    require(bytes <= limits::MAX_NAME_BYTES, field, || {
        format!("must be at most {} bytes, has {bytes}", limits::MAX_NAME_BYTES)
    })
}

fn require_few(field: &'static str, list: Option<&Vec<String>>) -> Result<(), RequestError> {
    let n = list.map_or(0, Vec::len);
    require(n <= limits::MAX_CRITERIA, field, || {
        format!("at most {} of them, has {n}", limits::MAX_CRITERIA)
    })
}

pub(super) fn validate_item(item: &Item) -> Result<(), RequestError> {
    let n_responses = item.responses.len();
    require(item.id.len() <= limits::MAX_ID_BYTES, "item.id", || {
        format!("must be at most {} bytes, has {}", limits::MAX_ID_BYTES, item.id.len())
    })?;
    if let Query::Text(text) = &item.query {
        require(!text.trim().is_empty(), "item.query", || {
            "is empty; say what the responses answer".to_owned()
        })?;
    }
    require_name("item.source", item.source.as_deref())?;
    require_name("item.category", item.category.as_deref())?;
    require_few("item.criteria", item.criteria.as_ref())?;
    require_few("item.principles", item.principles.as_ref())?;
    if let Query::Turns(turns) = &item.query {
        let n_turns = turns.len();
        require(n_turns <= limits::MAX_TURNS, "item.query", || {
            format!("at most {} turns, has {n_turns}", limits::MAX_TURNS)
        })?;
        let is_asked = |turn: &Turn| matches!(turn.role, Role::User | Role::Tool);
        require(turns.last().is_some_and(is_asked), "item.query", || {
            "a conversation must end in a turn of the user or of a tool, which the responses answer"
                .to_owned()
        })?;
    }
    require(n_responses >= 1, "item.responses", || {
        "is empty; give at least 1 response".to_owned()
    })?;
    require(n_responses <= limits::MAX_RESPONSES, "item.responses", || {
        format!("at most {} responses, has {n_responses}", limits::MAX_RESPONSES)
    })?;
    let bytes = item.text_bytes();
    require(bytes <= limits::MAX_ITEM_BYTES, "item", || {
        format!("at most {} bytes of text, has {bytes}", limits::MAX_ITEM_BYTES)
    })?;
    if let Some(best) = item.best {
        require(best < n_responses, "item.best", || {
            format!("must be an index below {n_responses}, is {best}")
        })?;
    }
    if let Some(labels) = &item.labels {
        require(labels.len() == n_responses, "item.labels", || {
            format!("must have one label for each of {n_responses} responses, has {}", labels.len())
        })?;
        let no_number = labels.iter().position(|label| !label.is_finite());
        require(no_number.is_none(), "item.labels", || {
            let at = no_number.unwrap_or_default();
            format!("must be finite numbers, labels[{at}] is {}", labels[at])
        })?;
    }
    Ok(())
}

pub(super) fn validate_settings(settings: &Settings) -> Result<(), RequestError> {
    require((1..=limits::MAX_K).contains(&settings.k), "settings.k", || {
        format!("must be between 1 and {}, is {}", limits::MAX_K, settings.k)
    })?;
    settings.validate_sampling()?;
    let max_panel = settings.max_panel as usize;
    require((2..=limits::MAX_RESPONSES).contains(&max_panel), "settings.max_panel", || {
        format!("must be between 2 and {}, is {max_panel}", limits::MAX_RESPONSES)
    })
}

impl Settings {
    /// Checks the settings by which a worker draws one sample: temperature, top-p, length, scale and read-out.
    ///
    /// # Errors
    /// The first [`RequestError`]; the error names the field under `settings`, and the limit.
    pub fn validate_sampling(&self) -> Result<(), RequestError> {
        let Self { temperature, top_p, max_critique_tokens, min_readout_mass, scale, .. } = *self;
        require((0.0..=2.0).contains(&temperature), "settings.temperature", || {
            format!("must be between 0 and 2, is {temperature}")
        })?;
        require(top_p > 0.0 && top_p <= 1.0, "settings.top_p", || {
            format!("must be above 0 and at most 1, is {top_p}")
        })?;
        let lengths = 1..=limits::MAX_CRITIQUE_TOKENS;
        require(lengths.contains(&max_critique_tokens), "settings.max_critique_tokens", || {
            format!("must be between 1 and {}, is {max_critique_tokens}", lengths.end())
        })?;
        require((0.0..=1.0).contains(&min_readout_mass), "settings.min_readout_mass", || {
            format!("must be between 0 and 1, is {min_readout_mass}")
        })?;
        let is_scale = (0..scale.max).contains(&scale.min) && scale.max <= limits::MAX_SCORE;
        require(is_scale, "settings.scale", || {
            let (min, max) = (scale.min, scale.max);
            format!("must be 0 <= min < max <= {}, is {min}..{max}", limits::MAX_SCORE)
        })
    }
}
