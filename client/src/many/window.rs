//! The unanswered items of a stream: which of them is due to be sent, sent, or past its deadline.
//! Pure: time and chance are arguments.
//!
//! Law: every item that was added is answered exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use jury_grm::domain::Verdict;
use jury_proto::{JuryError, v1};
use tokio::time::Instant;

use super::ItemAnswer;
use crate::client::HeardFrom;
use crate::error::deadline_exceeded;
use crate::request::Prepared;
use crate::retry::Attempt;
use crate::{ClientError, RetryPolicy};

/// Unanswered items, by sequence.
pub(crate) struct Window {
    retry: RetryPolicy,
    items: BTreeMap<u64, Pending>,
    /// Connections lost in a row, without an answer in between.
    lost_in_a_row: u32,
    /// Why the last of them was lost, until there is another.
    lost_by: Option<JuryError>,
    /// Whether the service has ever answered.
    service: HeardFrom,
}

struct Pending {
    prepared: Prepared,
    /// Times sent.
    attempts: u32,
    /// Items that were unanswered at once while this one was, itself included.
    beside: usize,
    /// True once it was sent again because it had run out of its budget beside others.
    judged_again: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits to be sent from this time on.
    Due(Instant),
    /// Waits for an answer.
    Sent,
}

// === impl Window ===

impl Window {
    pub fn new(retry: RetryPolicy, service: HeardFrom) -> Self {
        Self { retry, items: BTreeMap::new(), lost_in_a_row: 0, lost_by: None, service }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an item that is due at once.
    pub fn add(&mut self, sequence: u64, prepared: Prepared, now: Instant) {
        let state = State::Due(now);
        let pending = Pending { prepared, attempts: 0, beside: 1, judged_again: false, state };
        self.items.insert(sequence, pending);
        let n_items = self.items.len();
        for pending in self.items.values_mut() {
            pending.beside = pending.beside.max(n_items);
        }
    }

    /// The request that was added last.
    pub fn latest(&self) -> Option<&v1::ScoreRequest> {
        self.items.values().next_back().map(|pending| &pending.prepared.message)
    }

    /// Items unanswered at once while this one was, and its budget.
    pub fn shared_by(&self, sequence: u64) -> Option<(usize, Duration)> {
        let pending = self.items.get(&sequence)?;
        Some((pending.beside, pending.prepared.budget))
    }

    /// Makes an item due again, with its whole budget, that ran out of it beside others; false when it has had its
    /// second chance, or had the fleet for itself.
    pub fn judge_again(&mut self, sequence: u64, now: Instant) -> bool {
        let Some(pending) = self.items.get_mut(&sequence) else { return false };
        if pending.judged_again || pending.beside <= 1 {
            return false;
        }
        pending.judged_again = true;
        pending.state = State::Due(now);
        pending.prepared.deadline = now + pending.prepared.patience;
        pending.beside = 1;
        true
    }

    /// True when there is something to send.
    pub fn has_due(&self, now: Instant) -> bool {
        self.items.values().any(|pending| pending.is_due(now))
    }

    /// The first item that is to be sent now; counts as sent.
    pub fn take_due(&mut self, now: Instant) -> Option<v1::ScoreStreamRequest> {
        let mut due = self.items.iter_mut().filter(|(_, pending)| pending.is_due(now));
        let (&sequence, pending) = due.next()?;
        pending.state = State::Sent;
        pending.attempts += 1;
        Some(v1::ScoreStreamRequest::new(sequence, &pending.prepared.message))
    }

    /// The next moment at which an item is due or late.
    pub fn next_alarm(&self, now: Instant) -> Option<Instant> {
        let of_item = |pending: &Pending| match pending.state {
            // What is due already waits for room in the connection, not for a time.
            State::Due(at) if at > now => at.min(pending.prepared.deadline),
            State::Due(_) | State::Sent => pending.prepared.deadline,
        };
        self.items.values().map(of_item).min()
    }

    /// The deadline that passes first.
    pub fn earliest_deadline(&self) -> Option<Instant> {
        let deadlines = self.items.values().map(|pending| pending.prepared.deadline);
        deadlines.min()
    }

    /// Takes out what is past its deadline.
    pub fn expire(&mut self, now: Instant) -> Vec<ItemAnswer> {
        let is_late = |pending: &Pending| pending.prepared.deadline <= now;
        let late: Vec<u64> = self
            .items
            .iter()
            .filter(|(_, pending)| is_late(pending))
            .map(|(&sequence, _)| sequence)
            .collect();
        late.into_iter()
            .filter_map(|sequence| {
                let pending = self.items.remove(&sequence)?;
                // While the service is away, that is why.
                let error = self.lost_by.clone();
                let error = error.unwrap_or_else(|| deadline_exceeded(pending.prepared.patience));
                Some((sequence, Err(ClientError::after(pending.attempts, error))))
            })
            .collect()
    }

    /// Records that the service answers.
    pub fn service_is_there(&mut self) {
        self.lost_by = None;
        self.service.set();
    }

    /// Records the answer to an item. `None` when the item is sent again later, or is unknown.
    pub fn answered(
        &mut self,
        sequence: u64,
        outcome: Result<Verdict, JuryError>,
        now: Instant,
        chance: f64,
    ) -> Option<ItemAnswer> {
        self.lost_in_a_row = 0;
        self.service_is_there();
        let pending = self.items.get_mut(&sequence)?;
        let attempts = pending.attempts;
        if let Err(error) = &outcome
            && let Some(delay) = self.retry.delay(pending.attempt(error, now), chance)
        {
            pending.state = State::Due(now + delay);
            return None;
        }
        self.items.remove(&sequence);
        let result = outcome.map_err(|error| ClientError::after(attempts, error));
        Some((sequence, result))
    }

    /// Records that what was sent may never be answered: it becomes due again after a wait, or,
    /// when connections were lost too often in a row, is taken out with the error. Items that are added after that have
    /// one attempt each, until the service answers.
    pub fn connection_lost(
        &mut self,
        error: &JuryError,
        now: Instant,
        chance: f64,
    ) -> Vec<ItemAnswer> {
        self.lost_in_a_row = self.lost_in_a_row.saturating_add(1);
        let attempts = self.lost_in_a_row;
        // No item's deadline bounds this wait: an item whose time is up is expired.
        let answered_before = self.service.is_set();
        let attempt = Attempt { error, attempts, time_left: Duration::MAX, answered_before };
        let Some(delay) = self.retry.delay(attempt, chance) else {
            self.lost_by = None;
            if answered_before {
                self.lost_in_a_row = 0;
            }
            let given_up = std::mem::take(&mut self.items).into_iter();
            return given_up
                .map(|(sequence, pending)| {
                    let attempts = pending.attempts;
                    (sequence, Err(ClientError::after(attempts, error.clone())))
                })
                .collect();
        };
        self.lost_by = Some(error.clone());
        let renews = self.retry.renews_budgets && attempts == 1;
        for pending in self.items.values_mut() {
            if renews {
                pending.prepared.deadline = now + pending.prepared.patience;
            }
            let earliest = match pending.state {
                State::Due(at) => at.max(now + delay),
                State::Sent => now + delay,
            };
            pending.state = State::Due(earliest);
        }
        Vec::new()
    }
}

// === impl Pending ===

impl Pending {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Due(at) if at <= now)
    }

    fn attempt<'a>(&self, error: &'a JuryError, now: Instant) -> Attempt<'a> {
        let time_left = self.prepared.deadline - now;
        // It is an answer.
        Attempt { error, attempts: self.attempts, time_left, answered_before: true }
    }
}

#[cfg(test)]
mod tests;
