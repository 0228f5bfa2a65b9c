//! Reads scores from a model's text: an outcome with its issues, never a panic, never a guess.
//!
//! ```text
//! ... Specific Criteria: <principles> Analysis: <critique> Scores: \boxed{8, 3}
//! ```
//!
//! Only the model's own words count: no thoughts, no fenced blocks, no quotations, and no scores that the item's own
//! text contains ([`ScoreShape::of_prompt`]). Among these, in order of precedence:
//!
//! 1. the last `Scores` heading that has a box under it: of those boxes, the last of the right
//!    shape;
//! 2. a bare `[8, 3]`, the first bracket under the last `Scores` heading, if it has the right shape;
//! 3. only in a text without a `Scores` heading: the last box of the right shape anywhere.
//!
//! The right shape is as many numbers as responses shown, all whole (`8`, `8.0`) and on the scale. Anything else makes
//! a failed sample that says which rule was broken. (Published parsers drop and clamp values instead, and so invent
//! rewards.) A box before the heading never counts: the critique may be quoting it from a response.

pub(crate) mod heading;
pub(crate) mod own;
mod planted;
mod score_box;
mod sections;
mod shape;
mod watch;

use std::ops::Range;

use crate::domain::{Failure, FailureKind, Finish, Issue, Outcome, Scale, Scores};
use heading::scores_headings;
use own::own_words;
use score_box::{Candidate, Problem, Reading, boxes, first_bracketed};

pub use own::Begins;
pub use sections::{Sections, sections};
pub use shape::ScoreShape;
pub use watch::ScoreBoxWatch;

/// Version of this module's decisions. Part of the method digest: change it with them.
pub const PARSER_VERSION: u32 = 3;

/// How a box begins.
pub(crate) const BOX_OPENING: &str = "\\boxed{";
/// Markup that may stand before a box that begins a line.
pub(crate) const BOX_MARKUP: [char; 6] = ['*', '_', '$', '#', ' ', '\t'];

/// The result of parsing a text.
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

