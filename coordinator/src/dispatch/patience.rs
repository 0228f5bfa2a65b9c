//! Which workers a request leaves alone, and how long it continues without any. Pure; the clock is an argument.

use std::collections::HashMap;
use std::time::Duration;

use jury_fabric::backoff;
use tokio::time::Instant;

use crate::fleet::{Candidate, WorkerRef};

/// First pause after a refusal; it doubles with each further refusal by the same worker.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause for a busy worker.
const LONGEST_BUSY: Duration = Duration::from_secs(60);
/// Longest pause after a refusal.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a request remembers about workers that did not accept its calls.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How long to continue when no worker accepts a call.
    worker_wait: Duration,
    left_alone: HashMap<WorkerRef, LeftAlone>,
    /// Since when no worker has accepted a call or asked for a pause.
    alone_since: Option<Instant>,
}

#[derive(Debug)]
struct LeftAlone {
    until: Instant,
    /// Consecutive refusals; 0 for a busy worker.
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

    /// The worker reports that it has no room for `pause`; longer pauses are cut to a limit.
    pub(crate) fn record_busy(&mut self, worker: &WorkerRef, now: Instant, pause: Duration) {
        let until = now + pause.min(LONGEST_BUSY);
        let alone = LeftAlone { until, refusals: 0, is_busy: true };
        self.left_alone.insert(worker.clone(), alone);
        self.alone_since = None;
    }

    /// The worker refused a call; the more often it does, the longer it is left alone.
    pub(crate) fn record_refused(&mut self, worker: &WorkerRef, now: Instant) {
        let before = self.left_alone.get(worker).map_or(0, |alone| alone.refusals);
        let pause = backoff::bound(FIRST_PAUSE, LONGEST_PAUSE, before);
        let alone = LeftAlone { until: now + pause, refusals: before + 1, is_busy: false };
        self.left_alone.insert(worker.clone(), alone);
    }

    /// The worker accepted a call, whatever became of it. A pause that it asked for still holds: it may have referred
    /// to a later call.
    pub(crate) fn record_taken(&mut self, worker: &WorkerRef) {
        if self.left_alone.get(worker).is_some_and(|alone| !alone.is_busy) {
            self.left_alone.remove(worker);
        }
        self.alone_since = None;
    }

    /// No call is open: patience runs from here, unless a worker is merely busy.
    pub(crate) fn record_nobody(&mut self, now: Instant) {
        let is_waited_for = self.left_alone.values().any(|alone| alone.is_busy);
        self.alone_since = if is_waited_for { None } else { self.alone_since.or(Some(now)) };
    }

    /// Stops waiting for busy workers that went away.
    pub(crate) fn forget_absent(&mut self, candidates: &[Candidate], now: Instant) {
        let is_there = |worker: &WorkerRef| candidates.iter().any(|c| c.worker == *worker);
        self.left_alone
            .retain(|worker, alone| !alone.is_busy || (alone.until > now && is_there(worker)));
    }

    /// When to give up on finding a worker if no call is opened until then.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.alone_since.map(|since| since + self.worker_wait)
    }

    /// When the first of the workers that were left alone at `last_try` may be asked again; may be in the past.
    pub(crate) fn next_retry(&self, last_try: Instant) -> Option<Instant> {
        self.left_alone.values().map(|alone| alone.until).filter(|until| *until > last_try).min()
    }
}

#[cfg(test)]
#[path = "patience/tests.rs"]
mod tests;
