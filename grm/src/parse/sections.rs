//! Principles and critique: what stands before and after the `Analysis` heading.

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
    /// What was odd.
    pub issues: Vec<Issue>,
}

/// Splits a trajectory without its score line. Nothing is lost but headings, outer space, and what
/// the model thought before its principles.
pub fn sections(text: &str) -> Sections {
    of_own(text, &own_words(text, Begins::Plainly).0)
}

/// The same, where `own` is the text without what is not the model's own: headings count in it alone.
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
