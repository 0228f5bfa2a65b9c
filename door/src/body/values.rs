//! Counts the values of a JSON text before a tree is built from it.
//!
//! `[],` takes three bytes as text and about seventy in a tree; an object with one key takes hundreds. Without a limit, 16 MiB
//! of text could become gigabytes. (The largest item may need 16 MiB if most of its characters are escaped.)

/// Maximum number of texts, lists and objects in a body: 32 for each of 4,096 turns.
pub(super) const MAX_VALUES: usize = 1 << 17;
/// Maximum number of numbers in a body, including `true`, `false` and `null`. Rollouts contain token ids and log
/// probabilities.
pub(super) const MAX_NUMBERS: usize = 1 << 20;

/// The number of values in a text. Keys do not count.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// Texts, lists and objects.
    pub(super) large: usize,
    /// Numbers, `true`, `false` and `null`.
    pub(super) small: usize,
}

// === impl Values ===

impl Values {
    /// Counts in one pass. If the text is not valid JSON, the counts are an upper bound of what a parser reads before it
    /// stops.
    pub(super) fn of(json: &str) -> Self {
        let mut found = Self::default();
        let mut bytes = json.bytes();
        let (mut in_small, mut after_text) = (false, false);
        while let Some(byte) = bytes.next() {
            let is_small =
                matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.');
            found.small += usize::from(is_small && !in_small);
            in_small = is_small;
            if byte.is_ascii_whitespace() {
                continue;
            }
            // A text before a colon is a key.
            found.large += usize::from(after_text && byte != b':');
            after_text = byte == b'"';
            match byte {
                b'"' => skip_text(&mut bytes),
                b'[' | b'{' => found.large += 1,
                _ => {}
            }
        }
        found.large += usize::from(after_text);
        found
    }

    /// What exceeds its limit, if anything does.
    pub(super) fn too_many(&self) -> Option<String> {
        let of = |found: usize, most: usize, what| {
            (found > most).then(|| format!("the body has {found} {what}; the limit is {most}"))
        };
        of(self.large, MAX_VALUES, "texts, lists and objects")
            .or_else(|| of(self.small, MAX_NUMBERS, "numbers (with true, false and null)"))
    }
}

/// Skips a text and the quotation mark that ends it.
fn skip_text(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The same for a tree.
    fn of_tree(value: &Value) -> Values {
        let inner: Vec<Values> = match value {
            Value::Array(list) => list.iter().map(of_tree).collect(),
            Value::Object(object) => object.values().map(of_tree).collect(),
            Value::String(_) => Vec::new(),
            _ => return Values { large: 0, small: 1 },
        };
        let sum = |of: fn(&Values) -> usize| inner.iter().map(of).sum::<usize>();
        Values { large: 1 + sum(|one| one.large), small: sum(|one| one.small) }
    }

    #[test]
    fn a_text_is_counted_as_its_tree_would_be() {
        for json in [
            "[]",
            "{}",
            "-1.5e+7",
            " null ",
            "\"\"",
            "\"a, [1] {\\\"b\\\": 2}\\\\\"",
            "[1,2 ,3,true,[],[[]],{},\"\",\"\\\\\"]",
            "{\"a:b\": {\"\": 0, \"c\": [\"d:e\", -1, null, false]}, \"é\": \"\\\"\"}",
        ] {
            let tree = serde_json::from_str(json).unwrap();
            assert_eq!(Values::of(json), of_tree(&tree), "{json}");
        }
    }

    #[test]
    fn both_kinds_have_a_limit() {
        let listed = |element: &str, n| Values::of(&format!("[{}0]", element.repeat(n))).too_many();
        assert_eq!(listed("[],", MAX_VALUES - 1), None);
        assert!(listed("[],", MAX_VALUES).unwrap().contains("131073 texts"));
        assert_eq!(listed("0,", MAX_NUMBERS - 1), None);
        assert!(listed("0,", MAX_NUMBERS).unwrap().contains("1048577 numbers"));
        let hidden = format!("[{}{}", "[],".repeat(MAX_VALUES), ":".repeat(MAX_VALUES));
        assert!(Values::of(&hidden).too_many().is_some(), "what follows does not hide it");
        for not_json in ["{{{", "::::\"", "\"\\", "]]"] {
            assert_eq!(Values::of(not_json).too_many(), None, "{not_json}");
        }
    }
}
