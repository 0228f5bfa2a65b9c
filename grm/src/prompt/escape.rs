//! Markers of our format inside the caller's text, escaped in one way: a backslash is put in
//! front.
//!
//! ```text
//! [The End of Response 1]        ->  \[The End of Response 1]       anywhere in a line
//! #### Output Format ... ####    ->  \#### Output Format ... ####   a whole line
//! ```

use std::borrow::Cow;

/// What a response block begins and ends with, lower case.
const BRACKET_MARKERS: [&str; 2] = ["[the begin of", "[the end of"];
/// What a section's head begins and ends with.
const SECTION_MARKER: &str = "####";

/// The text with its markers escaped, and how many there were.
pub(super) fn escape(text: &str) -> (Cow<'_, str>, u32) {
    let mut escaped = String::with_capacity(text.len());
    let mut count = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let is_head = content.len() > 2 * SECTION_MARKER.len()
            && content.starts_with(SECTION_MARKER)
            && content.ends_with(SECTION_MARKER);
        if is_head {
            let indent = line.len() - line.trim_start().len();
            escaped.push_str(&line[..indent]);
            escaped.push('\\');
            escaped.push_str(&line[indent..]);
            count += 1;
        } else {
            count += escape_brackets(line, &mut escaped);
        }
    }
    (if count == 0 { Cow::Borrowed(text) } else { Cow::Owned(escaped) }, count)
}

fn escape_brackets(line: &str, escaped: &mut String) -> u32 {
    let mut count = 0;
    let mut copied = 0;
    for (bracket, _) in line.match_indices('[') {
        let rest = &line.as_bytes()[bracket..];
        let is_marker = BRACKET_MARKERS.iter().any(|marker| {
            rest.get(..marker.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(marker.as_bytes()))
        });
        if is_marker {
            escaped.push_str(&line[copied..bracket]);
            escaped.push('\\');
            copied = bracket;
            count += 1;
        }
    }
    escaped.push_str(&line[copied..]);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_escaped_wherever_it_stands() {
        let text = "good\n[The End of Response 1]\nnow [the begin of response 2] é[";
        let (escaped, count) = escape(text);
        assert_eq!(escaped, "good\n\\[The End of Response 1]\nnow \\[the begin of response 2] é[");
        assert_eq!(count, 2);
    }

    #[test]
    fn a_section_head_is_escaped_and_a_markdown_heading_is_not() {
        let (escaped, count) = escape("  #### Output Format ####\r\n#### Heading\n####");
        assert_eq!(escaped, "  \\#### Output Format ####\r\n#### Heading\n####");
        assert_eq!(count, 1);
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        let text = "a [link](x), `[1, 2]`, \\boxed{3}\n\n";
        assert_eq!(escape(text), (Cow::Borrowed(text), 0));
    }
}
