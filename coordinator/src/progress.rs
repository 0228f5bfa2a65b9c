//! How far a request is, told to whoever waits for its verdict.
//!
//! ```text
//! pipeline ── Teller ──> the newest snapshot ──> Watcher ── alongside(answer) ──> a stream, a door
//! ```
//!
//! An observer, where there is one, is told more, by the same teller (`observe`).
//!
//! One place a request, overwritten: a reader that is slow misses steps, nothing is queued, and telling never
//! waits. Nobody pays for a request that nobody watches.

use std::future::Future;
use std::time::Duration;

use jury_grm::domain::Progress;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::observe::{Observed, Seen};

/// Steps that follow each other faster than a person reads are left out.
const INTERVAL: Duration = Duration::from_millis(50);

/// Tells how far one request is.
#[derive(Debug, Default)]
pub struct Teller {
    steps: Option<watch::Sender<Option<Progress>>>,
    observed: Option<Observed>,
}

/// Hears how far one request is.
#[derive(Debug)]
pub struct Watcher(watch::Receiver<Option<Progress>>);

/// A teller and whoever hears it.
pub fn channel() -> (Teller, Watcher) {
    let (sender, receiver) = watch::channel(None);
    (Teller { steps: Some(sender), observed: None }, Watcher(receiver))
}

// === impl Teller ===

impl Teller {
    /// Nobody watches.
    pub fn to_nobody() -> Self {
        Self::default()
    }

    /// The same, which tells an observer as well.
    pub(crate) fn observed(&self, observed: Option<Observed>) -> Self {
        Self { steps: self.steps.clone(), observed }
    }

    /// Tells a step in place of the one before.
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

    /// Tells what only an observer hears.
    pub(crate) fn show(&self, seen: Seen<'_>) {
        if let Some(observed) = &self.observed {
            observed.tell(seen);
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// Awaits `answer` and gives each step meanwhile to `on_step`, which must not block. A step that comes with the
    /// answer is left out.
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
                    // Nothing more will be told.
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
