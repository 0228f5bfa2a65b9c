//! SentencePiece's BPE: the neighbours whose merged token has the highest score are merged first, the leftmost if
//! scores are equal; characters without a token become bytes.
//!
//! The `tokenizers` crate cannot do this, although merges can be derived from scores: it orders pairs, not positions,
//! so that among pairs that make the same token the leftmost is not always merged first; and it cannot represent a pair
//! whose halves are not tokens.

use std::collections::{BinaryHeap, HashMap};

/// Represents a space in tokens.
pub(super) const SPACE: char = '\u{2581}';
/// No neighbour.
const NONE: usize = usize::MAX;

/// Tokens that text can become, with their scores.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pieces: HashMap<String, Piece>,
    /// Tokens of single bytes.
    bytes: Box<[Option<u32>; 256]>,
    /// Used for bytes that have no token; without it they are dropped.
    unknown: Option<u32>,
}

/// A token and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    pub(super) token: u32,
    pub(super) score: f32,
}

/// A piece of the text in the linked list of remaining pieces.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    /// Equal to `start` once it was merged into the previous one.
    end: usize,
    previous: usize,
    next: usize,
}

/// Two neighbours that can be merged.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Join {
    score: f32,
    left: usize,
    right: usize,
    /// Length of both together, in bytes; if it no longer matches, one of them has changed.
    length: usize,
}

// === impl SentencePiece ===

impl SentencePiece {
    pub(super) fn new(
        pieces: HashMap<String, Piece>,
        bytes: Box<[Option<u32>; 256]>,
        unknown: Option<u32>,
    ) -> SentencePiece {
        SentencePiece { pieces, bytes, unknown }
    }

    /// Appends the tokens of a text, adding a space before it if `prefix` is true.
    pub(super) fn cut(&self, text: &str, prefix: bool, tokens: &mut Vec<u32>) {
        let mut escaped = String::with_capacity(text.len() + 3);
        if prefix {
            escaped.push(SPACE);
        }
        escaped
            .extend(text.chars().map(|character| if character == ' ' { SPACE } else { character }));
        let mut symbols: Vec<Symbol> = escaped
            .char_indices()
            .enumerate()
            .map(|(index, (start, character))| Symbol {
                start,
                end: start + character.len_utf8(),
                previous: index.checked_sub(1).unwrap_or(NONE),
                next: index + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        self.join_all(&escaped, &mut symbols);
        let mut index = if symbols.is_empty() { NONE } else { 0 };
        while index != NONE {
            let symbol = symbols[index];
            let stretch = &escaped[symbol.start..symbol.end];
            match self.pieces.get(stretch) {
                Some(piece) => tokens.push(piece.token),
                None => tokens.extend(
                    stretch.bytes().filter_map(|byte| self.bytes[byte as usize].or(self.unknown)),
                ),
            }
            index = symbol.next;
        }
    }

    fn join_all(&self, text: &str, symbols: &mut [Symbol]) {
        let mut joins = BinaryHeap::new();
        for right in 1..symbols.len() {
            joins.extend(self.join(text, symbols, right - 1, right));
        }
        while let Some(Join { left, right, length, .. }) = joins.pop() {
            let (first, second) = (symbols[left], symbols[right]);
            let unchanged = first.start < first.end
                && second.start < second.end
                && second.end - first.start == length;
            if !unchanged {
                continue;
            }
            symbols[left].end = second.end;
            symbols[left].next = second.next;
            symbols[right].end = second.start;
            if second.next != NONE {
                symbols[second.next].previous = left;
                joins.extend(self.join(text, symbols, left, second.next));
            }
            if first.previous != NONE {
                joins.extend(self.join(text, symbols, first.previous, left));
            }
        }
    }

    fn join(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Join> {
        let joined = &text[symbols[left].start..symbols[right].end];
        let score = self.pieces.get(joined)?.score;
        Some(Join { score, left, right, length: joined.len() })
    }
}

// === impl Join ===

impl Eq for Join {}

impl Ord for Join {
    fn cmp(&self, other: &Join) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Join) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The byte of a token written as `<0xNN>`.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hexadecimal.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The bytes of a token's text.
pub(super) fn plain_bytes(text: &str) -> Vec<u8> {
    text.replace(SPACE, " ").into_bytes()
}

#[cfg(test)]
mod tests;
