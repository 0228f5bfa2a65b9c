//! When a driver of calls looks again: at its deadline, once a worker may be asked again, when the fleet changes, or when the
//! patience with an absent fleet ends. The decisions are [`Patience`]'s; here are the timer and the fleet's signal.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::patience::Patience;
use crate::fleet::Fleet;

/// The clock of one request's calls.
#[derive(Debug)]
pub(crate) struct Waking {
    deadline: Instant,
    pub(crate) patience: Patience,
    fleet_changes: watch::Receiver<u64>,
    /// True when what waits may find a worker that it did not find before.
    is_worth_a_try: bool,
    /// One timer for whatever is due next.
    timer: Pin<Box<Sleep>>,
}

/// What a driver needs to be woken for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// No call is open, so only patience is left.
    pub(crate) is_idle: bool,
    /// Something waits for a worker.
    pub(crate) has_waiting: bool,
    /// Another time to look.
    pub(crate) look: Option<Instant>,
}

/// Why a driver was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The answer is due.
    Deadline,
    /// No call is open, and patience with the fleet has ended.
    Hopeless,
    /// What waits is worth a try now.
    Again,
    /// The fleet is followed no more: the coordinator goes down.
    GoingDown,
}

// === impl Waking ===

impl Waking {
    pub(crate) fn new(fleet: &Fleet, deadline: Instant, worker_wait: Duration) -> Self {
        Self {
            deadline,
            patience: Patience::new(worker_wait),
            fleet_changes: fleet.changes(),
            is_worth_a_try: true,
            timer: Box::pin(tokio::time::sleep_until(deadline)),
        }
    }

    /// What waits may find a worker now.
    pub(crate) fn try_again(&mut self) {
        self.is_worth_a_try = true;
    }

    /// True once for each reason to try.
    pub(crate) fn take_try(&mut self) -> bool {
        std::mem::take(&mut self.is_worth_a_try)
    }

    /// The next reason to wake. Cancel-safe.
    pub(crate) async fn next(&mut self, needs: Needs) -> Wake {
        self.arm(needs);
        tokio::select! {
            biased;
            () = &mut self.timer => self.on_time(needs.is_idle),
            changed = self.fleet_changes.changed() => match changed {
                Ok(()) => {
                    self.is_worth_a_try = true;
                    Wake::Again
                }
                Err(_) => Wake::GoingDown,
            }
        }
    }

    fn on_time(&mut self, is_idle: bool) -> Wake {
        let now = Instant::now();
        if now >= self.deadline {
            Wake::Deadline
        } else if is_idle && self.patience.ends_at().is_some_and(|end| end <= now) {
            Wake::Hopeless
        } else {
            self.is_worth_a_try = true;
            Wake::Again
        }
    }

    fn arm(&mut self, Needs { is_idle, has_waiting, look }: Needs) {
        let give_up = if is_idle { self.patience.ends_at() } else { None };
        let retry = if has_waiting { self.patience.next_retry(Instant::now()) } else { None };
        let due = [give_up, retry, look].into_iter().flatten().fold(self.deadline, Instant::min);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
    }
}
