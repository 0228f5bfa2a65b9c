//! One planned sample on the workbench, and the attempts at it.

use std::collections::BTreeSet;
use std::time::Instant;

use jury_grm::domain::SampleSpec;

use super::CallId;
use crate::fleet::WorkerRef;

/// One worker's try at one sample.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The call that it belongs to.
    pub call: CallId,
    /// The worker.
    pub worker: WorkerRef,
    /// When the call was issued.
    pub started: Instant,
    /// When it first reported tokens.
    pub decoding_since: Option<Instant>,
    /// Tokens reported so far.
    pub tokens: u32,
}

/// A waiting sample, and what is known about which workers may draw it.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// The sample.
    pub spec: &'a SampleSpec,
    /// Workers that failed it; tried again only if no other is left.
    pub failed_on: &'a BTreeSet<WorkerRef>,
    /// Workers whose memory it does not fit; never tried again.
    pub too_large_for: &'a BTreeSet<WorkerRef>,
    /// Tokens of KV cache that it needs; 0 until a worker has reported it.
    pub needed_tokens: u32,
}

/// The state of one planned sample. It waits when it has neither ended nor any attempt.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) spec: SampleSpec,
    /// Attempts under way: none, one, or two when hedged.
    pub(super) attempts: Vec<Attempt>,
    pub(super) is_ended: bool,
    /// Attempts that started and were lost.
    pub(super) losses: u32,
    pub(super) failed_on: BTreeSet<WorkerRef>,
    too_large_for: BTreeSet<WorkerRef>,
    needed_tokens: u32,
}

// === impl Slot ===

impl Slot {
    pub(super) fn new(spec: SampleSpec) -> Self {
        Self {
            spec,
            attempts: Vec::new(),
            is_ended: false,
            losses: 0,
            failed_on: BTreeSet::new(),
            too_large_for: BTreeSet::new(),
            needed_tokens: 0,
        }
    }

    pub(super) fn waiting(&self) -> Waiting<'_> {
        Waiting {
            spec: &self.spec,
            failed_on: &self.failed_on,
            too_large_for: &self.too_large_for,
            needed_tokens: self.needed_tokens,
        }
    }

    pub(super) fn too_large_for(&mut self, worker: &WorkerRef, needed_tokens: u32) {
        self.too_large_for.insert(worker.clone());
        self.needed_tokens = self.needed_tokens.max(needed_tokens);
    }

    pub(super) fn describe_too_large(&self) -> String {
        format!(
            "one sample needs {} tokens of KV cache, more than any worker of this model has",
            self.needed_tokens
        )
    }

    /// Updates an attempt's token count; returns by how much it grew.
    pub(super) fn progress(&mut self, call: CallId, tokens: u32, now: Instant) -> u64 {
        let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.call == call) else {
            return 0;
        };
        let more = tokens.saturating_sub(attempt.tokens);
        attempt.tokens += more;
        attempt.decoding_since.get_or_insert(now);
        more.into()
    }

    pub(super) fn remove_attempt(&mut self, call: CallId) -> Option<Attempt> {
        let position = self.attempts.iter().position(|attempt| attempt.call == call)?;
        Some(self.attempts.swap_remove(position))
    }
}
