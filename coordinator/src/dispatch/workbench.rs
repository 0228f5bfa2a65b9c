//! The state of one request's samples: waiting, attempted by one or two workers, ended.
//!
//! ```text
//!            issue                      finished, failed for good
//! waiting ----------> attempts (1..=2) --------------------------> ended, once
//!    ^                  |                                            ^
//!    |  refused, lost,  |  hedge: a second attempt                   |
//!    +--  failed  ------+                        not needed, given up|
//!        (the last attempt)
//! ```
//!
//! The first attempt that finishes counts; the other is cancelled, and its tokens are waste. Only an attempt that
//! started can be lost: a refusal costs nothing. The workbench knows neither channels nor the clock: the driver
//! reports what happened and when, and collects what ended ([`Workbench::pop_ended`]) and what to cancel
//! ([`Workbench::pop_cancel`]). Every event costs at most O(log k).

mod books;
mod slot;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use jury_grm::domain::{FailureKind, Sample, SampleSpec};

pub use slot::{Attempt, Waiting};

use super::hedging::Underway;
use crate::fleet::WorkerRef;
use books::Call;
use slot::Slot;

/// Identifies a call to a worker: one group on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The state of one request's samples.
#[derive(Debug)]
pub struct Workbench {
    /// By sample index.
    slots: Vec<Slot>,
    /// Indices of waiting samples.
    waiting: BTreeSet<u32>,
    /// Open calls.
    calls: HashMap<CallId, Call>,
    next_call: u64,
    max_reissues: u32,
    n_ended: u32,
    /// Tokens of ended samples and of attempts under way.
    tokens: u64,
    tally: Tally,
    /// Ended samples that have not been collected yet.
    ended: VecDeque<Sample>,
    /// Cancelled attempts whose worker has yet to be told.
    cancels: VecDeque<(CallId, u32)>,
}

/// Counts of what happened besides the results; reported under `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Samples drawn again after an attempt was lost.
    pub reissued: u32,
    /// Second attempts beside a first one.
    pub hedged: u32,
    /// Tokens generated for nothing.
    pub wasted_tokens: u64,
}

/// Why a result is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The sample already has a result.
    #[error("sample {0} already has a result")]
    Duplicate(u32),
    /// The sample was not given to this call.
    #[error("sample {0} was not asked of this worker with this seed and order")]
    Foreign(u32),
}

// === impl Workbench ===

impl Workbench {
    /// A workbench where every planned sample waits. `specs[i].index` must be `i`.
    pub fn new(specs: Vec<SampleSpec>, max_reissues: u32) -> Self {
        debug_assert!(specs.iter().zip(0..).all(|(spec, index)| spec.index == index));
        Self {
            waiting: specs.iter().map(|spec| spec.index).collect(),
            slots: specs.into_iter().map(Slot::new).collect(),
            calls: HashMap::new(),
            next_call: 0,
            max_reissues,
            n_ended: 0,
            tokens: 0,
            tally: Tally::default(),
            ended: VecDeque::new(),
            cancels: VecDeque::new(),
        }
    }

    /// Adds a planned sample, which waits. Its index must be the next after those planned before.
    pub fn add(&mut self, spec: SampleSpec) {
        debug_assert_eq!(spec.index, self.n_planned());
        self.waiting.insert(spec.index);
        self.slots.push(Slot::new(spec));
    }

