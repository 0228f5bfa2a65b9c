//! Samples as they arrive: the prefix that a stop rule fires after is the same whatever their order.

use std::collections::BTreeMap;

use super::{Stop, Stopping};
use crate::domain::{FailureKind, Sample};

/// Puts samples into index order and asks the stop rule at each block's end.
#[derive(Debug, Clone)]
pub struct Arrivals {
    stopping: Stopping,
    /// Samples in index order, from the first one on without a gap.
    prefix: Vec<Sample>,
    /// Samples behind the gap, and spare ones.
    ahead: BTreeMap<u32, Sample>,
    stop: Option<Stop>,
}

/// What a verdict is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// In index order: all that came, or, once a rule has fired, the prefix, and the rest of the plan as not needed.
    pub samples: Vec<Sample>,
    /// The rule that fired.
    pub stop: Option<Stop>,
    /// Tokens of samples that came and were not needed.
    pub surplus_tokens: u64,
}

// === impl Arrivals ===

impl Arrivals {
    /// Nothing has arrived.
    pub fn new(stopping: Stopping) -> Self {
        Self { stopping, prefix: Vec::new(), ahead: BTreeMap::new(), stop: None }
    }

    /// A sample has ended, ranked where that is asked for. `Some` when this makes the rule fire: nothing that has not
    /// arrived is needed any more.
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

    /// True when the verdict is certain to be made of sample `index`, too, however the rest turns out.
    pub fn is_certain(&self, index: u32) -> bool {
        let next = self.next_index().unwrap_or(u32::MAX);
        match self.stop {
            Some(stop) => index < stop.prefix,
            // Once all k are here and nothing has fired, spare ones belong to it.
            None => index < next || next >= self.stopping.k() || self.stopping.never_fires(),
        }
    }

    /// What the verdict is made of. Samples behind the prefix are not needed, arrived or not, and spare ones are as if they
    /// had never been planned.
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
