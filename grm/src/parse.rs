//! Model text to scores: an outcome with its issues, never a panic, never a guess.
//!
//! ```text
//! ... Specific Criteria: <principles> Analysis: <critique> Scores: \boxed{8, 3}
//! ```
//!
//! Order of precedence:
//!
//! 1. the last `Scores` heading that has a box under it: of those boxes, the last of the right
//!    shape;
//! 2. a bare `[8, 3]`, the first bracket under the last `Scores` heading, if it has the right shape;
//! 3. only in a text without a `Scores` heading: the last box of the right shape anywhere.
//!
//! The right shape is as many numbers as responses shown, all whole and on the scale. Whatever
//! else there is makes a failed sample that says which rule broke: published parsers drop and
//! clamp instead, and so make rewards up. A box before the heading never counts: it may be one that
//! the critique quotes from a response.

pub(crate) mod heading;
mod score_box;
mod sections;
mod watch;

use crate::domain::{Failure, FailureKind, Finish, Issue, Outcome, Scale, Scores};
use heading::scores_headings;
use score_box::{Candidate, Problem, Reading, boxes, first_bracketed};

pub use sections::{Sections, sections};
pub use watch::ScoreBoxWatch;

/// Version of this module's decisions. Part of the method digest: change it with them.
pub const PARSER_VERSION: u32 = 1;

/// How a box begins.
pub(crate) const BOX_OPENING: &str = "\\boxed{";

/// What a text amounts to.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The criteria that the model wrote.
    pub principles: String,
    /// The analysis of the responses.
    pub critique: String,
    /// Scores, or why there are none.
    pub outcome: Outcome,
    /// Oddities.
    pub issues: Vec<Issue>,
}

/// Reads the text of a free sample that showed `n_shown` responses. Takes time linear in the text.
///
/// Without scores, the critique goes on to the text's end, so that a person can see what the model
/// wrote in their place.
pub fn parse_free(text: &str, n_shown: usize, scale: Scale, finish: Finish) -> Parsed {
    let found = find(text, n_shown, scale);
    let trajectory_end = found.as_ref().map_or(text.len(), |found| found.score_line);
    let sections = sections(&text[..trajectory_end]);
    let mut issues = sections.issues;
    let outcome = match found {
        Ok(found) => {
            issues.extend(found.issues);
            Outcome::Scored(Scores {
                scores: found.scores,
                score_distribution: None,
                readout_mass: None,
                forced: false,
            })
        }
        Err(kind) => Outcome::Failed { failure: failure(kind, n_shown, scale, finish) },
    };
    Parsed { principles: sections.principles, critique: sections.critique, outcome, issues }
}

impl Parsed {
    /// The scores, if there are any.
    pub fn scores(&self) -> Option<&Scores> {
        match &self.outcome {
            Outcome::Scored(scores) => Some(scores),
            Outcome::Failed { .. } => None,
        }
    }
}

/// Scores and where they stood.
#[derive(Debug)]
struct Found {
    /// Where the trajectory ends: at the heading of the scores, or at their box.
    score_line: usize,
    scores: Vec<f64>,
    issues: Vec<Issue>,
}

/// Applies the order of precedence; without scores, the kind of failure of the likeliest place.
fn find(text: &str, n_shown: usize, scale: Scale) -> Result<Found, FailureKind> {
    let boxes = boxes(text);
    let headings: Vec<_> = scores_headings(text).collect();
    let Some(last_heading) = headings.last() else {
        let found = last_of_shape(&boxes, n_shown, scale)?;
        return Ok(Found {
            issues: [vec![Issue::BoxOutsideScores], found.issues].concat(),
            ..found
        });
    };
    // The heading over the last box: the last one before it.
    let boxed_heading = boxes
        .last()
        .and_then(|last_box| headings.iter().rfind(|heading| heading.end <= last_box.at));
    if let Some(heading) = boxed_heading {
        let first_under = boxes.partition_point(|candidate| candidate.at < heading.end);
        let found = last_of_shape(&boxes[first_under..], n_shown, scale)?;
        return Ok(Found { score_line: heading.start, ..found });
    }
    let bare = first_bracketed(text, last_heading.end).ok_or(FailureKind::NoBox)?;
    let found = last_of_shape(&[bare], n_shown, scale).map_err(|_| FailureKind::NoBox)?;
    let issues = [vec![Issue::BareBrackets], found.issues].concat();
    Ok(Found { score_line: last_heading.start, issues, ..found })
}

/// The last candidate of the right shape; without one, what is wrong with the last.
fn last_of_shape(
    candidates: &[Candidate<'_>],
    n_shown: usize,
    scale: Scale,
) -> Result<Found, FailureKind> {
    let mut last: Option<(usize, Reading)> = None;
    let mut n_of_shape = 0;
    let mut problem = FailureKind::NoBox;
    for candidate in candidates {
        match candidate.read(n_shown, scale) {
            Ok(reading) => {
                last = Some((candidate.at, reading));
                n_of_shape += 1;
            }
            Err(Problem::Count) => problem = FailureKind::WrongCount,
            Err(Problem::Range) => problem = FailureKind::OutOfRange,
        }
    }
    let (score_line, reading) = last.ok_or(problem)?;
    let mut issues = Vec::new();
    if n_of_shape > 1 {
        issues.push(Issue::SeveralBoxes);
    }
    if reading.has_fraction {
        issues.push(Issue::Fraction);
    }
    Ok(Found { score_line, scores: reading.scores, issues })
}

fn failure(kind: FailureKind, n_shown: usize, scale: Scale, finish: Finish) -> Failure {
    let Scale { min, max } = scale;
    let scores = if n_shown == 1 { "1 score".to_owned() } else { format!("{n_shown} scores") };
    let ended = match finish {
        Finish::Limit => "; the text ended at its token limit",
        Finish::Box | Finish::EndOfText | Finish::None => "",
    };
    let detail = match kind {
        FailureKind::WrongCount => format!("the score box does not hold {scores}"),
        FailureKind::OutOfRange => {
            format!("the score box holds something else than whole numbers from {min} to {max}")
        }
        _ => format!("the text has no score box with {scores}"),
    };
    Failure { kind, detail: detail + ended }
}

#[cfg(test)]
mod tests;
