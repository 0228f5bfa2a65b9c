//! Boxes and brackets, and the numbers in them.

use crate::domain::Scale;

/// Longest content of a box that is looked at: 64 scores take a fifth of it. Bounds the work on a
/// text of unclosed boxes.
const MAX_CONTENT_BYTES: usize = 1024;

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
    /// One of them was written like `8/10`.
    pub(super) has_fraction: bool,
}

/// Why the inside of a box has another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// Another number of parts than responses shown.
    Count,
    /// A part is no whole number on the scale.
    Range,
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

/// The first `[..]` without brackets inside, from byte `from` on.
pub(super) fn first_bracketed(text: &str, from: usize) -> Option<Candidate<'_>> {
    let close = from + text[from..].find(']')?;
    let open = from + text[from..close].rfind('[')?;
    Some(Candidate { at: open, content: &text[open + 1..close] })
}

// === impl Candidate ===

impl Candidate<'_> {
    /// The numbers, if there are `n_shown` and all are whole and on the scale.
    pub(super) fn read(&self, n_shown: usize, scale: Scale) -> Result<Reading, Problem> {
        let parts: Vec<&str> = self.content.split([',', '，', ';']).map(str::trim).collect();
        if parts.len() != n_shown {
            return Err(Problem::Count);
        }
        let mut reading = Reading { scores: Vec::with_capacity(n_shown), has_fraction: false };
        for part in parts {
            let part = part.trim_matches(['*', '$', ' ']);
            let whole = match part.split_once('/') {
                Some((numerator, denominator)) => {
                    let is_of_scale = number(denominator) == Some(scale.max);
                    reading.has_fraction = true;
                    if is_of_scale { number(numerator) } else { None }
                }
                None => number(part),
            };
            match whole {
                Some(score) if (scale.min..=scale.max).contains(&score) => {
                    reading.scores.push(f64::from(score));
                }
                Some(_) => return Err(Problem::Range),
                // A word where a number belongs: published parsers drop it, and the count is off.
                None if !part.contains(|c: char| c.is_ascii_digit()) => return Err(Problem::Count),
                None => return Err(Problem::Range),
            }
        }
        Ok(reading)
    }
}

/// Digits alone, or behind a sign.
fn number(text: &str) -> Option<i32> {
    text.trim().parse().ok()
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
