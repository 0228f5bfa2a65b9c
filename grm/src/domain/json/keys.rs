//! Unknown keys, and what they were probably meant to be.

use serde_json::Value;

/// The keys of an item.
const ITEM: [&str; 10] = [
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
/// The keys of a turn. A call's id links it to its result, but so does the order of turns.
const TURN: [&str; 6] =
    ["role", "content", "refusal", "tool_calls", "function_call", "tool_call_id"];
/// The keys of one part of a text.
const PART: [&str; 3] = ["type", "text", "refusal"];
/// The keys of a response that is a message: those of a turn or of a part.
const MESSAGE: [&str; 4] = ["role", "content", "text", "refusal"];
const REQUEST: [&str; 11] = [
    "item",
    "model",
    "settings",
    "voting",
    "seed",
    "min_samples",
    "budget_ms",
    "include_samples",
    "include_hidden_states",
    "hinted",
    "request_id",
];
const SETTINGS: [&str; 8] = [
    "k",
    "temperature",
    "top_p",
    "max_critique_tokens",
    "readout",
    "min_readout_mass",
    "scale",
    "max_panel",
];
const VOTING: [&str; 5] = ["meta", "rule", "k_meta", "stop", "refill"];
const STOP: [&str; 2] = ["confidence", "width"];
const SCALE: [&str; 2] = ["min", "max"];

/// Names that other programs use for the same things.
const OTHER_NAMES: [(&str, &[&str]); 3] = [
    ("query", &["messages", "prompt", "question", "conversation"]),
    ("responses", &["completions", "answers", "candidates"]),
    ("max_critique_tokens", &["max_tokens", "max_new_tokens"]),
];
/// Keys of at least this many letters may differ in two of them.
const TWO_TYPOS_FROM: usize = 9;

/// The paths of an item's unknown keys.
pub(in super::super) fn unknown_of_item(item: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    of_item(item, "", &mut unknown);
    unknown
}

/// The paths of a request's unknown keys.
pub(in super::super) fn unknown_of_request(request: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    of_object(request, "", &REQUEST, &mut unknown);
    of_item(&request["item"], "item.", &mut unknown);
    of_object(&request["settings"], "settings.", &SETTINGS, &mut unknown);
    of_object(&request["settings"]["scale"], "settings.scale.", &SCALE, &mut unknown);
    of_object(&request["voting"], "voting.", &VOTING, &mut unknown);
    of_object(&request["voting"]["stop"], "voting.stop.", &STOP, &mut unknown);
    unknown
}

/// What an unknown key of an item was probably meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHint {
    /// This key of the same object: misspelt, or under another program's name.
    Like(&'static str),
    /// This setting, which belongs to the whole request.
    OfRequest(&'static str),
}

/// What the unknown key at the end of `path`, within an item, was meant to be, if it resembles a known one.
pub(in super::super) fn meant(path: &str) -> Option<KeyHint> {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let like = |known: &[&'static str]| {
        let like = known.iter().find(|known| is_like(&key.to_lowercase(), known));
        let like = like.or_else(|| known.iter().find(|known| is_other_name(key, known)));
        like.copied()
    };
    if !parent.is_empty() {
        return like(if parent.starts_with("query") { &TURN } else { &MESSAGE }).map(KeyHint::Like);
    }
    let of_request = [&REQUEST[..], &SETTINGS, &VOTING].concat();
    let exactly = of_request.iter().find(|known| **known == key).copied();
    exactly
        .map(KeyHint::OfRequest)
        .or_else(|| like(&ITEM).map(KeyHint::Like))
        .or_else(|| like(&of_request).map(KeyHint::OfRequest))
}

/// True if `key` is another name of `known`, or `known` with a typing error.
pub(super) fn is_meant_as(key: &str, known: &str) -> bool {
    let key = key.to_lowercase();
    is_like(&key, known) || is_other_name(&key, known)
}

fn is_like(key: &str, known: &str) -> bool {
    let n_typos = if known.len() >= TWO_TYPOS_FROM { 2 } else { 1 };
    known.len() > n_typos + 1 && strsim::osa_distance(key, known) <= n_typos
}

fn is_other_name(key: &str, known: &str) -> bool {
    OTHER_NAMES.iter().any(|(name, others)| *name == known && others.contains(&key))
}

fn of_item(item: &Value, prefix: &str, unknown: &mut Vec<String>) {
    of_object(item, prefix, &ITEM, unknown);
    for (at, turn) in item["query"].as_array().into_iter().flatten().enumerate() {
        of_object(turn, &format!("{prefix}query[{at}]."), &TURN, unknown);
    }
    for (at, response) in item["responses"].as_array().into_iter().flatten().enumerate() {
        let only = response.as_array().and_then(|list| list.first());
        let message = only.unwrap_or(response);
        let known = if message["role"].is_null() { &PART[..] } else { &TURN };
        of_object(message, &format!("{prefix}responses[{at}]."), known, unknown);
    }
}

fn of_object(value: &Value, prefix: &str, known: &[&str], unknown: &mut Vec<String>) {
    let keys = value.as_object().into_iter().flat_map(|object| object.keys());
    let others = keys.filter(|key| !known.contains(&key.as_str()));
    unknown.extend(others.map(|key| format!("{prefix}{key}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_meant_to_be_itself() {
        let known = [&ITEM[..], &TURN, &PART, &REQUEST, &SETTINGS, &VOTING, &STOP, &SCALE].concat();
        let parents = [("", &ITEM[..]), ("query[0].", &TURN), ("responses[1].", &MESSAGE)];
        for (parent, own) in parents {
            for key in known.iter().filter(|key| !own.contains(key)) {
                assert_ne!(meant(&format!("{parent}{key}")), Some(KeyHint::Like(key)), "{parent}");
            }
        }
    }

    #[test]
    fn a_setting_in_an_item_is_known_as_the_requests() {
        for key in REQUEST.iter().chain(&SETTINGS).chain(&VOTING) {
            assert_eq!(meant(key), Some(KeyHint::OfRequest(key)));
        }
        assert_eq!(meant("max_tokens"), Some(KeyHint::OfRequest("max_critique_tokens")));
        assert_eq!(meant("temprature"), Some(KeyHint::OfRequest("temperature")));
    }

    #[test]
    fn a_key_is_compared_with_those_beside_it() {
        assert_eq!(meant("query[0].rol"), Some(KeyHint::Like("role")));
        assert_eq!(meant("responses[0].txet"), Some(KeyHint::Like("text")));
        assert_eq!(meant("Query"), Some(KeyHint::Like("query")));
        assert_eq!(meant("query[0].query"), None);
        assert_eq!(meant("query[0].seed"), None);
    }
}
