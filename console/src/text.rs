//! Hostile text, made visible.
//!
//! maud escapes markup wherever text is put into a page. This module handles what escaping does not: characters that
//! are invisible, or that change the direction of others. They are written out by their code point, so that a
//! response cannot look different to a person than to the judge.

use maud::{Markup, html};

/// A text with its line breaks, with every invisible character written out.
pub(crate) fn text(text: &str) -> Markup {
    html! {
        @for piece in pieces(text) {
            @match piece {
                Piece::Plain(plain) => (plain),
                Piece::Unseen(unseen) => span.unseen { (unseen_name(unseen)) },
            }
        }
    }
}

/// A text on one line, for titles and names.
pub(crate) fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => {
                line.extend(plain.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }));
            }
            Piece::Unseen(unseen) => line.push_str(&unseen_name(unseen)),
        }
    }
    line
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Plain(&'a str),
    Unseen(char),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        // One line break, however it is encoded.
        if rest.starts_with("\r\n") {
            rest = &rest[2..];
            return Some(Piece::Plain("\n"));
        }
        if is_unseen(first) {
            rest = &rest[first.len_utf8()..];
            return Some(Piece::Unseen(first));
        }
        let end = rest.find(is_unseen).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Plain(plain))
    })
}

/// Whether a character is invisible and not needed for writing a script: controls, direction marks, zero-width
/// spaces, blank letters, tags, and the variation selectors after them, in which whole texts can be hidden. Joiners
/// and the sixteen common selectors are not included, because scripts and emoji need them.
fn is_unseen(c: char) -> bool {
    if c == '\n' || c == '\t' {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
            | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn unseen_name(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_around_is_written_out() {
        assert_eq!(line("a\u{202e}b\u{0}c\r\nd\re"), "aU+202EbU+0000c dU+000De");
        assert_eq!(
            text("x\u{2066}<b>").into_string(),
            "x<span class=\"unseen\">U+2066</span>&lt;b&gt;"
        );
    }

    #[test]
    fn texts_cannot_hide_in_blank_letters_or_selectors() {
        assert_eq!(line("a\u{3164}b\u{e0041}c\u{e0100}d"), "aU+3164bU+E0041cU+E0100d");
    }

    #[test]
    fn lines_and_scripts_that_need_joiners_stay_as_they_are() {
        let written = "می\u{200c}خواهم 👩\u{200d}🔬 ❤\u{fe0f}\n\tyes";
        assert_eq!(text(written).into_string(), written);
    }
}
