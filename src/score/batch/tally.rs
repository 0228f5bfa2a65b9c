//! The outcomes of a batch's lines, as messages and counts for a person. Pure: callers print them.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use humantime::format_duration;
use jury_client::batch::{Event, ItemsError};
use jury_client::{ClientError, enough_budget};
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_terminal::exit::{Exit, Failed};

use super::not_read;
use crate::score::unknown_key;

/// Items without a worker after which a batch ends: each waits seconds for one, and the next ones would as well.
const NO_WORKER_IN_A_ROW: usize = 3;

/// Counts lines by outcome.
#[derive(Debug)]
pub struct Tally {
    /// Name of the batch, for messages.
    source: String,
    /// Items in flight.
    n_open: u64,
    n_judged: u64,
    n_partial: u64,
    /// Exit codes that the items without reward would have had as single items.
    unscored: Vec<Exit>,
    n_bad: u64,
    n_known: u64,
    /// Items judged again because their verdicts were incomplete.
    n_again: u64,
    /// Items judged again because they have changed.
    n_changed: u64,
    n_failed: u64,
    /// The budget of every request.
    budget: Duration,
    /// The budget that would have sufficed for all items.
    enough: Option<Duration>,
    /// Items without reward for lack of a worker or time.
    n_passing: u64,
    /// Items in a row without a worker.
    n_no_worker: usize,
    /// Reasons of missing rewards that were already reported.
    reasons_told: HashSet<ReasonCode>,
    /// The exit code of the first failed item.
    failed: Option<Exit>,
    /// The numerics class of the verdicts so far, including those of an earlier run; `None`: no verdicts yet.
    numerics: Option<String>,
    /// Whether a second class was already reported.
    numerics_told: bool,
    /// The error that ended the reading of the batch.
    broke_off: Option<ItemsError>,
    keys_named: HashSet<String>,
}

// === impl Tally ===

impl Tally {
    /// A tally for a batch that continues with verdicts of the class `numerics`.
    pub fn new(source: String, budget: Duration, numerics: Option<&str>) -> Self {
        Self {
            source,
            n_open: 0,
            n_judged: 0,
            n_partial: 0,
            unscored: Vec::new(),
            n_bad: 0,
            n_known: 0,
            n_again: 0,
            n_changed: 0,
            n_failed: 0,
            budget,
            enough: None,
            n_passing: 0,
            n_no_worker: 0,
            reasons_told: HashSet::new(),
            failed: None,
            numerics: numerics.map(str::to_owned),
            numerics_told: false,
            broke_off: None,
            keys_named: HashSet::new(),
        }
    }

