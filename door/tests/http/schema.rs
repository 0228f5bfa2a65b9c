//! Whether a value has a documented shape: the part of JSON Schema that `openapi.json` uses, and one law more: a key that
//! the schema does not document is an error, unless it says that there are others.

use serde_json::Value;

/// What `value` has that `schema` does not allow, or lacks.
pub fn violations(document: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        let target = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is nowhere"));
        return violations(document, target, value, path);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| violations(document, choice, value, path).is_empty();
        return match choices.iter().filter(fits).count() {
            1 => Vec::new(),
            n => vec![format!("{path}: {n} of oneOf fit {value}")],
        };
    }
    let mut found = Vec::new();
    if !has_type(&schema["type"], value) {
        found.push(format!("{path}: {value} is not of type {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    if let Some(number) = value.as_f64() {
        let low = schema["minimum"].as_f64().is_some_and(|least| number < least);
        let high = schema["maximum"].as_f64().is_some_and(|most| number > most);
        if low || high {
            found.push(format!("{path}: {number} is out of range"));
        }
    }
    for (at, element) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(items) = schema.get("items") {
            found.extend(violations(document, items, element, &format!("{path}[{at}]")));
        }
    }
    let documented = schema["properties"].as_object();
    if let (Some(object), Some(documented)) = (value.as_object(), documented) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                found.push(format!("{path}.{name}: is missing"));
            }
        }
        for (name, part) in object {
            match documented.get(name) {
                Some(schema) => {
                    found.extend(violations(document, schema, part, &format!("{path}.{name}")));
                }
                None if schema["additionalProperties"] == true => {}
                None => found.push(format!("{path}.{name}: is not documented")),
            }
        }
    }
    found
}

fn has_type(types: &Value, value: &Value) -> bool {
    match types {
        Value::Null => true,
        Value::Array(types) => types.iter().any(|one| has_type(one, value)),
        one => match one.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("no type of JSON Schema: {other}"),
        },
    }
}
