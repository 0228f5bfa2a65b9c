//! What became of every line of a batch. Pure: it collects the messages, others print them.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::time::Duration;

use humantime::format_duration;
use jury_client::{ClientError, enough_budget};
use jury_grm::domain::{ReasonCode, Status, Verdict};
use jury_terminal::exit::{Exit, Failed};

use super::unreadable;
use crate::score::unknown_key;

/// Counts lines by what became of them.
#[derive(Debug)]
pub struct Tally {
    /// Name of the batch, for messages.
    source: String,
    /// Lines of the requests that are not answered yet, by sequence.
    asked: HashMap<u64, u64>,
    next_sequence: u64,
    n_judged: u64,
    n_partial: u64,
    /// How the items without reward would have ended on their own.
    unscored: Vec<Exit>,
    n_bad: u64,
    n_skipped: u64,
    n_failed: u64,
    /// The budget that every request has.
    budget: Duration,
    /// The budget that would have been enough for all.
    enough: Option<Duration>,
    /// How the first item that failed would have ended on its own.
    failed: Option<Exit>,
    /// The reading of the batch broke off.
    broke_off: Option<io::Error>,
    keys_named: HashSet<String>,
    messages: Vec<String>,
}

// === impl Tally ===

impl Tally {
    pub fn new(source: String, budget: Duration) -> Self {
        Self {
            source,
            asked: HashMap::new(),
            next_sequence: 0,
            n_judged: 0,
            n_partial: 0,
            unscored: Vec::new(),
            n_bad: 0,
            n_skipped: 0,
            n_failed: 0,
            budget,
            enough: None,
            failed: None,
            broke_off: None,
            keys_named: HashSet::new(),
            messages: Vec::new(),
        }
    }

    /// The next request, in the order in which the client takes them, is of this line.
    pub fn asked(&mut self, line: u64) {
        self.asked.insert(self.next_sequence, line);
        self.next_sequence += 1;
    }

    pub fn bad_line(&mut self, line: u64, problem: &impl Display) {
        self.n_bad += 1;
        self.messages.push(format!("jury: {}: line {line}: {problem}", self.source));
    }

    pub fn unreadable(&mut self, error: io::Error) {
        self.broke_off = Some(error);
    }

    /// Each key is warned of once.
    pub fn unknown_key(&mut self, key: &str) {
        if self.keys_named.insert(key.to_owned()) {
            self.messages.push(unknown_key(key));
        }
    }

    pub fn skipped(&mut self) {
        self.n_skipped += 1;
    }

    /// An answer came; gives the verdict back, if it is one.
    pub fn record(
        &mut self,
        sequence: u64,
        answer: Result<Verdict, ClientError>,
    ) -> Option<Verdict> {
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(error) => {
                self.failed(sequence, &error);
                return None;
            }
        };
        let line = self.asked.remove(&sequence).unwrap_or_default();
        self.out_of_time(line, &verdict);
        self.n_judged += 1;
        match verdict.status {
            Status::Ok => {}
            Status::Partial => self.n_partial += 1,
            Status::Unscored => self.unscored.push(Exit::of_verdict(&verdict)),
        }
        Some(verdict)
    }

    /// Tells of an item without reward whose budget was too short which one would have been enough.
    fn out_of_time(&mut self, line: u64, verdict: &Verdict) {
        let mut reasons = verdict.reasons.iter().flatten();
        if !reasons.any(|reason| reason.code == ReasonCode::Budget) {
            return;
        }
        let enough = enough_budget(verdict, self.budget).unwrap_or(self.budget * 2);
        self.enough = self.enough.max(Some(enough));
        let (valid, asked) = (verdict.counts.valid, verdict.counts.asked);
        let (budget, enough) = (format_duration(self.budget), format_duration(enough));
        self.messages.push(format!(
            "jury: {}: line {line}: {valid} of {asked} samples came within {budget}; --budget '{enough}' would \
             have been enough",
            self.source
        ));
    }

    /// An item got no verdict.
    pub fn failed(&mut self, sequence: u64, error: &ClientError) {
        let line = self.asked.remove(&sequence).unwrap_or_default();
        self.n_failed += 1;
        self.failed.get_or_insert(Exit::of_code(error.code));
        self.messages.push(format!("jury: {}: line {line}: {error}", self.source));
    }

    pub fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let n_unscored = self.unscored.len() as u64;
        let parts = [
            (n_unscored, "of them without reward"),
            (self.n_partial, "of them partial"),
            (self.n_bad, "bad lines"),
            (self.n_failed, "failed"),
            (self.n_skipped, "judged before"),
            (self.asked.len() as u64, "not finished"),
        ];
        let told = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
        let told = told.collect::<String>();
        let way_out = self.enough.map_or_else(String::new, |enough| {
            format!("; --budget '{}' would have been enough for all", format_duration(enough))
        });
        format!("jury: {}: {} judged{told}{way_out}", self.source, self.n_judged)
    }

    /// How the whole batch ends: what failed counts first, then bad lines, then missing rewards.
    pub fn exit(&mut self) -> Result<Exit, Failed> {
        if let Some(error) = self.broke_off.take() {
            return Err(unreadable(&self.source, &error));
        }
        let bad = (self.n_bad > 0).then_some(Exit::BadData);
        let unscored = self.unscored.iter().copied().max_by_key(|exit| exit.code());
        Ok(self.failed.or(bad).or(unscored).unwrap_or(Exit::Done))
    }
}

#[cfg(test)]
mod tests {
    use jury_proto::{ErrorCode, JuryError};

    use super::*;
    use crate::score::render::sample_verdict;

    fn tally() -> Tally {
        Tally::new("items.jsonl".to_owned(), Duration::from_secs(60))
    }

    fn error(code: ErrorCode) -> ClientError {
        let JuryError { code, message, field, retry_delay } = JuryError::new(code, "what happened");
        ClientError { code, message, field, retry_delay, attempts: 1 }
    }

    #[test]
    fn messages_name_the_line_and_not_the_place_among_requests() {
        let mut tally = tally();
        tally.bad_line(1, &"not an item");
        tally.asked(2);
        tally.asked(5);
        tally.failed(1, &error(ErrorCode::Overloaded));
        assert_eq!(
            tally.take_messages(),
            ["jury: items.jsonl: line 1: not an item", "jury: items.jsonl: line 5: what happened"]
        );
    }

    #[test]
    fn a_key_is_warned_of_once() {
        let mut tally = tally();
        for key in ["colour", "colour", "size"] {
            tally.unknown_key(key);
        }
        assert_eq!(tally.take_messages().len(), 2);
    }

    #[test]
    fn a_batch_ends_by_its_worst_line() {
        let mut tally = tally();
        tally.asked(1);
        let verdict = sample_verdict(&[]);
        assert!(tally.record(0, Ok(verdict.clone())).is_some());
        assert_eq!(tally.exit().unwrap(), Exit::Done);

        let no_reason = Verdict { status: Status::Unscored, ..verdict };
        tally.record(1, Ok(no_reason));
        assert_eq!(tally.exit().unwrap(), Exit::Unscored);
        tally.bad_line(3, &"not an item");
        assert_eq!(tally.exit().unwrap(), Exit::BadData);
        tally.failed(2, &error(ErrorCode::DeadlineExceeded));
        assert_eq!(tally.exit().unwrap(), Exit::TryAgain);
        assert_eq!(
            tally.summary(),
            "jury: items.jsonl: 2 judged, 1 of them without reward, 1 bad lines, 1 failed"
        );
    }
}
