//! Model text to scores: an outcome with its issues, never a panic, never a guess.
//!
//! ```text
//! ... Specific Criteria: <principles> Analysis: <critique> Scores: \boxed{8, 3}
//! ```
//!
//! Order of precedence: the last box of the right shape under the last `Scores` heading; the last
//! bare `[8, 3]` of the right shape there; the last box of the right shape anywhere. The right
//! shape is as many numbers as responses shown, all on the scale. Whatever else there is makes a
//! failed sample that says which rule broke: published parsers drop and clamp instead, and so make
//! rewards up.

pub mod heading;
mod score_box;
mod sections;
mod watch;

use crate::domain::{Failure, FailureKind, Finish, Issue, Outcome, Scale, Scores};
use heading::last_scores_heading;
use score_box::{Candidate, Problem, boxes, bracketed};

pub use sections::{Sections, sections};
pub use watch::ScoreBoxWatch;

/// Version of this module's decisions. Part of the method digest: change it with them.
pub const PARSER_VERSION: u32 = 1;

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
pub fn parse_free(text: &str, n_shown: usize, scale: Scale, finish: Finish) -> Parsed {
    let heading = last_scores_heading(text);
    let found = find(text, heading.as_ref().map(|heading| heading.end), n_shown, scale);
    let trajectory_end = match (&found, heading) {
        (Ok(found), Some(heading)) if found.at >= heading.end => heading.start,
        (Ok(found), _) => found.at,
        (Err(_), Some(heading)) => heading.start,
        (Err(_), None) => text.len(),
    };
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
    at: usize,
    scores: Vec<f64>,
    issues: Vec<Issue>,
}

/// Applies the order of precedence; without scores, the kind of failure of the likeliest place.
fn find(
    text: &str,
    under_heading: Option<usize>,
    n_shown: usize,
    scale: Scale,
) -> Result<Found, FailureKind> {
    let all = boxes(text);
    let read = |candidate: &Candidate| candidate.read(n_shown, scale);
    let mut near_miss = None;
    if let Some(heading_end) = under_heading {
        let under: Vec<&Candidate> = all.iter().filter(|found| found.at >= heading_end).collect();
        if let Some(found) = last_of_shape(&under, read, &[]) {
            return Ok(found);
        }
        near_miss = under.iter().rev().find_map(|candidate| read(candidate).err());
        let bare = bracketed(text, heading_end);
        let bare: Vec<&Candidate> = bare.iter().collect();
        if let Some(found) = last_of_shape(&bare, read, &[Issue::BareBrackets]) {
            return Ok(found);
        }
    }
    let all: Vec<&Candidate> = all.iter().collect();
    if let Some(found) = last_of_shape(&all, read, &[Issue::BoxOutsideScores]) {
        return Ok(found);
    }
    let near_miss =
        near_miss.or_else(|| all.iter().rev().find_map(|candidate| read(candidate).err()));
    Err(match near_miss {
        None => FailureKind::NoBox,
        Some(Problem::Count) => FailureKind::WrongCount,
        Some(Problem::Range) => FailureKind::OutOfRange,
    })
}

fn last_of_shape(
    candidates: &[&Candidate],
    read: impl Fn(&Candidate) -> Result<score_box::Reading, Problem>,
    issues: &[Issue],
) -> Option<Found> {
    let mut right: Vec<_> = candidates
        .iter()
        .filter_map(|candidate| Some((candidate.at, read(candidate).ok()?)))
        .collect();
    let n_right = right.len();
    let (at, reading) = right.pop()?;
    let mut issues = issues.to_vec();
    if n_right > 1 {
        issues.push(Issue::SeveralBoxes);
    }
    if reading.has_fraction {
        issues.push(Issue::Fraction);
    }
    Some(Found { at, scores: reading.scores, issues })
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
