//! The bookkeeping behind the workbench's transitions: which call owes which attempt, and which tokens were wasted.
//! Everything that starts, ends or is taken back passes through here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jury_grm::domain::{FailureKind, Sample};

use super::slot::{Attempt, Slot};
use super::{CallId, Workbench};
use crate::fleet::WorkerRef;

/// A call whose stream has not ended.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) worker: WorkerRef,
    /// Attempts that have not ended.
    pub(super) owed: BTreeSet<u32>,
    /// Cancelled attempts that the worker may still report on, with the tokens already counted as waste.
    pub(super) cancelled: BTreeMap<u32, u32>,
}

// === impl Workbench ===

impl Workbench {
    pub(super) fn open(
        &mut self,
        worker: &WorkerRef,
        given: BTreeSet<u32>,
        now: Instant,
    ) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        for &index in &given {
            self.waiting.remove(&index);
            let attempt = Attempt {
                call,
                worker: worker.clone(),
                started: now,
                decoding_since: None,
                tokens: 0,
            };
            self.slots[index as usize].attempts.push(attempt);
        }
        let open = Call { worker: worker.clone(), owed: given, cancelled: BTreeMap::new() };
        self.calls.insert(call, open);
        call
    }

    pub(super) fn owes(&self, call: CallId, index: u32) -> bool {
        self.calls.get(&call).is_some_and(|call| call.owed.contains(&index))
    }

    /// Takes an attempt, with its tokens, off the books; the caller must account for the tokens.
    pub(super) fn remove_attempt(&mut self, call: CallId, index: u32) -> Option<Attempt> {
        if !self.calls.get_mut(&call)?.owed.remove(&index) {
            return None;
        }
        let attempt = self.slots[index as usize].remove_attempt(call)?;
        self.tokens -= u64::from(attempt.tokens);
        Some(attempt)
    }

    /// Takes back everything that a call owes, without counting a loss; `note` records what was learned about a slot.
    pub(super) fn take_back(&mut self, call: CallId, note: impl Fn(&mut Slot, &WorkerRef)) {
        let Some(worker) = self.calls.get(&call).map(|call| call.worker.clone()) else { return };
        let owed: Vec<u32> = self.owed(call).collect();
        for index in owed {
            if let Some(attempt) = self.remove_attempt(call, index) {
                self.waste(attempt.tokens);
            }
            let slot = &mut self.slots[index as usize];
            note(slot, &worker);
            if slot.attempts.is_empty() {
                self.waiting.insert(index);
            }
        }
    }

    /// Ends a sample without scores.
    pub(super) fn end_as(&mut self, index: u32, kind: FailureKind, detail: &str) {
        self.end(Sample::failed(self.slots[index as usize].spec.clone(), kind, detail));
    }

    /// The only way for a sample to end: remaining attempts are cancelled.
    pub(super) fn end(&mut self, sample: Sample) {
        let index = sample.spec.index;
        self.waiting.remove(&index);
        while let Some(call) = self.attempts(index).first().map(|attempt| attempt.call) {
            let attempt = self.remove_attempt(call, index).expect("its call owes it");
            self.waste(attempt.tokens);
            if let Some(open) = self.calls.get_mut(&call) {
                open.cancelled.insert(index, attempt.tokens);
            }
            self.cancels.push_back((call, index));
        }
        let slot = &mut self.slots[index as usize];
        debug_assert!(!slot.is_ended, "a sample ends once");
        slot.is_ended = true;
        self.n_ended += 1;
        self.ended.push_back(sample);
    }

    /// A result that was never requested, or is no longer wanted.
    pub(super) fn waste_unasked(&mut self, call: CallId, index: u32, generated_tokens: u32) {
        let open = self.calls.get_mut(&call);
        let counted = open.and_then(|open| open.cancelled.remove(&index)).unwrap_or(0);
        self.waste(generated_tokens.saturating_sub(counted));
    }

    pub(super) fn waste(&mut self, tokens: u32) {
        self.tally.wasted_tokens += u64::from(tokens);
    }
}
