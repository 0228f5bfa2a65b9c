//! What became of the lines of a batch, in words and figures for a person. Pure: others print them.

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

/// Each waits seconds for a worker: after so many that met none, the others would do the same.
const NO_WORKER_IN_A_ROW: usize = 3;

/// Counts lines by what became of them.
#[derive(Debug)]
pub struct Tally {
    /// Name of the batch, for messages.
    source: String,
    /// Items that are asked for and not answered yet.
    n_open: u64,
    n_judged: u64,
    n_partial: u64,
    /// How the items without reward would have ended on their own.
    unscored: Vec<Exit>,
    n_bad: u64,
    n_known: u64,
    /// Items that are judged again, since they have changed.
    n_changed: u64,
    n_failed: u64,
    /// The budget that every request has.
    budget: Duration,
    /// The budget that would have been enough for all.
    enough: Option<Duration>,
    /// Items without reward that would have one with a worker or with time.
    n_passing: u64,
    /// Items in a row that met no worker.
    n_no_worker: usize,
    /// Reasons of missing rewards that a person was told of.
    reasons_told: HashSet<ReasonCode>,
    /// How the first item that failed would have ended on its own.
    failed: Option<Exit>,
    /// The numerics class of the verdicts so far, those of an earlier run among them; `None`: there are none.
    numerics: Option<String>,
    /// A person was told that there are two.
    numerics_told: bool,
    /// The reading of the batch broke off.
    broke_off: Option<ItemsError>,
    keys_named: HashSet<String>,
}

// === impl Tally ===

impl Tally {
    /// Of a batch that goes on with verdicts of the class `numerics`.
    pub fn new(source: String, budget: Duration, numerics: Option<&str>) -> Self {
        Self {
            source,
            n_open: 0,
            n_judged: 0,
            n_partial: 0,
            unscored: Vec::new(),
            n_bad: 0,
            n_known: 0,
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

    /// Counts an event; gives back what a person is told of it.
    pub fn record(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Bad { line, problem } => {
                self.n_bad += 1;
                Some(self.told_of(line, problem))
            }
            // Each key is warned of once.
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
            // The first is told at once, all of them at the end.
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

    /// How many items in a row met no worker, where the next ones would fare the same.
    pub fn nobody_draws(&self) -> Option<usize> {
        (self.n_no_worker >= NO_WORKER_IN_A_ROW).then_some(self.n_no_worker)
    }

    /// Those who are there draw in these classes: tells that none of them is an earlier run's.
    pub fn meets(&mut self, classes: &[&str]) -> Option<String> {
        let before = self.numerics.as_deref()?;
        let other = classes.first().filter(|_| !classes.contains(&before))?;
        self.draws_in(other)
    }

    /// Samples are drawn in this numerics class: tells once that others were drawn in another.
    fn draws_in(&mut self, numerics: &str) -> Option<String> {
        let before = self.numerics.get_or_insert_with(|| numerics.to_owned());
        if before == numerics || self.numerics_told {
            return None;
        }
        self.numerics_told = true;
        Some(format!(
            "jury: note: {}: samples are drawn in numerics class {numerics}, and were in {before}: it rounds in another \
             way, so an item judged by both may have two rewards",
            self.source
        ))
    }

    /// Tells of the first item that has no reward for one reason.
    fn without_reward(&mut self, line: u64, verdict: &Verdict) -> Option<String> {
        let unscored = verdict.status == Status::Unscored;
        let reason = verdict.reasons.iter().flatten().next().filter(|_| unscored)?;
        let is_new = self.reasons_told.insert(reason.code);
        is_new.then(|| self.told_of(line, format!("no reward: {}", reason.detail)))
    }

    /// Tells of an item without reward whose budget was too short which one would have been enough.
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
            "{valid} of {asked} samples came within {budget}; --budget '{enough}' would have been enough"
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

    /// One line for a person.
    pub fn summary(&self) -> String {
        let n_unscored = self.unscored.len() as u64;
        let parts = [
            (n_unscored, "of them without reward"),
            (self.n_partial, "of them partial"),
            (self.n_changed, "of them again after a change"),
            (self.n_bad, if self.n_bad == 1 { "bad line" } else { "bad lines" }),
            (self.n_failed, "failed"),
            (self.n_known, "judged before"),
            (self.n_open, "not finished"),
        ];
        let told = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
        let told = told.collect::<String>();
        let mut way_out = self.enough.map_or_else(String::new, |enough| {
            format!("; --budget '{}' would have been enough for all", format_duration(enough))
        });
        if self.n_passing > 0 {
            way_out += "; what lacked a worker or time is judged again where the batch is resumed";
        }
        format!("jury: {}: {} judged{told}{way_out}", self.source, self.n_judged)
    }

    /// How the whole batch ends: what failed counts first, then bad lines, then missing rewards.
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
