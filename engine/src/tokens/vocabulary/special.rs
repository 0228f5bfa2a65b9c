//! Tokens that are recognised in text literally, before it is split; and which of them are structure.

use std::collections::HashMap;

use super::sentence_piece::SPACE;

/// Tags that are single tokens in some vocabularies, and plain text to a chat model.
const HTML_ELEMENTS: [&str; 41] = [
    "a",
    "b",
    "blockquote",
    "body",
    "br",
    "caption",
    "code",
    "div",
    "em",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];

/// Control tokens that some files list as ordinary tokens.
const ALWAYS_CONTROL: [&str; 10] = [
    "<start_of_turn>",
    "<end_of_turn>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
];

/// Tokens by their text.
#[derive(Debug, Default)]
pub(super) struct SpecialTokens {
    by_text: HashMap<String, Special>,
    texts: HashMap<u32, String>,
    /// For each first byte, the lengths in bytes of the texts that start with it, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

/// A token that is recognised literally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    pub(crate) token: u32,
    /// Whether it absorbs the blanks before it.
    pub(crate) strips_before: bool,
    /// Whether it absorbs the blanks after it.
    pub(crate) strips_after: bool,
}

// === impl SpecialTokens ===

impl SpecialTokens {
    /// The first of several equal texts is used; empty ones are ignored.
    pub(super) fn new(tokens: impl IntoIterator<Item = (String, Special)>) -> SpecialTokens {
        let mut specials = SpecialTokens::default();
        for (text, special) in tokens {
            let Some(&first) = text.as_bytes().first() else { continue };
            if specials.by_text.contains_key(&text) {
                continue;
            }
            let lengths = specials.lengths.entry(first).or_default();
            if !lengths.contains(&text.len()) {
                lengths.push(text.len());
                lengths.sort_unstable_by(|a, b| b.cmp(a));
            }
            specials.texts.insert(special.token, text.clone());
            specials.by_text.insert(text, special);
        }
        specials
    }

    pub(super) fn text(&self, token: u32) -> Option<&str> {
        self.texts.get(&token).map(String::as_str)
    }

    /// All of them, in no particular order.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> {
        self.texts.keys().copied()
    }

    /// The first one in a text, the longest if several start there: position, length, token.
    pub(super) fn find(&self, text: &str) -> Option<(usize, usize, Special)> {
        text.bytes().enumerate().find_map(|(at, first)| {
            self.lengths.get(&first)?.iter().find_map(|&length| {
                let special = self.by_text.get(text.get(at..at + length)?)?;
                Some((at, length, *special))
            })
        })
    }
}

// === impl Special ===

impl Special {
    pub(super) fn new(token: u32) -> Special {
        Special { token, strips_before: false, strips_after: false }
    }
}

/// Whether a token that the file calls user-defined, without a role, is nevertheless ordinary text. All others of that
/// kind count as structure: `<think>` and `<start_of_image>` must not come from untrusted text.
pub(super) fn is_ordinary_text(text: &str) -> bool {
    let blank = text.chars().all(|character| character.is_whitespace() || character == SPACE);
    let tag = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    let element = tag.map(|tag| tag.strip_prefix('/').unwrap_or(tag));
    blank || element.is_some_and(|name| HTML_ELEMENTS.contains(&name))
}

/// Whether a token is structure regardless of its kind in the file.
pub(super) fn is_always_control(text: &str) -> bool {
    ALWAYS_CONTROL.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials(texts: &[&str]) -> SpecialTokens {
        SpecialTokens::new(
            (0..).zip(texts).map(|(token, &text)| (text.to_owned(), Special::new(token))),
        )
    }

    #[test]
    fn the_first_special_token_is_found_and_the_longest_of_those_that_start_there() {
        let specials = specials(&["<a>", "<a><b>", "\u{20ac}", "", "b"]);
        let found =
            |text| specials.find(text).map(|(at, length, special)| (at, length, special.token));
        assert_eq!(found("x<a>y"), Some((1, 3, 0)));
        assert_eq!(found("<a><b>"), Some((0, 6, 1)));
        assert_eq!(found("<a><c>"), Some((0, 3, 0)));
        assert_eq!(found("\u{20ad}\u{20ac}b"), Some((3, 3, 2)));
        assert_eq!(found("<a"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn user_defined_tokens_are_text_only_when_blank_or_tags() {
        for text in ["\n\n", "  ", "\u{2581}\u{2581}", "\t", "<h1>", "</table>", "<ul>"] {
            assert!(is_ordinary_text(text), "{text:?}");
        }
        for structure in
            ["<think>", "</think>", "<start_of_image>", "<|x|>", "[INST]", "<>", "<h1", "<bbox>"]
        {
            assert!(!is_ordinary_text(structure), "{structure:?}");
        }
    }
}
