//! Principles and critique: the text before and after the `Analysis` heading.

use std::ops::Range;

use super::heading::first_heading;
use super::own::{Begins, own_words};
use crate::domain::Issue;

/// The parts of a trajectory before its scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sections {
    /// The criteria that the model wrote; empty when it marked none.
    pub principles: String,
    /// The analysis of the responses.
    pub critique: String,
    /// What was unusual.
    pub issues: Vec<Issue>,
}

/// Splits a trajectory without its score line. Nothing is dropped except headings, surrounding space, and the model's
/// thoughts before its principles.
pub fn sections(text: &str) -> Sections {
    of_own(text, &own_words(text, Begins::Plainly).0)
}

/// As [`sections`], given `own`, the model's own words in `text`: only headings in those count.
pub(super) fn of_own(text: &str, own: &str) -> Sections {
    let whole = 0..text.len();
    let (principles, critique, issues) = match first_heading(own, &["analysis"]) {
        Some(analysis) => (0..analysis.start, analysis.end..text.len(), Vec::new()),
        None => (0..0, whole, vec![Issue::NoAnalysisHeading]),
    };
    let cut = |part: Range<usize>| text[without_heading(own, part)].trim().to_owned();
    Sections { principles: cut(principles), critique: cut(critique), issues }
}

/// The part after a leading `Specific Criteria` heading.
fn without_heading(own: &str, part: Range<usize>) -> Range<usize> {
    match first_heading(&own[part.clone()], &["specific criteria"]) {
        Some(heading) if own[part.start..part.start + heading.start].trim().is_empty() => {
            part.start + heading.end..part.end
        }
        _ => part,
    }
}
