//! The state of one request's samples: pending, in flight, done.
//!
//! ```text
//!            issue                 finish
//! Pending ----------> InFlight ------------> Done
//!    ^                   | lost, failed
//!    +-------------------+  (at most max_reissues times, then Done with the failure)
//! ```
//!
//! A sample counts once: a result for an index that is already done is waste. Knows neither time
//! nor workers' addresses; the driver tells it what happened and asks what to do next.

use std::collections::{BTreeMap, BTreeSet};

use jury_grm::domain::{FailureKind, Sample, SampleSpec};

/// Names a call to a worker: one group on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The state of one request's samples.
#[derive(Debug)]
pub struct Workbench {
    /// By sample index.
    slots: Vec<Slot>,
    /// Samples that each open call still owes, with the worker that it went to.
    calls: BTreeMap<CallId, Call>,
    max_reissues: u32,
    next_call: u64,
    tally: Tally,
}

/// What happened beside the results; all of it is reported under `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Samples drawn again after their worker was lost.
    pub reissued: u32,
    /// Tokens generated for nothing.
    pub wasted_tokens: u64,
}

/// Why a result is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The sample already has a result.
    #[error("sample {0} already has a result")]
    Duplicate(u32),
    /// The result is not of a sample that this call was given.
    #[error("sample {0} was not asked of this worker with this seed and order")]
    Foreign(u32),
}

#[derive(Debug)]
struct Slot {
    spec: SampleSpec,
    state: State,
    /// Workers that failed this sample; tried again only when no other is left.
    failed_on: BTreeSet<String>,
    /// Tokens reported by the current attempt.
    tokens: u32,
    losses: u32,
}

#[derive(Debug)]
enum State {
    Pending,
    InFlight,
    Done(Box<Sample>),
}

#[derive(Debug)]
struct Call {
    worker: String,
    owed: BTreeSet<u32>,
}

// === impl Workbench ===

impl Workbench {
    /// A workbench with every planned sample pending. `specs[i].index` must be `i`.
    pub fn new(specs: Vec<SampleSpec>, max_reissues: u32) -> Self {
        debug_assert!(specs.iter().enumerate().all(|(i, spec)| spec.index as usize == i));
        let slots = specs
            .into_iter()
            .map(|spec| Slot {
                spec,
                state: State::Pending,
                failed_on: BTreeSet::new(),
                tokens: 0,
                losses: 0,
            })
            .collect();
        Self { slots, calls: BTreeMap::new(), max_reissues, next_call: 0, tally: Tally::default() }
    }

    /// Samples that wait for a worker, in index order, with the workers that failed them.
    pub fn pending(&self) -> impl Iterator<Item = (&SampleSpec, &BTreeSet<String>)> {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Pending))
            .map(|slot| (&slot.spec, &slot.failed_on))
    }

    /// Hands `indices` to `worker` in one call. Indices that are not pending are left out.
    pub fn issue(&mut self, worker: &str, indices: &[u32]) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        let mut owed = BTreeSet::new();
        for &index in indices {
            let Some(slot) = self.slots.get_mut(index as usize) else { continue };
            if matches!(slot.state, State::Pending) {
                slot.state = State::InFlight;
                slot.tokens = 0;
                owed.insert(index);
            }
        }
        self.calls.insert(call, Call { worker: worker.to_owned(), owed });
        call
    }

    /// A sample came to its own end, scored or not.
    ///
    /// # Errors
    /// [`Refused`] when it does not count; its tokens are waste.
    pub fn record_finished(&mut self, call: CallId, sample: Sample) -> Result<(), Refused> {
        let index = sample.spec.index;
        let refused = match self.slots.get(index as usize) {
            Some(slot) if matches!(slot.state, State::Done(_)) => Some(Refused::Duplicate(index)),
            Some(slot) if slot.spec == sample.spec && self.owes(call, index) => None,
            _ => Some(Refused::Foreign(index)),
        };
        if let Some(refused) = refused {
            self.tally.wasted_tokens += u64::from(sample.generated_tokens);
            return Err(refused);
        }
        self.settle(call, index);
        self.slots[index as usize].state = State::Done(Box::new(sample));
        Ok(())
    }

    /// The worker gave a sample up: it is drawn elsewhere, or done with this failure when its
    /// re-issues are used up. A prompt that is too long is too long everywhere.
    pub fn record_failed(&mut self, call: CallId, index: u32, kind: FailureKind, detail: &str) {
        if !self.owes(call, index) {
            return;
        }
        let worker = self.calls[&call].worker.clone();
        self.settle(call, index);
        let max_reissues = self.max_reissues;
        let slot = &mut self.slots[index as usize];
        self.tally.wasted_tokens += u64::from(std::mem::take(&mut slot.tokens));
        slot.losses += 1;
        slot.failed_on.insert(worker);
        if kind == FailureKind::TooLong || slot.losses > max_reissues {
            let sample = Sample::failed(slot.spec.clone(), kind, detail);
            slot.state = State::Done(Box::new(sample));
        } else {
            slot.state = State::Pending;
            self.tally.reissued += 1;
        }
    }

    /// A call ended: whatever it still owes was lost with its worker. Returns those indices.
    pub fn record_lost(&mut self, call: CallId, detail: &str) -> Vec<u32> {
        let owed: Vec<u32> = self
            .calls
            .get(&call)
            .map(|call| call.owed.iter().copied().collect())
            .unwrap_or_default();
        for &index in &owed {
            self.record_failed(call, index, FailureKind::Worker, detail);
        }
        self.calls.remove(&call);
        owed
    }

    /// The worker had no room: its samples are pending again, and nobody is to blame.
    pub fn record_busy(&mut self, call: CallId) {
        for index in self.calls.remove(&call).map(|call| call.owed).unwrap_or_default() {
            self.slots[index as usize].state = State::Pending;
        }
    }

    /// How many tokens a sample in flight has so far.
    pub fn record_progress(&mut self, call: CallId, index: u32, tokens: u32) {
        if self.owes(call, index) {
            self.slots[index as usize].tokens = tokens;
        }
    }

    /// True when every sample is done.
    pub fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot.state, State::Done(_)))
    }

    /// Samples done so far.
    pub fn n_done(&self) -> u32 {
        let done = self.slots.iter().filter(|slot| matches!(slot.state, State::Done(_))).count();
        u32::try_from(done).expect("k is below the request's limit")
    }

    /// Tokens generated so far, done and in flight.
    pub fn tokens(&self) -> u64 {
        let of = |slot: &Slot| match &slot.state {
            State::Done(sample) => sample.generated_tokens,
            State::InFlight | State::Pending => slot.tokens,
        };
        self.slots.iter().map(|slot| u64::from(of(slot))).sum()
    }

    /// Every sample in index order; one that is not done fails as `kind`, and what it generated
    /// is waste.
    pub fn into_samples(mut self, kind: FailureKind, detail: &str) -> (Vec<Sample>, Tally) {
        let mut samples = Vec::with_capacity(self.slots.len());
        for slot in self.slots {
            samples.push(match slot.state {
                State::Done(sample) => *sample,
                State::Pending | State::InFlight => {
                    self.tally.wasted_tokens += u64::from(slot.tokens);
                    Sample::failed(slot.spec, kind, detail)
                }
            });
        }
        (samples, self.tally)
    }

    fn owes(&self, call: CallId, index: u32) -> bool {
        self.calls.get(&call).is_some_and(|call| call.owed.contains(&index))
    }

    fn settle(&mut self, call: CallId, index: u32) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.owed.remove(&index);
        }
    }
}

#[cfg(test)]
#[path = "workbench/tests.rs"]
mod tests;
