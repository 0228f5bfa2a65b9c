//! What a file of verdicts already has, and whether it may be gone on with.
//!
//! ```text
//! verdict with rewards, or without for good      its item is finished
//! verdict without, for a reason that may pass    its line goes, its item is judged again
//! made with other settings or another seed       the file is refused: one file, one way to judge
//! ```
//!
//! Not promised: that the budget, `min_samples` and the presence of samples were the same; they do
//! not change what a valid sample says.

mod mixed;

use std::collections::HashSet;
use std::io::{self, BufRead};
use std::ops::Range;

use jury_grm::domain::{Reason, Status};
use serde::Deserialize;

use self::mixed::PastProvenance;
pub(super) use self::mixed::{Asked, JudgedBy};

/// The items that need no judging again.
#[derive(Debug, Default, PartialEq)]
pub struct Finished {
    ids: HashSet<String>,
    /// Bytes of the file up to the end of its last whole verdict.
    pub(super) whole_bytes: u64,
    /// Where the lines stand, in bytes, whose items are to be judged again.
    pub(super) to_retry: Vec<Range<u64>>,
    /// Who judged the first verdict that a model made.
    pub(super) judged_by: Option<JudgedBy>,
}

/// The part of a verdict that matters here.
#[derive(Deserialize)]
struct Past {
    item_id: String,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    reasons: Vec<Option<Reason>>,
    #[serde(default)]
    provenance: PastProvenance,
}

/// Why a file cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It holds something else.
    #[error("line {line} is no verdict: {problem}")]
    NotAVerdict {
        /// 1-based.
        line: usize,
        /// What the parser met.
        problem: serde_json::Error,
    },
    /// Rewards of two ways to judge are not comparable.
    #[error("line {line} was judged in another way: {differences}")]
    Mixed {
        /// 1-based.
        line: usize,
        /// Every field, with both values.
        differences: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

// === impl Finished ===

impl Finished {
    /// Reads a file of verdicts and holds it to what is asked for now; `None` takes any. A last
    /// line without its end was cut off while it was written: it does not count, and is to be
    /// overwritten.
    ///
    /// # Errors
    /// [`ResumeError`] names the line.
    pub(super) fn read(
        mut verdicts: impl BufRead,
        asked: Option<&Asked>,
    ) -> Result<Self, ResumeError> {
        let mut finished = Self::default();
        for line in 1.. {
            let mut bytes = Vec::new();
            let n_read = verdicts.read_until(b'\n', &mut bytes)? as u64;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let starts = finished.whole_bytes;
            finished.whole_bytes += n_read;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let past: Past = serde_json::from_slice(&bytes)
                .map_err(|problem| ResumeError::NotAVerdict { line, problem })?;
            if past.may_pass() {
                finished.to_retry.push(starts..finished.whole_bytes);
                continue;
            }
            let differences = asked.map_or_else(Vec::new, |asked| asked.differ(&past.provenance));
            if !differences.is_empty() {
                return Err(ResumeError::Mixed { line, differences: differences.join(", ") });
            }
            if finished.judged_by.is_none() {
                finished.judged_by = past.provenance.judged_by();
            }
            finished.ids.insert(past.item_id);
        }
        Ok(finished)
    }

    /// Items without reward so far that are judged again.
    pub fn n_to_retry(&self) -> usize {
        self.to_retry.len()
    }

    /// True when the item has its verdict.
    pub fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

// === impl Past ===

impl Past {
    /// True for a missing reward that the same request may bring another time.
    fn may_pass(&self) -> bool {
        let mut reasons = self.reasons.iter().flatten();
        self.status == Some(Status::Unscored) && reasons.any(|reason| reason.code.may_pass())
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::{ReasonCode, ScoreRequest};

    use super::super::fixture::verdict;
    use super::*;

    fn read(file: &str) -> Result<Finished, ResumeError> {
        Finished::read(file.as_bytes(), None)
    }

    #[test]
    fn a_verdict_spares_its_item_alone() {
        let finished = read("{\"item_id\":\"a\",\"x\":1}\n").unwrap();
        assert!(finished.has("a") && !finished.has("b"));
    }

    #[test]
    fn a_verdict_cut_off_while_written_does_not_count() {
        let finished = read("{\"item_id\":\"a\"}\n{\"item_id\":\"b\"").unwrap();
        assert_eq!(finished.whole_bytes, 16);
        assert!(finished.has("a") && !finished.has("b"));
    }

    #[test]
    fn another_kind_of_file_is_refused_with_its_line() {
        let error = read("{\"item_id\":\"a\"}\nhello\n").unwrap_err();
        assert!(error.to_string().starts_with("line 2 is no verdict"), "{error}");
    }

    #[test]
    fn an_item_is_judged_again_when_what_kept_its_reward_may_have_passed() {
        for (code, again) in [
            (ReasonCode::Budget, true),
            (ReasonCode::NoWorker, true),
            (ReasonCode::WorkerFailed, true),
            (ReasonCode::UnknownModel, true),
            (ReasonCode::TooLarge, true),
            (ReasonCode::TooLong, false),
            (ReasonCode::ParseFailed, false),
        ] {
            let mut verdict = verdict("capital");
            verdict.status = Status::Unscored;
            verdict.rewards = vec![None, None];
            verdict.reasons = vec![Some(Reason { code, detail: String::new() }); 2];
            let line = format!("{}\n", serde_json::to_string(&verdict).unwrap());
            let file = format!("{{\"item_id\":\"a\"}}\n{line}");
            let finished = read(&file).unwrap();
            let range = 16..(16 + line.len() as u64);
            assert_eq!(finished.has("capital"), !again, "{code:?}");
            assert_eq!(finished.to_retry, if again { vec![range] } else { vec![] }, "{code:?}");
        }
    }

    #[test]
    fn a_file_judged_in_another_way_is_refused_with_every_difference() {
        let verdict = verdict("capital");
        let line = format!("{}\n", serde_json::to_string(&verdict).unwrap());
        let item = jury_grm::domain::Item::bare(
            jury_grm::domain::Query::Text("q".to_owned()),
            vec!["r".to_owned()],
        );
        let mut request = ScoreRequest { seed: 7, ..ScoreRequest::new(item) };
        request.settings.k = 1;
        let same = Finished::read(line.as_bytes(), Some(&Asked::of(&request)));
        assert!(same.unwrap().has("capital"));

        (request.seed, request.settings.k) = (5, 2);
        let error = Finished::read(line.as_bytes(), Some(&Asked::of(&request))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 was judged in another way: seed was 7, is 5, k was 1, is 2"
        );
    }

    #[test]
    fn another_judge_is_told_by_its_digest() {
        let mut verdict = verdict("capital");
        let line = format!("{}\n", serde_json::to_string(&verdict).unwrap());
        let before = read(&line).unwrap().judged_by.unwrap();
        assert_eq!(before.differ(&verdict.provenance), None);
        verdict.provenance.model_digest = Some("fedcba9876543210".to_owned());
        let told = before.differ(&verdict.provenance).unwrap();
        assert!(told.contains("01234567") && told.contains("fedcba98"), "{told}");
    }
}
