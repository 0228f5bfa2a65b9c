//! How far items are, on the way to Python.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jury_grm::domain::{Phase, Progress};

/// How far an item is: its place, the phase, samples done and asked for, tokens.
pub type Step = (u64, &'static str, u32, u32, u64);

/// The latest step of each item that Python has been told of and has not yet taken: so nothing piles up behind a caller
/// that is slow. Not to be looked at in another process than the one that fills it: its lock is taken unattached.
#[derive(Clone, Default)]
pub struct Steps(Arc<Mutex<BTreeMap<u64, Progress>>>);

// === impl Steps ===

impl Steps {
    /// Puts the step of the item at `place`; true when Python must be told that there is one.
    pub fn put(&self, place: u64, step: Progress) -> bool {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.insert(place, step).is_none()
    }

    /// Takes the latest step of the item at `place`.
    pub fn take(&self, place: u64) -> Option<Step> {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&place)?;
        let phase = match step.phase {
            Phase::Waiting => "waiting",
            Phase::Prefill => "prefill",
            Phase::Drawing => "drawing",
        };
        Some((place, phase, step.samples_done, step.samples_asked, step.generated_tokens))
    }
}
