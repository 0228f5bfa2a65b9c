//! Whether a JSON value has the shape of an item, told by the path of the field and in the words
//! of JSON: what a person wrote, not how we store it.

use serde_json::Value;

use super::ItemError;

/// Checks every field that an item may have.
///
/// # Errors
/// [`ItemError::NotAnObject`], or [`ItemError::Field`] for the first field that is wrong.
pub(super) fn check(value: &Value) -> Result<(), ItemError> {
    let Some(object) = value.as_object() else {
        return Err(ItemError::NotAnObject { found: kind(value) });
    };
    for required in ["query", "responses"] {
        if !object.contains_key(required) {
            let misspelt = object.keys().find(|key| super::is_near(key, required));
            let hint = misspelt.map(|key| format!("; is {key:?} meant to be it?"));
            return Err(field(required, format!("is missing{}", hint.unwrap_or_default())));
        }
    }
    for (key, value) in object {
        match key.as_str() {
            "id" => text(key, value)?,
            "query" => query(value)?,
            "responses" => list(key, value, text)?,
            "source" | "reference" | "category" => optional(key, value, text)?,
            "criteria" | "principles" => {
                optional(key, value, |path, value| list(path, value, text))?;
            }
            "best" => optional(key, value, index)?,
            "labels" => optional(key, value, |path, value| list(path, value, number))?,
            _ => {}
        }
    }
    Ok(())
}

fn query(value: &Value) -> Result<(), ItemError> {
    match value {
        Value::String(_) => Ok(()),
        Value::Array(_) => list("query", value, turn),
        _ => {
            let shapes =
                r#"must be a text, or a list of turns like {"role": "user", "content": ".."}"#;
            Err(field("query", format!("{shapes}, is {}", kind(value))))
        }
    }
}

fn turn(path: &str, value: &Value) -> Result<(), ItemError> {
    let shape = r#"must be a turn like {"role": "user", "content": ".."}"#;
    let Some(turn) = value.as_object() else {
        return Err(field(path, format!("{shape}, is {}", kind(value))));
    };
    for required in ["role", "content"] {
        if !turn.contains_key(required) {
            return Err(field(path, format!("{shape}, has no {required}")));
        }
    }
    let role = &turn["role"];
    if !matches!(role.as_str(), Some("system" | "user" | "assistant" | "tool" | "developer")) {
        let problem = format!(
            "must be \"system\", \"user\", \"assistant\", \"tool\" or \"developer\", is {role}"
        );
        return Err(field(format!("{path}.role"), problem));
    }
    text(&format!("{path}.content"), &turn["content"])
}

fn text(path: &str, value: &Value) -> Result<(), ItemError> {
    must_be("a text", value.is_string(), path, value)
}

fn number(path: &str, value: &Value) -> Result<(), ItemError> {
    must_be("a number", value.is_number(), path, value)
}

fn index(path: &str, value: &Value) -> Result<(), ItemError> {
    must_be("the index of a response, counted from 0", value.is_u64(), path, value)
}

fn list(
    path: &str,
    value: &Value,
    each: impl Fn(&str, &Value) -> Result<(), ItemError>,
) -> Result<(), ItemError> {
    let Some(values) = value.as_array() else {
        return Err(field(path, format!("must be a list, is {}", kind(value))));
    };
    values.iter().enumerate().try_for_each(|(at, value)| each(&format!("{path}[{at}]"), value))
}

fn optional(
    path: &str,
    value: &Value,
    check: impl Fn(&str, &Value) -> Result<(), ItemError>,
) -> Result<(), ItemError> {
    if value.is_null() { Ok(()) } else { check(path, value) }
}

fn must_be(what: &str, is: bool, path: &str, value: &Value) -> Result<(), ItemError> {
    if is { Ok(()) } else { Err(field(path, format!("must be {what}, is {}", kind(value)))) }
}

fn field(path: impl Into<String>, problem: impl Into<String>) -> ItemError {
    ItemError::Field { path: path.into(), problem: problem.into() }
}

/// What a value is, in the words of JSON.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
