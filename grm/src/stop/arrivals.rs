//! Collects samples as they arrive. The prefix after which a stop rule fires does not depend on their order of arrival.

use std::collections::BTreeMap;

use super::{Stop, Stopping};
use crate::domain::{FailureKind, Sample};

/// Puts samples into index order and applies the stop rule at the end of each block.
#[derive(Debug, Clone)]
pub struct Arrivals {
    stopping: Stopping,
    /// Samples in index order, from the first one up to the first gap.
    prefix: Vec<Sample>,
    /// Samples after the gap, and spare samples.
    ahead: BTreeMap<u32, Sample>,
    stop: Option<Stop>,
}

/// The samples that a verdict is based on.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// In index order: all that arrived; or, once a rule has fired, the prefix, with the rest of the plan marked as not
    /// needed.
    pub samples: Vec<Sample>,
    /// The rule that fired.
    pub stop: Option<Stop>,
    /// Tokens of samples that arrived but were not needed.
    pub surplus_tokens: u64,
}

// === impl Arrivals ===

impl Arrivals {
    /// No samples yet.
    pub fn new(stopping: Stopping) -> Self {
        Self { stopping, prefix: Vec::new(), ahead: BTreeMap::new(), stop: None }
    }

    /// Adds a sample that has ended, and been ranked if that was requested. Returns `Some` when this makes the rule
    /// fire: no sample that has not arrived is needed any more.
    pub fn push(&mut self, sample: Sample) -> Option<Stop> {
        self.ahead.insert(sample.spec.index, sample);
        if self.stop.is_some() {
            return None;
        }
        let k = self.stopping.k();
        while let Some(next) = self.next_index().filter(|&next| next < k)
            && let Some(sample) = self.ahead.remove(&next)
        {
            self.prefix.push(sample);
            if let Some(by) = self.stopping.fires_after(&self.prefix) {
                self.stop = self.next_index().map(|prefix| Stop { prefix, by });
                return self.stop;
            }
        }
        None
    }

    /// True if the verdict is certain to use sample `index`, whatever the other samples turn out to be.
    pub fn is_certain(&self, index: u32) -> bool {
        let next = self.next_index().unwrap_or(u32::MAX);
        match self.stop {
            Some(stop) => index < stop.prefix,
            // Once all k have arrived and nothing has fired, spare samples are used as well.
            None => index < next || next >= self.stopping.k() || self.stopping.never_fires(),
        }
    }

    /// The samples that the verdict is based on. Samples after the prefix are marked as not needed, whether they
    /// arrived or not, and spare samples are treated as never planned.
    pub fn into_drawn(self) -> Drawn {
        let Self { stopping, prefix: mut samples, ahead, stop } = self;
        let Some(Stop { prefix, .. }) = stop else {
            samples.extend(ahead.into_values());
            return Drawn { samples, stop, surplus_tokens: 0 };
        };
        let rest = &stopping.plan.samples[prefix as usize..];
        let detail = "the verdict was decided without it";
        let not_needed =
            rest.iter().map(|spec| Sample::failed(spec.clone(), FailureKind::NotNeeded, detail));
        samples.extend(not_needed);
        let surplus_tokens = ahead.values().map(|sample| u64::from(sample.generated_tokens)).sum();
        Drawn { samples, stop, surplus_tokens }
    }

    fn next_index(&self) -> Option<u32> {
        u32::try_from(self.prefix.len()).ok()
    }
}
