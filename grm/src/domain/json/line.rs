//! A value on one line, whichever reader splits the text into lines.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// A value as compact JSON, followed by a line end.
///
/// JSON allows U+0085, U+2028 and U+2029 unescaped in a text, but many readers end a line there (Python's `splitlines`,
/// JavaScript's `^` and `$`). They are escaped here, so that one value is one line for every reader.
///
/// # Errors
/// Fails for a value that JSON cannot represent: a map whose keys are not texts.
pub fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut line = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut line, OneLine))?;
    line.push(b'\n');
    Ok(String::from_utf8(line).expect("serde_json writes UTF-8"))
}

/// A compact formatter that escapes the line ends that JSON does not.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for piece in fragment.split_inclusive(is_line_end) {
            let text = piece.trim_end_matches(is_line_end);
            CompactFormatter.write_string_fragment(writer, text)?;
            for end in piece[text.len()..].chars() {
                write!(writer, "\\u{:04x}", u32::from(end))?;
            }
        }
        Ok(())
    }
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_what_ends_a_line_is_escaped() {
        let line = json_line(&json!({"a\u{2028}": "\u{85}é\n\u{2029}\u{2029}x", "b": [1.0, null]}))
            .unwrap();
        assert_eq!(line, "{\"a\\u2028\":\"\\u0085é\\n\\u2029\\u2029x\",\"b\":[1.0,null]}\n");
    }

    proptest! {
        #[test]
        fn a_value_is_one_line_and_reads_as_itself(text in any::<String>(), ends in "[\u{85}\u{2028}\u{2029}\n\r\u{b}\u{c}a\"]{0,9}") {
            let value = json!({&text: &ends, "b": text});
            let line = json_line(&value).unwrap();
            let ends = |c: char| c.is_control() || is_line_end(c);
            prop_assert_eq!(line.matches(ends).collect::<Vec<_>>(), ["\n"]);
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }
    }
}
