//! A request in flight, with its samples as they arrive.

use std::sync::Arc;

use jury_coordinator::observe::{RequestNumber, Seen};
use jury_grm::domain::{Progress, Sample, SampleSpec, ScoreRequest};
use tokio::time::Instant;

/// A request in flight.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its number.
    pub number: RequestNumber,
    /// The tenant that sent it.
    pub tenant: Arc<str>,
    /// The request.
    pub request: Arc<ScoreRequest>,
    /// When it arrived.
    pub since: Instant,
    /// Its progress.
    pub progress: Progress,
    /// The planned samples, by index.
    pub slots: Vec<Slot>,
    /// Number of events so far.
    pub revision: u64,
}

/// The state of one planned sample.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Which sample.
    pub spec: SampleSpec,
    /// The result, once it has ended.
    pub sample: Option<Arc<Sample>>,
}

// === impl Running ===

impl Running {
    /// A request that has just arrived.
    pub fn new(number: RequestNumber, tenant: Arc<str>, request: Arc<ScoreRequest>) -> Self {
        let progress = Progress::waiting(request.settings.k);
        let since = Instant::now();
        Self { number, tenant, request, since, progress, slots: Vec::new(), revision: 0 }
    }

    /// Records an event.
    pub fn record(&mut self, seen: &Seen<'_>) {
        self.revision += 1;
        match seen {
            Seen::Planned(specs) => self.slots = specs.iter().map(Slot::empty).collect(),
            Seen::Spare(spec) => self.slots.push(Slot::empty(spec)),
            Seen::Moved(progress) => self.progress = *progress,
            Seen::Ended(sample) => {
                let slot = self.slots.iter_mut().find(|slot| slot.spec.index == sample.spec.index);
                if let Some(slot) = slot {
                    slot.sample = Some(Arc::new(without_state(sample)));
                }
            }
            Seen::Came { .. } | Seen::Judged(_) | Seen::Gone => {}
        }
    }
}

// === impl Slot ===

impl Slot {
    fn empty(spec: &SampleSpec) -> Self {
        Self { spec: spec.clone(), sample: None }
    }
}

/// A copy of a sample without the data that no page shows.
pub(super) fn without_state(sample: &Sample) -> Sample {
    Sample {
        spec: sample.spec.clone(),
        principles: sample.principles.clone(),
        critique: sample.critique.clone(),
        outcome: sample.outcome.clone(),
        finish: sample.finish,
        issues: sample.issues.clone(),
        prompt_tokens: sample.prompt_tokens,
        generated_tokens: sample.generated_tokens,
        meta_score: sample.meta_score,
        hidden_state: None,
    }
}
