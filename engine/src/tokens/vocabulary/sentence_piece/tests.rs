use proptest::prelude::*;

use super::*;

/// Tokens 0 to 255 are bytes; the given texts follow, each with its score.
fn vocabulary(texts: &[(&str, f32)]) -> SentencePiece {
    let mut bytes = Box::new([None; 256]);
    for (token, byte) in (0..).zip(bytes.iter_mut()) {
        *byte = Some(token);
    }
    let pieces = (256..)
        .zip(texts)
        .map(|(token, &(text, score))| (text.to_owned(), Piece { token, score }))
        .collect();
    SentencePiece::new(pieces, bytes, None)
}

fn cut(pieces: &SentencePiece, text: &str, prefix: bool) -> Vec<u32> {
    let mut tokens = Vec::new();
    pieces.cut(text, prefix, &mut tokens);
    tokens
}

/// The rule, word for word: merge the best neighbours, the leftmost of equals, until none can be merged.
fn cut_slowly(pieces: &SentencePiece, text: &str) -> Vec<u32> {
    let mut symbols: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        for at in 1..symbols.len() {
            let joined = format!("{}{}", symbols[at - 1], symbols[at]);
            if let Some(piece) = pieces.pieces.get(&joined)
                && best.is_none_or(|(score, _)| piece.score > score)
            {
                best = Some((piece.score, at));
            }
        }
        let Some((_, at)) = best else { break };
        let right = symbols.remove(at);
        symbols[at - 1].push_str(&right);
    }
    let mut tokens = Vec::new();
    for symbol in symbols {
        match pieces.pieces.get(&symbol) {
            Some(piece) => tokens.push(piece.token),
            None => tokens.extend(symbol.bytes().map(u32::from)),
        }
    }
    tokens
}

#[test]
fn the_best_score_goes_first_and_then_the_leftmost() {
    let pieces = vocabulary(&[("ab", -2.0), ("bc", -1.0), ("aa", -3.0), ("a", -9.0), ("c", -9.0)]);
    assert_eq!(cut(&pieces, "abc", false), [259, 257]);
    assert_eq!(cut(&pieces, "aaa", false), [258, 259]);
    assert_eq!(cut(&pieces, "", true), [0xe2, 0x96, 0x81], "a lone prefix, here without a token");
}

#[test]
fn halves_need_not_be_tokens() {
    let pieces = vocabulary(&[("xy", 0.0)]);
    assert_eq!(cut(&pieces, "xyx", false), [256, u32::from(b'x')]);
}

#[test]
fn characters_without_a_token_become_their_bytes() {
    let pieces = vocabulary(&[("\u{2581}", 0.0)]);
    assert_eq!(cut(&pieces, "\u{e9} ", true), [256, 0xc3, 0xa9, 256]);
}

#[test]
fn byte_tokens_are_known_by_their_form() {
    assert_eq!(byte_of("<0x0A>"), Some(10));
    for text in ["<0x0>", "<0x0A", "0x0A", "<0xZZ>", "<0x+1>", "<0x00A>"] {
        assert_eq!(byte_of(text), None, "{text}");
    }
}

proptest! {
    /// There are few different scores, so that many are equal.
    #[test]
    fn cutting_fast_is_cutting_by_the_rule(
        text in "[abc\u{e9}]{0,24}",
        texts in prop::collection::vec(("[abc\u{e9}]{1,5}", 0u8..4), 0..30),
    ) {
        let texts: Vec<(&str, f32)> =
            texts.iter().map(|(text, score)| (text.as_str(), f32::from(*score))).collect();
        let pieces = vocabulary(&texts);
        prop_assert_eq!(cut(&pieces, &text, false), cut_slowly(&pieces, &text));
    }
}
