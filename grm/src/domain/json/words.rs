//! Rephrases serde's errors in terms of JSON: what a person wrote, not how we store it.

use serde_json::Value;

use super::{JsonError, escape, keys};
use crate::domain::limits;

/// What is wrong with a text that is not JSON.
pub(super) fn syntax_problem(error: &serde_json::Error, json: &str) -> String {
    match without_place(error).as_str() {
        "expected ident" => "this is no JSON value".to_owned(),
        problem if problem.contains("hex escape") => {
            escape::lone_surrogate(json).unwrap_or_else(|| problem.to_owned())
        }
        problem => problem.to_owned(),
    }
}

/// The error for the field at `path` of `root`.
pub(super) fn field_error(path: &str, error: &serde_json::Error, root: &Value) -> JsonError {
    let said = without_place(error);
    let path = if path == "." { "" } else { path };
    let inside = |field: &str| match path {
        "" => field.to_owned(),
        path => format!("{path}.{field}"),
    };
    if let Some(field) = quoted_after(&said, "missing field ") {
        let object = at(root, path).and_then(Value::as_object);
        let other =
            object.and_then(|object| object.keys().find(|key| keys::is_meant_as(key, field)));
        let is_item = |object: &serde_json::Map<_, _>| object.contains_key("responses");
        let hint = match other {
            Some(key) => format!("; is {key:?} meant to be it?"),
            None if field == "item" && object.is_some_and(is_item) => {
                "; query and responses belong inside it: {\"item\": {..}}".to_owned()
            }
            None => String::new(),
        };
        return JsonError::Field { path: inside(field), problem: format!("is missing{hint}") };
    }
    if let Some(field) = quoted_after(&said, "duplicate field ") {
        return JsonError::Field { path: inside(field), problem: "is given twice".to_owned() };
    }
    let problem = best_problem(path, root).unwrap_or_else(|| problem(path, &said));
    JsonError::Field { path: path.to_owned(), problem }
}

/// The allowed range of `best`, which depends on the number of responses.
fn best_problem(path: &str, root: &Value) -> Option<String> {
    let item = path.strip_suffix("best")?;
    let best = at(root, path).filter(|best| best.is_number())?;
    let responses = at(root, &format!("{item}responses"))?.as_array()?;
    let last = responses.len().checked_sub(1)?;
    Some(format!("must be the index of a response, 0 to {last}, is {best}"))
}

/// The whole numbers that a field accepts: by its name if that is known here, else by its type.
fn range(path: &str, kind: &str) -> String {
    let (least, most) = match (path.rsplit('.').next().unwrap_or(path), kind) {
        ("k", _) => (1, u64::from(limits::MAX_K)),
        ("max_critique_tokens", _) => (1, u64::from(limits::MAX_CRITIQUE_TOKENS)),
        ("seed", _) => (0, limits::MAX_SEED),
        ("max_panel", _) => (2, limits::MAX_RESPONSES as u64),
        ("min_samples" | "k_meta", _) => return "from 1 to k".to_owned(),
        ("refill", _) => return "from 0 to k".to_owned(),
        // Bounds of a scale; later checks apply the exact limits.
        (_, "i32") => (0, 100),
        _ => return "of at least 0".to_owned(),
    };
    format!("from {least} to {most}")
}

fn problem(path: &str, said: &str) -> String {
    if let Some((found, expected)) = said
        .strip_prefix("invalid type: ")
        .or_else(|| said.strip_prefix("invalid value: "))
        .and_then(|mismatch| mismatch.rsplit_once(", expected "))
    {
        let is_number = found.starts_with("integer") || found.starts_with("floating");
        return match expected {
            kind @ ("u32" | "u64" | "i32" | "usize") if is_number => {
                format!("must be a whole number {}, is {}", range(path, kind), value(found))
            }
            "a nonzero u64" if is_number => {
                format!("must be a whole number of at least 1, is {}", value(found))
            }
            expected => format!("must be {}, is {}", kind_expected(expected), kind_found(found)),
        };
    }
    if let Some(variant) = quoted_after(said, "unknown variant ") {
        let names: Vec<String> = said.split('`').skip(3).step_by(2).map(quote).collect();
        let (last, others) = names.split_last().map_or(("", &names[..]), |(l, o)| (l.as_str(), o));
        let near = said.split('`').skip(3).step_by(2).find(|name| keys::is_meant_as(variant, name));
        let hint = near.map(|name| format!("; is {name:?} meant?")).unwrap_or_default();
        return format!("must be {} or {last}, is {variant:?}{hint}", others.join(", "));
    }
    said.to_owned()
}

fn quote(name: &str) -> String {
    format!("{name:?}")
}

/// The value in ``integer `-1` ``.
fn value(found: &str) -> &str {
    found.split('`').nth(1).unwrap_or(found)
}

fn kind_expected(expected: &str) -> &str {
    match expected {
        "a string" => "a text",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "f64" => "a number",
        "u32" | "u64" | "i32" | "usize" | "a nonzero u64" => "a whole number",
        struct_name if struct_name.starts_with("struct ") => "an object",
        other => other,
    }
}

fn kind_found(found: &str) -> &str {
    match found.split_once(' ').map_or(found, |(kind, _)| kind) {
        "integer" | "floating" | "number" => "a number",
        "string" => "a text",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "an object",
        _ => found,
    }
}

/// The word between backticks that follows `start`.
fn quoted_after<'a>(said: &'a str, start: &str) -> Option<&'a str> {
    said.strip_prefix(start)?.split('`').nth(1)
}

fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    said.strip_suffix(&place).unwrap_or(&said).to_owned()
}

/// The value at a path like `item.query[0]`.
fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let pointer = path.replace('[', ".").replace(']', "").replace('.', "/");
    if path.is_empty() { Some(root) } else { root.pointer(&format!("/{pointer}")) }
}
