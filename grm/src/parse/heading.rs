//! Headings at the start of a line: `Scores:`, `**Scores:**`, `### 3. Scores`, `Analysis:`.

mod growing;

use std::ops::Range;

pub(crate) use growing::GrowingLine;

/// Markup that may precede a heading's word. No `>`: quoted text is not the model's own.
const MARKUP: [char; 6] = ['#', '*', '_', '-', ' ', '\t'];
/// Markup that may appear between a heading's word, its colon and the rest of the line.
const INNER_MARKUP: [char; 5] = ['*', '_', '$', ' ', '\t'];
/// What a heading of scores says, in lower case.
const SCORES: [&str; 2] = ["scores", "final scores"];
/// A heading's colon, ASCII or full width.
const COLON: [char; 2] = [':', '：'];
/// Maximum number of digits before a heading.
const MAX_NUMBER_DIGITS: usize = 2;

/// How much of a `Scores` heading the last line of a text contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading<'a> {
    /// None of it.
    None,
    /// The word, with nothing after it yet.
    WordOnly,
    /// The word and its colon, or a heading line that has ended.
    Complete {
        /// The rest of the same line, without markup: nothing, or the beginning of a box.
        rest: &'a str,
    },
}

/// The end of the word of the `Scores` heading that begins at the start of `line`. Text after the first line is
/// ignored.
pub(crate) fn scores_heading(line: &str) -> Option<usize> {
    let word_end = scores_word(line)?;
    // A word followed by prose is not a heading: `Scores are hard to give`.
    let after = line[word_end..].trim_start_matches(INNER_MARKUP);
    let is_heading = after.is_empty()
        || after.starts_with(COLON)
        || after.starts_with(['\n', '\r', '\\', '[', '=']);
    is_heading.then_some(word_end)
}

/// Every `Scores` heading, in order: from the start of its line to the end of its word.
pub(super) fn scores_headings(text: &str) -> impl Iterator<Item = Range<usize>> {
    line_starts(text).filter_map(|start| Some(start..start + scores_heading(&text[start..])?))
}

/// The first heading with one of `words` (lower case): from the start of its line to the end of its colon.
pub(super) fn first_heading(text: &str, words: &[&str]) -> Option<Range<usize>> {
    line_starts(text).find_map(|start| {
        let line = &text[start..];
        let markup = markup_length(line);
        let word = words.iter().find(|word| starts_with_word(&line[markup..], word))?;
        let after = line[markup + word.len()..].trim_start_matches(INNER_MARKUP);
        if let Some(rest) = after.strip_prefix(COLON) {
            let end = text.len() - rest.trim_start_matches(['*', '_']).len();
            return Some(start..end);
        }
        let is_whole_line = after.is_empty() || after.starts_with(['\n', '\r']);
        is_whole_line.then(|| start..text.len() - after.len())
    })
}

/// How much of a `Scores` heading the last line contains. Blank lines after it end it.
pub(crate) fn last_line_heading(text: &str) -> Heading<'_> {
    let trimmed = text.trim_end();
    let has_ended = text[trimmed.len()..].contains('\n');
    let line = trimmed.rsplit('\n').next().unwrap_or_default();
    let Some(word_end) = scores_word(line) else { return Heading::None };
    let after = line[word_end..].trim_start_matches(INNER_MARKUP);
    match after.strip_prefix(COLON) {
        // Only the beginning of a box may follow the colon: `Scores: as I said` does not end the critique.
        Some(rest) => match rest.trim_matches(INNER_MARKUP) {
            rest if begins_box(rest) => Heading::Complete { rest },
            _ => Heading::None,
        },
        None if !after.is_empty() => Heading::None,
        None if has_ended => Heading::Complete { rest: "" },
        None => Heading::WordOnly,
    }
}

/// True for empty text and for any beginning of `\boxed{`, up to the whole of it.
fn begins_box(text: &str) -> bool {
    super::BOX_OPENING.starts_with(text)
}

/// The end of `Scores` or `Final Scores` at the start of a line, after any markup.
fn scores_word(line: &str) -> Option<usize> {
    if is_nested_bullet(line) {
        return None;
    }
    let markup = markup_length(line);
    SCORES
        .into_iter()
        .find(|word| starts_with_word(&line[markup..], word))
        .map(|word| markup + word.len())
}

/// True for an item of a nested list, in which small models score single criteria.
fn is_nested_bullet(line: &str) -> bool {
    let item = line.trim_start_matches([' ', '\t']);
    item.len() < line.len() && (item.starts_with("- ") || item.starts_with("* "))
}

/// Length of what may precede a heading's word: markup, and one number (`3.`, `3)`).
fn markup_length(line: &str) -> usize {
    let after_markup = line.trim_start_matches(MARKUP);
    let after_digits = after_markup.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = after_markup.len() - after_digits.len();
    let rest = match after_digits.strip_prefix(['.', ')']) {
        Some(after_number) if (1..=MAX_NUMBER_DIGITS).contains(&digits) => {
            after_number.trim_start_matches(MARKUP)
        }
        _ => after_markup,
    };
    line.len() - rest.len()
}

fn starts_with_word(text: &str, word: &str) -> bool {
    let head = text.as_bytes().get(..word.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        && !text[word.len()..].starts_with(char::is_alphanumeric)
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1))
}
