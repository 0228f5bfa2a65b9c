//! Headings at the start of a line: `Scores:`, `**Scores:**`, `### Scores`, `Analysis:`.

use std::ops::Range;

/// Markup that may stand before a heading's word.
const MARKUP: [char; 7] = ['#', '*', '_', '>', '-', ' ', '\t'];

/// How much of a `Scores` heading the last line of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading {
    /// None of it.
    None,
    /// The word, and nothing after it yet.
    WordOnly,
    /// The word and its colon, or a heading line that has ended.
    Complete,
}

/// The last `Scores` heading: its line's start, and the end of its word and colon.
pub(super) fn last_scores_heading(text: &str) -> Option<Range<usize>> {
    let headings = line_starts(text).filter_map(|start| {
        let word_end = scores_word(&text[start..])?;
        let rest = &text[start + word_end..];
        is_after_word(rest).then(|| start..start + word_end)
    });
    headings.last()
}

/// The first heading with one of `words` (lower case): its line's start, and the end of its colon.
pub(super) fn first_heading(text: &str, words: &[&str]) -> Option<Range<usize>> {
    line_starts(text).find_map(|start| {
        let line = &text[start..];
        let markup = line.len() - line.trim_start_matches(MARKUP).len();
        let word = words.iter().find(|word| starts_with_word(&line[markup..], word))?;
        let after = &line[markup + word.len()..];
        let closing = after.len() - after.trim_start_matches(['*', ' ', '_']).len();
        let after_closing = &after[closing..];
        if let Some(rest) = after_closing.strip_prefix(':') {
            let end = text.len() - rest.trim_start_matches(['*', '_']).len();
            return Some(start..end);
        }
        let is_whole_line = after_closing.is_empty() || after_closing.starts_with(['\n', '\r']);
        is_whole_line.then(|| start..text.len() - after_closing.len())
    })
}

/// How much of a `Scores` heading the last line is; an empty last line looks at the one before.
pub fn last_line_heading(text: &str) -> Heading {
    let (line, has_ended) = match text.strip_suffix('\n') {
        Some(before) => (before.rsplit('\n').next().unwrap_or_default(), true),
        None => (text.rsplit('\n').next().unwrap_or_default(), false),
    };
    let Some(word_end) = scores_word(line) else { return Heading::None };
    let after = line[word_end..].trim_start_matches(['*', '_', ' ']).trim_end_matches('\r');
    match after.strip_prefix(':') {
        // Whatever follows the colon must be markup or the box itself: `Scores: as I said` ends
        // nothing once the line has gone on.
        Some(rest) if rest.trim_matches(['*', '_', ' ', '$']).is_empty() => Heading::Complete,
        Some(rest) if rest.trim_matches(['*', '_', ' ', '$']) == "\\boxed{" => Heading::Complete,
        Some(_) => Heading::None,
        None if after.is_empty() && has_ended => Heading::Complete,
        None if after.is_empty() => Heading::WordOnly,
        None => Heading::None,
    }
}

/// The end of `Scores` or `Final Scores` at the start of a line, after any markup.
fn scores_word(line: &str) -> Option<usize> {
    let markup = line.len() - line.trim_start_matches(MARKUP).len();
    ["scores", "final scores"]
        .into_iter()
        .find(|word| starts_with_word(&line[markup..], word))
        .map(|word| markup + word.len())
}

/// A heading's word is followed by its colon, markup, a box, or the end of the line: `Scores are
/// hard to give` is prose.
fn is_after_word(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['*', '_', ' ', '\t', '$']);
    rest.is_empty() || rest.starts_with([':', '\n', '\r', '\\', '[', '=', '：'])
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let head = text.as_bytes().get(..word.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        && !text[word.len()..].starts_with(char::is_alphanumeric)
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1))
}
