//! Which workers one request leaves alone, and how long it goes on without any: pure, the clock
//! is an argument.

use std::collections::HashMap;
use std::time::Duration;

use jury_fabric::backoff;
use tokio::time::Instant;

use crate::fleet::{Candidate, WorkerRef};

/// First pause after a refusal; it doubles with each further one of the same worker.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause that a busy worker gets.
const LONGEST_BUSY: Duration = Duration::from_secs(60);
/// Longest pause after a refusal.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a request remembers of workers that did not take its calls.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How long to go on when nobody takes a call.
    worker_wait: Duration,
    left_alone: HashMap<WorkerRef, LeftAlone>,
    /// Since when nobody has taken a call or asked for patience.
    alone_since: Option<Instant>,
}

#[derive(Debug)]
struct LeftAlone {
    until: Instant,
    /// Refusals in a row; a busy worker has none.
    refusals: u32,
    is_busy: bool,
}

// === impl Patience ===

impl Patience {
    pub(crate) fn new(worker_wait: Duration) -> Self {
        Self { worker_wait, left_alone: HashMap::new(), alone_since: None }
    }

    /// True unless the worker is left alone at `now`.
    pub(crate) fn may_ask(&self, worker: &WorkerRef, now: Instant) -> bool {
        self.left_alone.get(worker).is_none_or(|alone| alone.until <= now)
    }

    /// The worker has no room for `pause`, as it says; it is believed up to a limit.
    pub(crate) fn record_busy(&mut self, worker: &WorkerRef, now: Instant, pause: Duration) {
        let until = now + pause.min(LONGEST_BUSY);
        let alone = LeftAlone { until, refusals: 0, is_busy: true };
        self.left_alone.insert(worker.clone(), alone);
        self.alone_since = None;
    }

    /// The worker turned a call away; the more often, the longer it is left alone.
    pub(crate) fn record_refused(&mut self, worker: &WorkerRef, now: Instant) {
        let before = self.left_alone.get(worker).map_or(0, |alone| alone.refusals);
        let pause = backoff::bound(FIRST_PAUSE, LONGEST_PAUSE, before);
        let alone = LeftAlone { until: now + pause, refusals: before + 1, is_busy: false };
        self.left_alone.insert(worker.clone(), alone);
    }

    /// The worker took a call, whatever became of it. The pause that it asked for lasts: it may have said so of a later call.
    pub(crate) fn record_taken(&mut self, worker: &WorkerRef) {
        if self.left_alone.get(worker).is_some_and(|alone| !alone.is_busy) {
            self.left_alone.remove(worker);
        }
        self.alone_since = None;
    }

    /// No call is open: patience runs from here, unless a worker has only asked for some.
    pub(crate) fn record_nobody(&mut self, now: Instant) {
        let is_waited_for = self.left_alone.values().any(|alone| alone.is_busy);
        self.alone_since = if is_waited_for { None } else { self.alone_since.or(Some(now)) };
    }

    /// Busy workers that went away are not waited for.
    pub(crate) fn forget_absent(&mut self, candidates: &[Candidate], now: Instant) {
        let is_there = |worker: &WorkerRef| candidates.iter().any(|c| c.worker == *worker);
        self.left_alone
            .retain(|worker, alone| !alone.is_busy || (alone.until > now && is_there(worker)));
    }

    /// When to stop hoping for a worker, should no call be open till then.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.alone_since.map(|since| since + self.worker_wait)
    }

    /// When the first of the workers that were left alone at `last_try` may be asked again; it may be past.
    pub(crate) fn next_retry(&self, last_try: Instant) -> Option<Instant> {
        self.left_alone.values().map(|alone| alone.until).filter(|until| *until > last_try).min()
    }
}

#[cfg(test)]
#[path = "patience/tests.rs"]
mod tests;
