//! What a file of verdicts already has, and whether it may be gone on with.
//!
//! ```text
//! verdict with rewards, or without for good      its item is finished
//! verdict without, for a reason that may pass    its line goes, its item is judged again
//! verdict that is PARTIAL                        the same, where only whole ones are wanted
//! verdict of another item under the same id      the same: an id says nothing of what was judged
//! made with other settings or another seed       the file is refused: one file, one way to judge
//! ```
//!
//! Not promised: that the budget, the presence of samples and, without a stop rule, `min_samples` were the same; they do
//! not change the rewards of a verdict that is whole.

mod mixed;

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::ops::Range;
use std::sync::Arc;

use jury_grm::digest::item_digest;
use jury_grm::domain::{Counts, Item, Reason, ReasonCode, Status};
use serde::Deserialize;

use self::mixed::PastProvenance;
pub(super) use self::mixed::{Asked, JudgedBy};

/// The items that need no judging again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished {
    /// Their lines, by id, in the order in which they stand; shared with whoever writes.
    lines: Arc<HashMap<String, Vec<FinishedLine>>>,
    n_to_retry: usize,
}

/// The verdict of an item that needs no judging again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinishedLine {
    pub line: usize,
    /// Digest of what was judged; an older version did not write it.
    pub item: Option<String>,
}

/// An item's verdict of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The item's id.
    pub id: String,
    pub(super) line: usize,
}

/// What an earlier run makes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It has its verdict.
    Judged(Known),
    /// Another item was judged under its id.
    Changed,
    Nothing,
}

/// What a file of verdicts holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PastVerdicts {
    pub lines: Vec<PastLine>,
    /// Bytes of the file up to the end of its last whole line.
    pub whole_bytes: u64,
    /// Who judged the first verdict that a model made.
    pub judged_by: Option<JudgedBy>,
}

/// A verdict of the file.
#[derive(Debug, PartialEq)]
pub(super) struct PastLine {
    pub id: String,
    /// In bytes of the file, with the line end.
    pub range: Range<u64>,
    /// Digest of what was judged, if it tells.
    pub item: Option<String>,
    /// Its item is to be judged again.
    pub again: bool,
}

/// Which verdicts are not the last word on their items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Those without rewards, for a reason that may pass.
    Unscored,
    /// These, and those that are PARTIAL.
    Partial,
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
    counts: Option<Counts>,
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
    pub(super) fn new(lines: HashMap<String, Vec<FinishedLine>>, n_to_retry: usize) -> Self {
        Self { lines: Arc::new(lines), n_to_retry }
    }

    /// Items that are judged again: those without rewards so far, and those that are PARTIAL where only whole verdicts are wanted.
    pub fn n_to_retry(&self) -> usize {
        self.n_to_retry
    }

    /// What is known of an item: a verdict of just what it asks to judge comes first, then one that does not tell what was
    /// judged.
    pub(super) fn before(&self, item: &Item) -> Before {
        let lines = self.of(&item.id);
        if lines.is_empty() {
            return Before::Nothing;
        }
        let digest = item_digest(item);
        let is_same = |line: &&FinishedLine| line.item.as_ref() == Some(&digest);
        let known = lines.iter().find(is_same);
        match known.or_else(|| lines.iter().find(|line| line.item.is_none())) {
            Some(known) => Before::Judged(Known { id: item.id.clone(), line: known.line }),
            None => Before::Changed,
        }
    }

    /// The lines of all verdicts under an id.
    pub(super) fn of(&self, id: &str) -> &[FinishedLine] {
        self.lines.get(id).map_or(&[], Vec::as_slice)
    }
}

// === impl PastVerdicts ===

impl PastVerdicts {
    /// Reads a file of verdicts and holds it to what is asked for now; `None` takes any. A last
    /// line without its end was cut off while it was written, and does not count.
    ///
    /// # Errors
    /// [`ResumeError`] names the line.
    pub fn read(
        mut verdicts: impl BufRead,
        asked: Option<&Asked>,
        which_again: Again,
    ) -> Result<Self, ResumeError> {
        let mut read = Self::default();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let n_read = verdicts.read_until(b'\n', &mut bytes)? as u64;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let range = read.whole_bytes..read.whole_bytes + n_read;
            read.whole_bytes = range.end;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let past: Past = serde_json::from_slice(&bytes)
                .map_err(|problem| ResumeError::NotAVerdict { line, problem })?;
            let again = past.may_pass() || (which_again == Again::Partial && past.is_partial());
            let asked = asked.filter(|_| !again);
            let differ = |asked: &Asked| asked.differ(&past.provenance, past.n_planned());
            let differences = asked.map_or_else(Vec::new, differ);
            if !differences.is_empty() {
                return Err(ResumeError::Mixed { line, differences: differences.join(", ") });
            }
            if !again {
                let judged_by = past.provenance.judged_by();
                read.judged_by = JudgedBy::first(read.judged_by.take(), judged_by);
            }
            let item = past.provenance.item_digest;
            read.lines.push(PastLine { id: past.item_id, range, item, again });
        }
        Ok(read)
    }
}

// === impl Past ===

impl Past {
    /// Samples that were planned, without spare ones.
    fn n_planned(&self) -> Option<u32> {
        self.counts.map(|counts| counts.asked.saturating_sub(counts.spare))
    }

    /// True for a missing reward that the same request may bring another time, what a person may have mended meanwhile included.
    fn may_pass(&self) -> bool {
        let may_pass = |code: ReasonCode| code.may_pass() || code == ReasonCode::Rejected;
        let mut reasons = self.reasons.iter().flatten();
        self.status == Some(Status::Unscored) && reasons.any(|reason| may_pass(reason.code))
    }

    fn is_partial(&self) -> bool {
        self.status == Some(Status::Partial)
    }
}

#[cfg(test)]
mod tests;