    /// Counts an event; returns a message for the user.
    pub fn record(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Bad { line, problem } => {
                self.n_bad += 1;
                Some(self.told_of(line, problem))
            }
            // One warning per key.
            Event::UnknownKey { key, .. } => {
                let warning = unknown_key(&key);
                self.keys_named.insert(key).then_some(warning)
            }
            Event::Asked(_) => {
                self.n_open += 1;
                None
            }
            Event::Known(..) => {
                self.n_known += 1;
                None
            }
            Event::Again(place, known) => {
                self.n_again += 1;
                let told = || {
                    let what = "has no complete verdict yet, and is judged again";
                    self.told_of(place.line, format!("item {:?} {what}", known.id))
                };
                (self.n_again == 1).then(told)
            }
            // The first is reported at once, all of them at the end.
            Event::Changed(place, id) => {
                self.n_changed += 1;
                let told = || {
                    let what = "has changed since it was judged, and is judged again";
                    self.told_of(place.line, format!("item {id:?} {what}"))
                };
                (self.n_changed == 1).then(told)
            }
            Event::Judged(place, verdict) => {
                self.n_open -= 1;
                self.judged(place.line, &verdict)
            }
            Event::Failed(place, error) => {
                self.n_open -= 1;
                Some(self.failed(place.line, &error))
            }
            Event::BrokeOff(error) => {
                self.broke_off = Some(error);
                None
            }
        }
    }

    fn judged(&mut self, line: u64, verdict: &Verdict) -> Option<String> {
        self.n_judged += 1;
        let mut reasons = verdict.reasons.iter().flatten();
        let met_none = reasons.any(|reason| reason.code == ReasonCode::NoWorker);
        self.n_no_worker = if met_none { self.n_no_worker + 1 } else { 0 };
        match verdict.status {
            Status::Ok => {}
            Status::Partial => self.n_partial += 1,
            Status::Unscored => {
                let exit = Exit::of_verdict(verdict);
                self.n_passing += u64::from(matches!(exit, Exit::Unavailable | Exit::TryAgain));
                self.unscored.push(exit);
            }
        }
        let numerics = verdict.provenance.numerics.as_deref();
        self.out_of_time(line, verdict)
            .or_else(|| self.without_reward(line, verdict))
            .or_else(|| self.draws_in(numerics?))
    }

    /// The number of items in a row without a worker, if it is large enough to end the batch.
    pub fn nobody_draws(&self) -> Option<usize> {
        (self.n_no_worker >= NO_WORKER_IN_A_ROW).then_some(self.n_no_worker)
    }

    /// Returns a note if none of the fleet's numerics classes is that of the earlier run.
    pub fn meets(&mut self, classes: &[&str]) -> Option<String> {
        let before = self.numerics.as_deref()?;
        let other = classes.first().filter(|_| !classes.contains(&before))?;
        self.draws_in(other)
    }

    /// Records a numerics class; returns a note once if earlier samples were drawn in another.
    fn draws_in(&mut self, numerics: &str) -> Option<String> {
        let before = self.numerics.get_or_insert_with(|| numerics.to_owned());
        if before == numerics || self.numerics_told {
            return None;
        }
        self.numerics_told = true;
        Some(format!(
            "jury: note: {}: samples are now drawn in numerics class {numerics}, and were drawn in {before}, which rounds \
             differently: an item judged in both may get two different rewards",
            self.source
        ))
    }

    /// Reports the first item that has no reward for a reason.
    fn without_reward(&mut self, line: u64, verdict: &Verdict) -> Option<String> {
        let unscored = verdict.status == Status::Unscored;
        let reason = verdict.reasons.iter().flatten().next().filter(|_| unscored)?;
        let is_new = self.reasons_told.insert(reason.code);
        is_new.then(|| self.told_of(line, format!("no reward: {}", reason.detail)))
    }

    /// Reports the budget that would have sufficed for an item whose budget was too short.
    fn out_of_time(&mut self, line: u64, verdict: &Verdict) -> Option<String> {
        let mut reasons = verdict.reasons.iter().flatten();
        if !reasons.any(|reason| reason.code == ReasonCode::Budget) {
            return None;
        }
        let enough = enough_budget(verdict, self.budget).unwrap_or(self.budget * 2);
        self.enough = self.enough.max(Some(enough));
        let (valid, asked) = (verdict.counts.valid, verdict.counts.asked);
        let (budget, enough) = (format_duration(self.budget), format_duration(enough));
        let told = format!(
            "only {valid} of {asked} samples finished within {budget}; --budget '{enough}' would have sufficed"
        );
        Some(self.told_of(line, told))
    }

    fn failed(&mut self, line: u64, error: &ClientError) -> String {
        self.n_failed += 1;
        self.failed.get_or_insert(Exit::of_code(error.code));
        self.told_of(line, error)
    }

    fn told_of(&self, line: u64, what: impl Display) -> String {
        format!("jury: {}: line {line}: {what}", self.source)
    }

    /// A one-line summary.
    pub fn summary(&self) -> String {
        let n_unscored = self.unscored.len() as u64;
        let parts = [
            (n_unscored, "of them without reward"),
            (self.n_partial, "of them partial"),
            (self.n_again, "retried for a complete verdict"),
            (self.n_changed, "of them again because they changed"),
            (self.n_bad, if self.n_bad == 1 { "bad line" } else { "bad lines" }),
            (self.n_failed, "failed"),
            (self.n_known, "judged before"),
            (self.n_open, "not finished"),
        ];
        let told = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
        let told = told.collect::<String>();
        let mut way_out = self.enough.map_or_else(String::new, |enough| {
            format!("; --budget '{}' would have sufficed for all", format_duration(enough))
        });
        if self.n_passing > 0 {
            way_out += "; resume the batch to retry items that lacked a worker or time";
        }
        format!("jury: {}: {} judged{told}{way_out}", self.source, self.n_judged)
    }

    /// The exit code of the batch: failed items take precedence, then bad lines, then missing rewards.
    pub fn exit(&mut self) -> Result<Exit, Failed> {
        if let Some(error) = self.broke_off.take() {
            return Err(not_read(&self.source, &error));
        }
        let bad = (self.n_bad > 0).then_some(Exit::BadData);
        let unscored = self.unscored.iter().copied().max_by_key(|exit| exit.code());
        Ok(self.failed.or(bad).or(unscored).unwrap_or(Exit::Done))
    }
}

#[cfg(test)]
mod tests;
