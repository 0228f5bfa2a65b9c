//! Principles and critique: what stands before and after the `Analysis` heading.

use super::heading::first_heading;
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

/// Splits a trajectory without its score line. Nothing is lost but headings and outer space.
pub fn sections(text: &str) -> Sections {
    let (principles, critique, issues) = match first_heading(text, &["analysis"]) {
        Some(analysis) => (&text[..analysis.start], &text[analysis.end..], Vec::new()),
        None => ("", text, vec![Issue::NoAnalysisHeading]),
    };
    Sections {
        principles: without_heading(principles).trim().to_owned(),
        critique: without_heading(critique).trim().to_owned(),
        issues,
    }
}

/// The text after a leading `Specific Criteria` heading.
fn without_heading(text: &str) -> &str {
    match first_heading(text, &["specific criteria"]) {
        Some(heading) if text[..heading.start].trim().is_empty() => &text[heading.end..],
        _ => text,
    }
}