    /// Waiting samples, in index order.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.waiting.iter().map(|&index| self.slots[index as usize].waiting())
    }

    /// True when a sample waits for a worker.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The identity of a planned sample.
    pub fn spec(&self, index: u32) -> Option<&SampleSpec> {
        self.slots.get(index as usize).map(|slot| &slot.spec)
    }

    /// Attempts under way for a sample.
    pub fn attempts(&self, index: u32) -> &[Attempt] {
        self.slots.get(index as usize).map_or(&[], |slot| &slot.attempts)
    }

    /// Samples that exactly one worker is drawing, in index order.
    pub fn underway(&self) -> impl Iterator<Item = Underway<'_>> {
        self.slots.iter().filter_map(|slot| match &slot.attempts[..] {
            [attempt] => Some(Underway { sample: slot.waiting(), attempt }),
            _ => None,
        })
    }

    /// Gives waiting samples to `worker` in one call. Indices that do not wait are left out.
    pub fn issue(&mut self, worker: &WorkerRef, indices: &[u32], now: Instant) -> CallId {
        let waiting = indices.iter().copied().filter(|index| self.waiting.contains(index));
        let given: BTreeSet<u32> = waiting.collect();
        self.open(worker, given, now)
    }

    /// Gives samples that another worker is drawing to `worker` as well, in one call. Samples that have no attempt,
    /// have two already, or have one by this worker are left out.
    pub fn hedge(&mut self, worker: &WorkerRef, indices: &[u32], now: Instant) -> CallId {
        let can_be_hedged = |&index: &u32| match self.attempts(index) {
            [only] => only.worker != *worker,
            _ => false,
        };
        let given: BTreeSet<u32> = indices.iter().copied().filter(can_be_hedged).collect();
        self.tally.hedged += u32::try_from(given.len()).expect("k is below the request's limit");
        self.open(worker, given, now)
    }

    /// The samples that a call still has to deliver, in index order.
    pub fn owed(&self, call: CallId) -> impl Iterator<Item = u32> + '_ {
        self.calls.get(&call).into_iter().flat_map(|call| call.owed.iter().copied())
    }

    /// Records how many tokens an attempt has so far.
    pub fn record_progress(&mut self, call: CallId, index: u32, tokens: u32, now: Instant) {
        let Some(open) = self.calls.get_mut(&call) else { return };
        if open.owed.contains(&index) {
            self.tokens += self.slots[index as usize].progress(call, tokens, now);
        } else if let Some(counted) = open.cancelled.get_mut(&index) {
            self.tally.wasted_tokens += u64::from(tokens.saturating_sub(*counted));
            *counted = tokens.max(*counted);
        }
    }

    /// An attempt ran to its own end, scored or not: the sample ends, and any other attempt at it is cancelled.
    ///
    /// # Errors
    /// [`Refused`] if the result does not count; its tokens are waste.
    pub fn record_finished(&mut self, call: CallId, sample: Sample) -> Result<(), Refused> {
        let index = sample.spec.index;
        let slot = self.slots.get(index as usize);
        let is_asked = slot.is_some_and(|slot| slot.spec == sample.spec) && self.owes(call, index);
        if !is_asked {
            let is_ended = slot.is_some_and(|slot| slot.is_ended);
            self.waste_unasked(call, index, sample.generated_tokens);
            let refused = if is_ended { Refused::Duplicate } else { Refused::Foreign };
            return Err(refused(index));
        }
        // The tokens that this attempt reported earlier are included in its final count.
        self.remove_attempt(call, index);
        self.tokens += u64::from(sample.generated_tokens);
        self.end(sample);
        Ok(())
    }

    /// A worker gave up on an attempt. A prompt that is too long for one worker is too long for all, and a sample that
    /// is out of time stays so: these end at once. Otherwise another attempt under way decides; without one, the sample
    /// waits again, or ends with this failure once its reissues are used up.
    pub fn record_failed(&mut self, call: CallId, index: u32, kind: FailureKind, detail: &str) {
        let Some(attempt) = self.remove_attempt(call, index) else { return };
        self.waste(attempt.tokens);
        let slot = &mut self.slots[index as usize];
        slot.losses += 1;
        slot.failed_on.insert(attempt.worker);
        let is_final = matches!(kind, FailureKind::TooLong | FailureKind::TimedOut);
        if is_final {
            self.end_as(index, kind, detail);
        } else if !slot.attempts.is_empty() {
            // The other attempt decides.
        } else if slot.losses > self.max_reissues {
            self.end_as(index, kind, detail);
        } else {
            self.waiting.insert(index);
            self.tally.reissued += 1;
        }
    }

    /// A call broke after it had started: the samples that it still owed were lost. Returns their indices.
    pub fn record_lost(&mut self, call: CallId, detail: &str) -> Vec<u32> {
        let owed: Vec<u32> = self.owed(call).collect();
        for &index in &owed {
            self.record_failed(call, index, FailureKind::Worker, detail);
        }
        self.calls.remove(&call);
        owed
    }

    /// The worker did not accept the call (it is busy, shutting down, unreachable, or serves something else): the
    /// samples wait again, and no loss is counted.
    pub fn record_refused(&mut self, call: CallId) {
        self.take_back(call, |_, _| ());
        self.calls.remove(&call);
    }

    /// The group needs `needed_tokens` of KV cache, more than this worker has: its samples wait for a larger one.
    pub fn record_too_large(&mut self, call: CallId, needed_tokens: u32) {
        self.take_back(call, |slot, worker| slot.too_large_for(worker, needed_tokens));
    }

    /// No present worker has room for this waiting sample.
    pub fn record_too_large_everywhere(&mut self, index: u32) {
        if self.waiting.contains(&index) {
            let detail = self.slots[index as usize].describe_too_large();
            self.end_as(index, FailureKind::TooLarge, &detail);
        }
    }

    /// The verdict no longer needs these samples: those that have not ended end as not needed, and attempts at them
    /// are cancelled.
    pub fn record_not_needed(&mut self, indices: impl IntoIterator<Item = u32>) {
        let detail = "the verdict was decided without it";
        for index in indices {
            if self.slots.get(index as usize).is_some_and(|slot| !slot.is_ended) {
                self.end_as(index, FailureKind::NotNeeded, detail);
            }
        }
    }

    /// Ends every sample that has not ended as `kind`, and cancels every attempt.
    pub fn give_up(&mut self, kind: FailureKind, detail: &str) {
        for index in 0..self.n_planned() {
            if !self.slots[index as usize].is_ended {
                self.end_as(index, kind, detail);
            }
        }
    }

    /// The next ended sample that has not been collected yet. Every planned sample is returned exactly once.
    pub fn pop_ended(&mut self) -> Option<Sample> {
        self.ended.pop_front()
    }

    /// The next cancelled attempt whose worker must be told.
    pub fn pop_cancel(&mut self) -> Option<(CallId, u32)> {
        self.cancels.pop_front()
    }

    /// True when every sample has ended.
    pub fn is_complete(&self) -> bool {
        self.n_ended == self.n_planned()
    }

    /// Samples planned.
    pub fn n_planned(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("k is below the request's limit")
    }

    /// Samples ended so far.
    pub fn n_ended(&self) -> u32 {
        self.n_ended
    }

    /// Tokens of ended samples and of attempts under way.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Counts so far of what happened besides the results.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
#[path = "workbench/tests.rs"]
mod tests;
