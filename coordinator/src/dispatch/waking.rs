//! When a driver of calls wakes up: at its deadline, when a worker may be asked again, when the fleet changes, or when
//! its patience with an absent fleet ends. [`Patience`] makes the decisions; this module has the timer and the fleet's
//! signal.

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
    /// True if waiting samples may now find a worker that they did not find before.
    is_worth_a_try: bool,
    /// When waiting samples were last offered: a worker whose pause has ended since then must be offered them again.
    last_try: Instant,
    /// One timer for the next event that is due.
    timer: Pin<Box<Sleep>>,
}

/// What a driver needs to be woken for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// No call is open, so only patience is left.
    pub(crate) is_idle: bool,
    /// Something waits for a worker.
    pub(crate) has_waiting: bool,
    /// Another time to wake up.
    pub(crate) look: Option<Instant>,
}

/// Why a driver was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The answer is due.
    Deadline,
    /// No call is open, and patience with the fleet has ended.
    Hopeless,
    /// It is worth offering the waiting samples again.
    Again,
    /// The fleet is no longer followed: the coordinator is shutting down.
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
            last_try: Instant::now(),
            timer: Box::pin(tokio::time::sleep_until(deadline)),
        }
    }

    /// Waiting samples may find a worker now.
    pub(crate) fn try_again(&mut self) {
        self.is_worth_a_try = true;
    }

    /// Returns true once per reason to try.
    pub(crate) fn take_try(&mut self) -> bool {
        let is_worth_a_try = std::mem::take(&mut self.is_worth_a_try);
        if is_worth_a_try {
            self.last_try = Instant::now();
        }
        is_worth_a_try
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
        let retry = if has_waiting { self.patience.next_retry(self.last_try) } else { None };
        let due = [give_up, retry, look].into_iter().flatten().fold(self.deadline, Instant::min);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::WorkerRef;

    const PAUSE: Duration = Duration::from_millis(200);
    const NEEDS: Needs = Needs { is_idle: false, has_waiting: true, look: None };

    /// A sample waits for the only worker, which has just been offered it and has asked for a pause.
    fn waiting() -> (Waking, watch::Sender<u64>) {
        let (fleet, fleet_changes) = watch::channel(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut waking = Waking {
            deadline,
            patience: Patience::new(Duration::from_secs(5)),
            fleet_changes,
            is_worth_a_try: true,
            last_try: Instant::now(),
            timer: Box::pin(tokio::time::sleep_until(deadline)),
        };
        assert!(waking.take_try());
        let worker = WorkerRef { id: "a".into(), generation: 0 };
        waking.patience.record_busy(&worker, Instant::now(), PAUSE);
        (waking, fleet)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_offered_again_when_a_pause_ends() {
        let (mut waking, _fleet) = waiting();
        let started = Instant::now();
        assert_eq!(waking.next(NEEDS).await, Wake::Again);
        assert!(waking.take_try());
        assert!(started.elapsed() >= PAUSE && started.elapsed() < 2 * PAUSE);
        assert_eq!(waking.next(NEEDS).await, Wake::Deadline, "the pause is over but once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_ended_while_an_event_was_handled_is_not_forgotten() {
        let (mut waking, _fleet) = waiting();
        // The timer was armed, then an event came, and handling it took longer than the rest of the pause.
        let event = tokio::time::timeout(PAUSE / 2, waking.next(NEEDS)).await;
        assert!(event.is_err());
        tokio::time::advance(PAUSE).await;
        let started = Instant::now();
        assert_eq!(waking.next(NEEDS).await, Wake::Again);
        assert!(started.elapsed() < PAUSE);
    }
}