/// Parses the text of a free sample whose scores must have `shape`. Takes time linear in the text.
///
/// Without scores, the critique runs to the end of the text, so that people can see what the model wrote instead.
pub fn parse_free(text: &str, shape: &ScoreShape, finish: Finish) -> Parsed {
    let (own, open) = own_words(text, shape.begins);
    let found = find(&own, shape);
    let trajectory_end = found.as_ref().map_or(text.len(), |found| found.score_line);
    let sections = sections::of_own(&text[..trajectory_end], &own[..trajectory_end]);
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
        Err(problem) => {
            let ended = match finish {
                _ if open.thoughts > 0 => "; the text ended inside a thought",
                Finish::Limit => "; the text ended at its token limit",
                Finish::Box | Finish::EndOfText | Finish::None => "",
            };
            let (kind, detail) = described(problem, shape);
            Outcome::Failed { failure: Failure { kind, detail: detail + ended } }
        }
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

/// Scores and where they were found.
#[derive(Debug)]
struct Found {
    /// Where the trajectory ends: at the heading of the scores, or at their box.
    score_line: usize,
    scores: Vec<f64>,
    issues: Vec<Issue>,
}

/// Applies the order of precedence. If there are no scores, returns what is wrong at the likeliest place, if there is
/// one.
fn find(own: &str, shape: &ScoreShape) -> Result<Found, Option<Problem>> {
    let boxes = boxes(own);
    let headings: Vec<_> = scores_headings(own).collect();
    let found = find_in(own, &boxes, &headings, shape);
    found.or_else(|problem| single_score_line(&boxes, &headings, shape).ok_or(problem))
}

/// With one response shown: the box that begins a score line, even if the item contains the same box elsewhere.
fn single_score_line(
    boxes: &[Candidate<'_>],
    headings: &[Range<usize>],
    shape: &ScoreShape,
) -> Option<Found> {
    let under = |heading: &&Range<usize>| {
        boxes.get(boxes.partition_point(|candidate| candidate.at < heading.end))
    };
    let heading =
        headings.iter().rfind(|heading| shape.n_shown == 1 && under(heading).is_some())?;
    let reading = under(&heading)?.read_on_score_line(shape).ok()?;
    let issues = if reading.has_fraction { vec![Issue::Fraction] } else { Vec::new() };
    Some(Found { score_line: heading.start, scores: reading.scores, issues })
}

fn find_in(
    own: &str,
    boxes: &[Candidate<'_>],
    headings: &[Range<usize>],
    shape: &ScoreShape,
) -> Result<Found, Option<Problem>> {
    let Some(last_heading) = headings.last() else {
        let found = last_of_shape(boxes, shape)?;
        return Ok(Found {
            issues: [vec![Issue::BoxOutsideScores], found.issues].concat(),
            ..found
        });
    };
    // The heading over the last box that is not a copy: the last heading before that box.
    let is_own =
        |candidate: &&Candidate<'_>| !matches!(candidate.read(shape), Err(Problem::Planted));
    let last_box = boxes.iter().rfind(is_own).or(boxes.last());
    let boxed_heading =
        last_box.and_then(|last| headings.iter().rfind(|heading| heading.end <= last.at));
    if let Some(heading) = boxed_heading {
        let first_under = boxes.partition_point(|candidate| candidate.at < heading.end);
        let found = last_of_shape(&boxes[first_under..], shape)?;
        return Ok(Found { score_line: heading.start, ..found });
    }
    let bare = first_bracketed(own, last_heading.end).ok_or(None)?;
    let found = last_of_shape(&[bare], shape)
        .map_err(|problem| problem.filter(|problem| *problem == Problem::Planted))?;
    let issues = [vec![Issue::BareBrackets], found.issues].concat();
    Ok(Found { score_line: last_heading.start, issues, ..found })
}

/// The last candidate of the right shape; if there is none, what is wrong with the last one.
fn last_of_shape(
    candidates: &[Candidate<'_>],
    shape: &ScoreShape,
) -> Result<Found, Option<Problem>> {
    let mut last: Option<(usize, Reading)> = None;
    let mut n_of_shape = 0;
    let mut last_problem = None;
    for candidate in candidates {
        match candidate.read(shape) {
            Ok(reading) => {
                last = Some((candidate.at, reading));
                n_of_shape += 1;
            }
            Err(problem) => last_problem = Some(problem),
        }
    }
    let (score_line, reading) = last.ok_or(last_problem)?;
    let mut issues = Vec::new();
    if n_of_shape > 1 {
        issues.push(Issue::SeveralBoxes);
    }
    if reading.has_fraction {
        issues.push(Issue::Fraction);
    }
    Ok(Found { score_line, scores: reading.scores, issues })
}

/// The failure's kind, and a sentence that describes it.
fn described(problem: Option<Problem>, shape: &ScoreShape) -> (FailureKind, String) {
    let Scale { min, max } = shape.scale;
    let scores = match shape.n_shown {
        1 => "1 score".to_owned(),
        n => format!("{n} scores"),
    };
    match problem {
        None => (FailureKind::NoBox, format!("the text has no score box with {scores}")),
        Some(Problem::Planted) => {
            let detail = "the score box repeats scores that the item's own text holds, so it may be a \
                          copy; a guided read-out has no such doubt";
            (FailureKind::NoBox, detail.to_owned())
        }
        Some(Problem::Count { found }) => {
            let values = if found == 1 { "value" } else { "values" };
            let detail = format!("the score box holds {found} {values} instead of {scores}");
            (FailureKind::WrongCount, detail)
        }
        Some(Problem::Word(word)) => {
            let detail = format!("the score box holds {word:?} where a score belongs");
            (FailureKind::WrongCount, detail)
        }
        Some(Problem::Number { written, is }) => {
            let detail = format!(
                "the score box holds {written:?}, which is {is}; a score is a whole number from {min} to {max}"
            );
            (FailureKind::OutOfRange, detail)
        }
    }
}

#[cfg(test)]
mod tests;
