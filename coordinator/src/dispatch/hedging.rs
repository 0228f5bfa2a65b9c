//! Which samples get a second attempt beside a slow first one. Pure; the clock is an argument.
//!
//! A straggler is recognised by its token rate, compared with the finished samples of its own job, which are of the
//! same class and have prompts of the same length: a long sample is not a straggler, a slow one is. Nothing is hedged
//! before half of the job has finished, while a sample waits, or on a full worker; and all jobs together stay within a
//! [`HedgeBudget`]. The second attempt draws the same sample, so it never changes a verdict, only when it arrives.

mod budget;

use std::time::{Duration, Instant};

pub use budget::HedgeBudget;

use super::{Assignment, Attempt, Waiting};
use crate::fleet::{Candidate, WorkerRef};

/// How many times slower than its peers a straggler is. At a third of their rate, after the time that they took in
/// all, it needs twice that time again; a second attempt needs it once.
const SLOWER: u32 = 3;
/// A sample that ends within this time is not worth a second attempt.
const LEAST_WAIT: Duration = Duration::from_millis(100);

/// How long the finished samples of one job were, and how long they took.
#[derive(Debug, Default)]
pub struct Pace {
    tokens: Vec<u32>,
    took: Vec<Duration>,
}

/// A typical finished sample of the job: medians, from the call to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Typical {
    /// Tokens generated.
    pub tokens: u32,
    /// From issue to end, including the prefill.
    pub took: Duration,
}

/// A sample that exactly one worker is drawing.
#[derive(Debug, Clone, Copy)]
pub struct Underway<'a> {
    /// The sample, and which workers may draw it.
    pub sample: Waiting<'a>,
    /// The only attempt at it.
    pub attempt: &'a Attempt,
}

// === impl Pace ===

impl Pace {
    /// Records a sample that ran to its own end.
    pub fn record(&mut self, tokens: u32, took: Duration) {
        self.tokens.push(tokens);
        self.took.push(took);
    }

    /// The typical sample; `None` until half of the `n_planned` samples have finished.
    pub fn typical(&self, n_planned: u32) -> Option<Typical> {
        let n_finished = self.tokens.len();
        if n_finished == 0 || 2 * n_finished < n_planned as usize {
            return None;
        }
        Some(Typical { tokens: median(&self.tokens), took: median(&self.took) })
    }
}

// === impl Typical ===

impl Typical {
    /// How long to wait between two checks for stragglers.
    pub fn look_interval(&self) -> Duration {
        (self.took / 4).max(LEAST_WAIT)
    }

    /// True for an attempt that is too slow. Its rate counts from its first tokens, so that an attempt which waited
    /// for a place on its worker is not blamed for that. An attempt without tokens may be at a worker that reports
    /// none, so it is given more time.
    pub fn is_straggler(&self, attempt: &Attempt, now: Instant) -> bool {
        let wait = self.took.max(LEAST_WAIT);
        let Some(since) = attempt.decoding_since else {
            return now.saturating_duration_since(attempt.started) >= wait * SLOWER;
        };
        let elapsed = now.saturating_duration_since(since);
        // tokens / elapsed <= (typical tokens / typical time) / SLOWER, without a division.
        let tokens_then = f64::from(attempt.tokens) * f64::from(SLOWER) * wait.as_secs_f64();
        elapsed >= wait && tokens_then <= f64::from(self.tokens) * elapsed.as_secs_f64()
    }
}

/// The second attempts worth making now. Each straggler of `underway` goes to the least loaded free worker that
/// `may_ask` allows, that has not failed the sample, and that has memory for it. Each call holds samples of one order.
/// Stragglers without such a worker are left out.
pub fn hedges<'a>(
    underway: impl Iterator<Item = Underway<'a>>,
    typical: Typical,
    candidates: &[Candidate],
    may_ask: impl Fn(&WorkerRef) -> bool,
    now: Instant,
) -> Vec<Assignment> {
    let mut places: Vec<Place<'_>> =
        candidates.iter().filter(|c| may_ask(&c.worker)).map(Place::of).collect();
    let mut calls: Vec<(&'a [usize], Assignment)> = Vec::new();
    for Underway { sample, attempt } in underway {
        if !typical.is_straggler(attempt, now) {
            continue;
        }
        let may_draw = |place: &&mut Place<'_>| place.may_draw(&sample, attempt);
        let by_share = |a: &&mut Place<'_>, b: &&mut Place<'_>| a.share().total_cmp(&b.share());
        // A call of this order saves the prefill, so its worker comes first.
        let of_order = calls.iter_mut().find(|(order, call)| {
            *order == sample.spec.order
                && places.iter_mut().any(|p| *p.worker == call.worker && may_draw(&p))
        });
        let index = sample.spec.index;
        let chosen = match of_order {
            Some((_, call)) => {
                call.indices.push(index);
                places.iter_mut().find(|place| *place.worker == call.worker)
            }
            None => {
                let least = places.iter_mut().filter(may_draw).min_by(by_share);
                least.inspect(|place| {
                    let call = Assignment { worker: place.worker.clone(), indices: vec![index] };
                    calls.push((&sample.spec.order, call));
                })
            }
        };
        if let Some(place) = chosen {
            place.load += 1;
        }
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

/// A candidate and the load assigned to it so far.
struct Place<'a> {
    worker: &'a WorkerRef,
    load: u32,
    capacity: u32,
    room_tokens: Option<u32>,
}

// === impl Place ===

impl<'a> Place<'a> {
    fn of(candidate: &'a Candidate) -> Self {
        let Candidate { worker, load, capacity, room_tokens, .. } = candidate;
        Self { worker, load: *load, capacity: *capacity, room_tokens: *room_tokens }
    }

    fn may_draw(&self, sample: &Waiting<'_>, attempt: &Attempt) -> bool {
        self.load < self.capacity
            && *self.worker != attempt.worker
            && !sample.failed_on.contains(self.worker)
            && !sample.too_large_for.contains(self.worker)
            && self.room_tokens.is_none_or(|room| room >= sample.needed_tokens)
    }

    fn share(&self) -> f64 {
        f64::from(self.load) / f64::from(self.capacity.max(1))
    }
}

/// The upper median of `values`, which must not be empty.
fn median<T: Ord + Copy>(values: &[T]) -> T {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests;
