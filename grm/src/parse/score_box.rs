//! Boxes and brackets, and the numbers in them.

use super::ScoreShape;
use crate::domain::Scale;

/// Longest content of a box that is examined; 64 scores take a fifth of it. Bounds the work on a text full of unclosed
/// boxes.
const MAX_CONTENT_BYTES: usize = 1024;

/// Between two scores.
const COMMAS: [char; 2] = [',', '，'];
/// Between two scores, where semicolons are used.
const SEMICOLONS: [char; 2] = [';', '；'];
/// Maximum number of characters of an invalid score that a failure quotes.
const MAX_WRITTEN: usize = 24;

/// The inside of a box or bracket.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// Byte at which it begins.
    pub(super) at: usize,
    content: &'a str,
}

/// Numbers that have the right shape.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) scores: Vec<f64>,
    /// True if one of them was written like `8/10`.
    pub(super) has_fraction: bool,
}

/// Why the inside of a box is not a list of scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// A different number of values than responses shown.
    Count {
        /// How many there are.
        found: usize,
    },
    /// A word where a number belongs.
    Word(String),
    /// A number that is not a valid score.
    Number {
        /// As it is written.
        written: String,
        /// What it is.
        is: &'static str,
    },
    /// These scores are in the item's own text.
    Planted,
}

/// Every `\boxed{..}`, in order.
pub(super) fn boxes(text: &str) -> Vec<Candidate<'_>> {
    let command = "\\boxed";
    text.match_indices(command)
        .filter_map(|(at, _)| {
            let after = &text[at + command.len()..];
            let open = after.trim_start_matches(' ');
            let content = matching_brace(open.strip_prefix('{')?)?;
            Some(Candidate { at, content: unwrapped(content) })
        })
        .collect()
}

/// A `[..]` without brackets inside.
pub(super) struct Bracketed<'a> {
    pub(super) candidate: Candidate<'a>,
    /// Byte at which it ends.
    pub(super) close: usize,
}

/// The bracketed text that ends at each `]`, in order. It starts at the last `[` before it, unless an earlier `]` has
/// closed that one.
pub(super) fn bracketed(text: &str) -> impl Iterator<Item = Bracketed<'_>> {
    let mut open = None;
    text.match_indices(['[', ']']).filter_map(move |(at, bracket)| match bracket {
        "[" => {
            open = Some(at);
            None
        }
        _ => open.take().map(|open| Bracketed {
            candidate: Candidate { at: open, content: &text[open + 1..at] },
            close: at,
        }),
    })
}

/// The first `[..]` without brackets inside, starting at byte `from`.
pub(super) fn first_bracketed(text: &str, from: usize) -> Option<Candidate<'_>> {
    let close = from + text[from..].find(']')?;
    let open = from + text[from..close].rfind('[')?;
    Some(Candidate { at: open, content: &text[open + 1..close] })
}

// === impl Candidate ===

impl<'a> Candidate<'a> {
    /// Content that is not in any bracket.
    pub(super) fn bare(content: &'a str) -> Self {
        Self { at: 0, content }
    }

    /// The scores, if there are as many as responses shown, all whole and on the scale, and the item's own text does
    /// not contain them.
    pub(super) fn read(&self, shape: &ScoreShape) -> Result<Reading, Problem> {
        let numbers = self.numbers(shape)?;
        if shape.is_planted(&numbers) {
            return Err(Problem::Planted);
        }
        Ok(self.reading(numbers))
    }

    /// As [`Self::read`], for scores on a score line of the model's own: only what the item has on a score line counts
    /// as a copy.
    pub(super) fn read_on_score_line(&self, shape: &ScoreShape) -> Result<Reading, Problem> {
        let numbers = self.numbers(shape)?;
        if shape.is_planted_line(&numbers) {
            return Err(Problem::Planted);
        }
        Ok(self.reading(numbers))
    }

    fn reading(&self, numbers: Vec<i32>) -> Reading {
        let scores = numbers.into_iter().map(f64::from).collect();
        Reading { scores, has_fraction: self.content.contains('/') }
    }

    /// A single score.
    pub(super) fn number(&self, scale: Scale) -> Option<i32> {
        score(self.content, scale).ok()
    }

    /// The scores, whether copied or not.
    pub(super) fn numbers(&self, shape: &ScoreShape) -> Result<Vec<i32>, Problem> {
        // With semicolons as separators, a comma is a decimal comma: `8,5; 3,0` is not a list of four.
        let has_semicolon = self.content.contains(SEMICOLONS);
        let separators: &[char] = if has_semicolon { &SEMICOLONS } else { &COMMAS };
        let n_parts = self.content.split(separators).count();
        if n_parts != shape.n_shown {
            return Err(Problem::Count { found: n_parts });
        }
        let part = |part: &str| score(part.trim().trim_matches(['*', '$', ' ']), shape.scale);
        self.content.split(separators).map(part).collect()
    }
}

/// One score as written: `8`, `8.0`, `8/10`.
fn score(part: &str, scale: Scale) -> Result<i32, Problem> {
    let number = |is| {
        let written = part.chars().take(MAX_WRITTEN).collect();
        Err(Problem::Number { written, is })
    };
    let written = match part.split_once('/') {
        Some((numerator, denominator)) if whole(denominator) == Some(scale.max) => numerator.trim(),
        Some(_) if part.contains(|c: char| c.is_ascii_digit()) => {
            return number("a score of another scale");
        }
        _ => part,
    };
    match whole(written) {
        Some(score) if (scale.min..=scale.max).contains(&score) => Ok(score),
        Some(_) => number("off the scale"),
        None if !part.contains(|c: char| c.is_ascii_digit()) => {
            Err(Problem::Word(part.chars().take(MAX_WRITTEN).collect()))
        }
        None if part.ends_with('%') => number("a percentage"),
        None if part.contains(COMMAS) => number("a number with a decimal comma"),
        None if written.parse().is_ok_and(|value: f64| value.fract() != 0.0) => {
            number("no whole number")
        }
        None if written.bytes().all(|byte| byte.is_ascii_digit()) => number("off the scale"),
        None => number("not written as a whole number"),
    }
}

/// Digits alone, or after a sign; `8.` and `8.0` are whole as well.
fn whole(text: &str) -> Option<i32> {
    let text = text.trim();
    let (digits, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_whole = decimals.bytes().all(|byte| byte == b'0');
    if is_whole { digits.parse().ok() } else { None }
}

/// The text up to the brace that closes the one before it.
fn matching_brace(text: &str) -> Option<&str> {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate().take(MAX_CONTENT_BYTES) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

/// `\text{8, 3}` and the like, without the wrapping.
fn unwrapped(content: &str) -> &str {
    let inner = content.trim();
    let unwrap = || {
        let command = inner.strip_prefix('\\')?;
        let brace = command.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        brace.strip_prefix('{')?.strip_suffix('}')
    };
    unwrap().unwrap_or(inner)
}
