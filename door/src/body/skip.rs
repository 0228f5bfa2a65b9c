//! Drops the values of some keys from a JSON text, so that a tree of the rest stays small.

use std::iter::Peekable;
use std::str::CharIndices;

/// The text with `null` as the value of each of `keys`, at any depth. `json` must be valid; a key with escapes is not
/// recognised.
pub(crate) fn without(json: &str, keys: &[&str]) -> String {
    let mut kept = String::new();
    let mut start = 0;
    let mut rest = json.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if c != '"' {
            continue;
        }
        let end = skip_text(&mut rest);
        skip_blanks(&mut rest);
        let is_key = rest.peek().is_some_and(|&(_, c)| c == ':');
        if !is_key || !json.get(at + 1..end).is_some_and(|key| keys.contains(&key)) {
            continue;
        }
        rest.next();
        skip_blanks(&mut rest);
        let value = rest.peek().map_or(json.len(), |&(at, _)| at);
        kept.push_str(&json[start..value]);
        kept.push_str("null");
        skip_value(&mut rest);
        start = rest.peek().map_or(json.len(), |&(at, _)| at);
    }
    kept.push_str(&json[start..]);
    kept
}

type Rest<'a> = Peekable<CharIndices<'a>>;

/// Skips what follows an opening quotation mark, the closing one included; returns where that is.
fn skip_text(rest: &mut Rest<'_>) -> usize {
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return at,
            _ => {}
        }
    }
    0
}

fn skip_blanks(rest: &mut Rest<'_>) {
    while rest.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
}

/// Skips a value: a text, all of a list or an object, or the rest of a number.
fn skip_value(rest: &mut Rest<'_>) {
    let mut depth = 0_usize;
    while let Some(&(_, c)) = rest.peek() {
        match c {
            ',' | ']' | '}' if depth == 0 => return,
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        rest.next();
        if c == '"' {
            skip_text(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_keys_become_null_and_nothing_else_changes() {
        for (json, kept) in [
            (r#"{"ids": [1, [2, "]"], {"ids": 3}], "a": 1}"#, r#"{"ids": null, "a": 1}"#),
            (
                r#"{"a": "ids", "b": ["ids"], "ids" : 5}"#,
                r#"{"a": "ids", "b": ["ids"], "ids" : null}"#,
            ),
            (r#"[{"ids":"x\"]y"},{"é":{"ids":[]}}]"#, r#"[{"ids":null},{"é":{"ids":null}}]"#),
            (r#"{"b": "\\", "ids": {}}"#, r#"{"b": "\\", "ids": null}"#),
            ("[]", "[]"),
        ] {
            let dropped = without(json, &["ids"]);
            assert_eq!(dropped, kept);
            serde_json::from_str::<serde_json::Value>(&dropped).unwrap();
        }
    }
}
