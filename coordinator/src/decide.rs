//! What to do after each sample that ends: nothing, draw a spare sample, stop, or split into smaller panels.
//!
//! A thin driver of [`Arrivals`]: whatever the order of arrival, the verdict consists of the same samples.

use jury_grm::domain::{FailureKind, Sample, SampleSpec};
use jury_grm::plan::Plan;
use jury_grm::stop::{Arrivals, Drawn, Stopping};

/// One request's samples as they arrive.
#[derive(Debug)]
pub(crate) struct Deciding {
    arrivals: Arrivals,
    spares: std::vec::IntoIter<SampleSpec>,
    /// Whether prompts can be made shorter by showing fewer responses, or by leaving out one that does not fit even
    /// alone.
    can_split: bool,
    /// Lowest index whose prompt is too long.
    too_long: Option<u32>,
    is_stopped: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing to do.
    GoOn,
    /// Draw this spare sample as well.
    Draw(SampleSpec),
    /// The verdict is decided.
    Stop,
    /// A sample of the verdict does not fit the model's context: show fewer responses at once.
    Split,
}

// === impl Deciding ===

impl Deciding {
    pub(crate) fn new(stopping: Stopping, plan: &Plan) -> Self {
        let orders = || plan.samples.iter().map(|spec| &spec.order);
        Self {
            arrivals: Arrivals::new(stopping),
            spares: plan.spares.clone().into_iter(),
            can_split: orders().any(|order| order.len() > 1 || Some(order) != orders().next()),
            too_long: None,
            is_stopped: false,
        }
    }

    /// Takes a sample that has ended, ranked if ranking was asked for.
    pub(crate) fn take(&mut self, sample: Sample) -> Next {
        let failure = sample.failure().map(|failure| failure.kind);
        let index = sample.spec.index;
        if self.arrivals.push(sample).is_some() {
            self.is_stopped = true;
            return Next::Stop;
        }
        if self.is_stopped {
            return Next::GoOn;
        }
        if failure == Some(FailureKind::TooLong) {
            self.too_long = Some(self.too_long.map_or(index, |lowest| lowest.min(index)));
        }
        // A stop rule that fires earlier may not need this sample; which of the two happens must not depend on what
        // arrives first.
        if self.can_split && self.too_long.is_some_and(|index| self.arrivals.is_certain(index)) {
            return Next::Split;
        }
        if failure.is_some_and(FailureKind::is_parse)
            && let Some(spare) = self.spares.next()
        {
            return Next::Draw(spare);
        }
        Next::GoOn
    }

    /// No prompt can be made to fit: what is too long stays too long.
    pub(crate) fn cannot_split(&mut self) {
        self.can_split = false;
    }

    /// The samples that the verdict is made of.
    pub(crate) fn into_drawn(self) -> Drawn {
        self.arrivals.into_drawn()
    }
}
