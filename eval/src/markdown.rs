//! Escapes text for Markdown, so that it is shown literally and does not affect its surroundings.

/// Escapes a text for one table cell, or one line: without line breaks and characters special to Markdown or HTML.
pub fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '!' | '|' | '~'
            | '$' => {
                out.push('\\');
                out.push(sign);
            }
            // Some Markdown renderers turn bare addresses into links.
            ':' => out.push_str("&#58;"),
            '@' => out.push_str("&#64;"),
            sign if sign.is_control() || is_line_end(sign) || is_direction(sign) => out.push(' '),
            sign => out.push(sign),
        }
    }
    // A list or a heading starts at the beginning of a line.
    let trimmed = out.trim();
    let begins = trimmed.starts_with(['-', '+', '='])
        || trimmed.starts_with(|sign: char| sign.is_ascii_digit());
    if begins { format!("\u{200b}{trimmed}") } else { trimmed.to_owned() }
}

/// The first `most` characters of a text, escaped as by [`cell`].
pub fn excerpt(text: &str, most: usize) -> String {
    let mut signs = text.chars();
    let start: String = signs.by_ref().take(most).collect();
    let more = if signs.next().is_some() { " …" } else { "" };
    cell(&start) + more
}

fn is_line_end(sign: char) -> bool {
    matches!(sign, '\u{2028}' | '\u{2029}')
}

/// Characters that change the direction of the following text.
fn is_direction(sign: char) -> bool {
    matches!(sign, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let shown = cell("# <script>x</script> | [a](https://b)\n```\n**b**");
        assert_eq!(
            shown,
            "\\# &lt;script&gt;x&lt;/script&gt; \\| \\[a\\]\\(https&#58;//b\\) \\`\\`\\` \\*\\*b\\*\\*"
        );
        assert_eq!(cell("- a"), "\u{200b}- a");
        assert_eq!(excerpt("abc", 2), "ab …");
        assert_eq!(excerpt("abc", 3), "abc");
    }

    proptest! {
        #[test]
        fn a_cell_is_one_line_and_ends_no_cell(text in ".{0,40}|[|\\\\`<\n\r]{0,20}") {
            let shown = cell(&text);
            prop_assert!(!shown.contains(['\n', '\r', '<', '>']));
            let mut escaped = false;
            for sign in shown.chars() {
                prop_assert!(sign != '|' || escaped);
                escaped = sign == '\\' && !escaped;
            }
            prop_assert!(!escaped);
        }
    }
}
