//! Progress of one request, reported to its caller.
//!
//! ```text
//! pipeline ── Teller ──> the newest snapshot ──> Watcher ── alongside(answer) ──> a gRPC stream, HTTP
//! ```
//!
//! If there is an observer, the same teller reports to it, in more detail (`observe`).
//!
//! A request has one slot for progress, which is overwritten: a slow reader misses steps, nothing is queued, and
//! reporting never waits. An unwatched request costs nothing.

use std::future::Future;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use jury_grm::domain::Progress;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::observe::{Observed, Seen};

/// Steps that follow each other faster than this, too fast for a person to read, are left out.
const INTERVAL: Duration = Duration::from_millis(50);

/// Reports the progress of one request.
#[derive(Debug, Default)]
pub struct Teller {
    steps: Option<watch::Sender<Option<Progress>>>,
    observed: Option<Observed>,
    /// Needed when the caller leaves before the answer.
    spent: Arc<Mutex<Spent>>,
}

/// Tokens that workers have computed for a request so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) prompt_tokens: u64,
    pub(crate) generated_tokens: u64,
}

/// Receives the progress of one request.
#[derive(Debug)]
pub struct Watcher(watch::Receiver<Option<Progress>>);

/// A teller and its watcher.
pub fn channel() -> (Teller, Watcher) {
    let (sender, receiver) = watch::channel(None);
    (Teller { steps: Some(sender), ..Teller::default() }, Watcher(receiver))
}

// === impl Teller ===

impl Teller {
    /// A teller without a watcher.
    pub fn to_nobody() -> Self {
        Self::default()
    }

    /// The same, reporting to an observer as well.
    pub(crate) fn observed(&self, observed: Option<Observed>) -> Self {
        Self { steps: self.steps.clone(), observed, spent: Arc::clone(&self.spent) }
    }

    /// Records the tokens spent so far.
    pub(crate) fn note_spent(&self, spent: Spent) {
        *self.spent.lock() = spent;
    }

    /// The tokens spent so far.
    pub(crate) fn spent(&self) -> Spent {
        *self.spent.lock()
    }

    /// Reports a step, replacing the one before.
    pub fn tell(&self, progress: impl FnOnce() -> Progress) {
        if self.steps.is_none() && self.observed.is_none() {
            return;
        }
        let progress = progress();
        if let Some(sender) = &self.steps {
            sender.send_replace(Some(progress));
        }
        self.show(Seen::Moved(progress));
    }

    /// Reports an event that only an observer sees.
    pub(crate) fn show(&self, seen: Seen<'_>) {
        if let Some(observed) = &self.observed {
            observed.tell(seen);
        }
    }
}

// === impl Spent ===

impl Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            generated_tokens: self.generated_tokens + other.generated_tokens,
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// Awaits `answer`, and meanwhile passes each step to `on_step`, which must not block. A step that arrives
    /// together with the answer is left out.
    pub async fn alongside<T>(
        mut self,
        answer: impl Future<Output = T>,
        mut on_step: impl FnMut(Progress),
    ) -> T {
        tokio::pin!(answer);
        let mut not_before = None;
        loop {
            let step = async {
                if let Some(instant) = not_before {
                    sleep_until(instant).await;
                }
                self.0.changed().await
            };
            tokio::select! {
                biased;
                answered = &mut answer => return answered,
                told = step => match told {
                    Ok(()) => {
                        if let Some(progress) = *self.0.borrow_and_update() {
                            on_step(progress);
                        }
                        not_before = Some(Instant::now() + INTERVAL);
                    }
                    // No more steps will come.
                    Err(_) => return answer.await,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jury_grm::domain::Phase;

    use super::*;

    fn drawn(samples_done: u32) -> Progress {
        Progress { phase: Phase::Drawing, samples_done, ..Progress::waiting(8) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_too_fast_is_left_out_and_the_last_step_before_a_pause_is_told() {
        let (teller, watcher) = channel();
        let answer = async {
            for n_done in 0..8 {
                teller.tell(|| drawn(n_done));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            "verdict"
        };
        let mut seen = Vec::new();
        let answered = watcher.alongside(answer, |step| seen.push(step.samples_done)).await;
        assert_eq!((answered, seen), ("verdict", vec![0, 7]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_awaited_when_nothing_more_is_told() {
        let (teller, watcher) = channel();
        let answer = async {
            drop(teller);
            tokio::time::sleep(Duration::from_secs(1)).await;
            "verdict"
        };
        assert_eq!(watcher.alongside(answer, |_| panic!("nothing was told")).await, "verdict");
    }
}
