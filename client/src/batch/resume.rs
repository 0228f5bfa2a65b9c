//! What a file of verdicts already has, and whether it may be gone on with.
//!
//! ```text
//! verdict with rewards, or without for good      its item is finished
//! verdict without, for a reason that may pass    its item is judged again; its line stays until the new one is there
//! verdict that is PARTIAL                        the same, where only whole ones are wanted
//! verdict of another item under the same id      the same: an id says nothing of what was judged
//! rewards by other settings, seed or judge       the file is refused: one file, one way to judge
//! ```
//!
//! Of two verdicts on one item the one of greater [`Worth`] stands: a run that had less time takes no reward away.
//!
//! Not promised: that the budget, the presence of samples and, without a stop rule, `min_samples` were the same; they do
//! not change the rewards of a verdict that is whole.

mod mixed;

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::ops::Range;
use std::sync::Arc;

use jury_grm::digest::item_digest;
use jury_grm::domain::{Counts, Item, Reason, ReasonCode, Status, Verdict};
use serde::Deserialize;

use self::mixed::PastProvenance;
pub(super) use self::mixed::{Asked, JudgedBy};

/// The verdicts of earlier runs, and so the items that need no judging again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finished {
    /// Their lines, by id, in the order in which they stand; shared with the sink.
    lines: Arc<HashMap<String, Vec<FinishedLine>>>,
}

/// A verdict of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinishedLine {
    pub line: usize,
    /// Digest of what was judged; an older version did not write it.
    pub item: Option<String>,
    pub worth: Worth,
    /// Its item is judged again.
    pub again: bool,
}

/// How much a verdict says about its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// No rewards, for a reason that may pass.
    Passing,
    /// No rewards, for good.
    Unscored,
    /// PARTIAL, by this many valid samples.
    Partial(u32),
    Whole,
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
    /// It has one that is not the last word.
    Again(Known),
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
    /// Who judged the first verdict that has the last word or rewards.
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
    pub worth: Worth,
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
    pub(super) fn new(lines: HashMap<String, Vec<FinishedLine>>) -> Self {
        Self { lines: Arc::new(lines) }
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
        let is_untold = |line: &&FinishedLine| line.item.is_none();
        let of = |again: bool| {
            let lines = || lines.iter().filter(move |line| line.again == again);
            let known = lines().find(is_same).or_else(|| lines().find(is_untold));
            known.map(|known| Known { id: item.id.clone(), line: known.line })
        };
        match (of(false), of(true)) {
            (Some(known), _) => Before::Judged(known),
            (None, Some(known)) => Before::Again(known),
            (None, None) if lines.iter().all(|line| line.again) => Before::Nothing,
            (None, None) => Before::Changed,
        }
    }

    /// The lines of all verdicts under an id.
    pub(super) fn of(&self, id: &str) -> &[FinishedLine] {
        self.lines.get(id).map_or(&[], Vec::as_slice)
    }
}

// === impl PastVerdicts ===

impl PastVerdicts {
    /// Reads a file of verdicts and checks it against what is asked for now, and against its first judge; `None` accepts any.
    /// What has no rewards so far is not checked. A last line without its end was cut off while it was written, and does not
    /// count.
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
            let worth = past.worth();
            let is_partial = matches!(worth, Worth::Partial(_));
            let again = worth == Worth::Passing || (which_again == Again::Partial && is_partial);
            if worth != Worth::Passing {
                let is_by = past.provenance.judged_by();
                if let Some(asked) = asked {
                    let mut differences = asked.differ(&past.provenance, past.n_planned());
                    let first = read.judged_by.as_ref().zip(is_by.as_ref());
                    differences.extend(first.and_then(|(first, is_by)| first.differ(is_by)));
                    if !differences.is_empty() {
                        let differences = differences.join(", ");
                        return Err(ResumeError::Mixed { line, differences });
                    }
                }
                read.judged_by = JudgedBy::first(read.judged_by.take(), is_by);
            }
            let item = past.provenance.item_digest;
            read.lines.push(PastLine { id: past.item_id, range, item, worth, again });
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

    fn worth(&self) -> Worth {
        Worth::of_parts(self.status, &self.reasons, self.counts.map_or(0, |counts| counts.valid))
    }
}

// === impl Worth ===

impl Worth {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self::of_parts(Some(verdict.status), &verdict.reasons, verdict.counts.valid)
    }

    /// A missing reward may pass if the same request may bring it another time, also because a person has changed something
    /// meanwhile.
    fn of_parts(status: Option<Status>, reasons: &[Option<Reason>], valid: u32) -> Self {
        let may_pass = |code: ReasonCode| code.may_pass() || code == ReasonCode::Rejected;
        let mut reasons = reasons.iter().flatten();
        match status {
            Some(Status::Unscored) if reasons.any(|reason| may_pass(reason.code)) => Self::Passing,
            Some(Status::Unscored) => Self::Unscored,
            Some(Status::Partial) => Self::Partial(valid),
            Some(Status::Ok) | None => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests;
