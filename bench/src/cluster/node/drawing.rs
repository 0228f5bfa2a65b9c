//! One group while a node draws it: the text of each sample at its end, and what is released when it is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use jury_grm::domain::{FailureKind, Finish, Outcome, Sample, SampleSpec, Scores, Settings};
use jury_worker::backend::{CancelRequests, Cancelled, GroupEvents};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::BYTES_PER_TOKEN;

/// Tokens between two progress events of a sample.
const PROGRESS_TOKENS: u32 = 64;

/// A group that is being drawn.
pub(super) struct Drawing {
    pub(super) ends: Vec<End>,
    pub(super) settings: Settings,
    pub(super) prompt_tokens: u32,
    pub(super) events: GroupEvents,
    pub(super) seats: Seats,
    pub(super) steps: Arc<AtomicU64>,
}

/// The end of one sample.
pub(super) struct End {
    pub(super) at: Instant,
    pub(super) spec: SampleSpec,
    pub(super) tokens: u32,
    pub(super) fails: bool,
}

/// Samples of one group that count as being drawn on a node; released as they end.
pub(super) struct Seats {
    drawing: Arc<AtomicU32>,
    held: u32,
}

// === impl Drawing ===

impl Drawing {
    pub(super) async fn run(mut self, cancels: CancelRequests, paced: bool) {
        self.events.accepted(self.prompt_tokens, 0);
        let mut cancelled = Vec::new();
        for end in std::mem::take(&mut self.ends) {
            let at = end.at;
            let wait = async {
                if paced {
                    tokio::time::sleep_until(at).await;
                }
            };
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    biased;
                    () = &mut wait => break,
                    request = cancels.next() => match request {
                        Cancelled::Nothing => {}
                        Cancelled::Samples(indices) => cancelled.extend(indices),
                        Cancelled::Group => return,
                        Cancelled::TimedOut => {
                            drop(self.seats);
                            self.events.apply(&request);
                            return;
                        }
                    },
                }
            }
            let index = end.spec.index;
            self.steps.fetch_add(u64::from(end.tokens), Ordering::Relaxed);
            self.seats.free_one();
            if cancelled.contains(&index) {
                self.events.failed(index, FailureKind::NotNeeded, "cancelled");
            } else if end.fails {
                self.events.failed(index, FailureKind::Worker, "a simulated failure");
            } else {
                for tokens in (PROGRESS_TOKENS..end.tokens).step_by(PROGRESS_TOKENS as usize) {
                    self.events.progress(index, tokens);
                }
                self.events.finished(sample(end, &self.settings, self.prompt_tokens));
            }
        }
    }
}

// === impl Seats ===

impl Seats {
    pub(super) fn take(drawing: &Arc<AtomicU32>, n: usize) -> Self {
        let held = u32::try_from(n).unwrap_or(u32::MAX);
        drawing.fetch_add(held, Ordering::Relaxed);
        Self { drawing: drawing.clone(), held }
    }

    fn free_one(&mut self) {
        self.held -= 1;
        self.drawing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.drawing.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// A sample of realistic size, with scores derived from its seed.
fn sample(end: End, settings: &Settings, prompt_tokens: u32) -> Sample {
    let scale = settings.scale;
    let choices = (scale.max - scale.min + 1) as usize;
    let mut random = SmallRng::seed_from_u64(end.spec.seed);
    let scores = end
        .spec
        .order
        .iter()
        .map(|_| f64::from(random.random_range(scale.min..=scale.max)))
        .collect::<Vec<_>>();
    let flat = vec![1.0 / choices as f64; choices];
    let text = "words ".repeat(end.tokens as usize * BYTES_PER_TOKEN / 6);
    Sample {
        principles: text.chars().take(text.len() / 3).collect(),
        critique: text,
        outcome: Outcome::Scored(Scores {
            score_distribution: Some(vec![flat; scores.len()]),
            scores,
            readout_mass: Some(1.0),
            forced: false,
        }),
        finish: Finish::Box,
        prompt_tokens,
        generated_tokens: end.tokens,
        ..Sample::failed(end.spec, FailureKind::NoBox, "")
    }
}
