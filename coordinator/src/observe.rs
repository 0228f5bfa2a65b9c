//! Observers of requests while they are judged; so far only the console is one.
//!
//! ```text
//! answer ── Came ──> draw ── Planned, Moved, Ended, .. ──> Judged ──> Gone
//! ```
//!
//! An observer is called inside the request, so it must be quick and must not block. It is responsible for bounding
//! what it stores. Without an observer, nothing here costs anything.

use std::fmt;
use std::sync::Arc;

use jury_grm::domain::{Progress, Sample, SampleSpec, ScoreRequest, Verdict};

/// Observes requests. Called by many requests at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened to request `number`. Must not block.
    fn observe(&self, number: RequestNumber, seen: Seen<'_>);
}

/// Numbers the requests of this process from 1; request ids may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// What happened to a request. `Came` is first and `Gone` last; the others may occur several times or never.
#[derive(Debug)]
pub enum Seen<'a> {
    /// It has arrived and waits.
    Came {
        /// Its tenant.
        tenant: &'a Arc<str>,
        /// The request, with the caller's id or a generated one.
        request: &'a Arc<ScoreRequest>,
    },
    /// These samples are planned, and none of them is drawn yet. A later plan, with smaller panels, replaces an
    /// earlier one.
    Planned(&'a [SampleSpec]),
    /// A spare sample is drawn as well.
    Spare(&'a SampleSpec),
    /// Its progress.
    Moved(Progress),
    /// One of its samples ended.
    Ended(&'a Sample),
    /// It is judged; the verdict holds every sample, whether or not the caller asked for them.
    Judged(&'a Verdict),
    /// No further events: it is answered, or its caller has left.
    Gone,
}

/// One observed request; the observer sees `Gone` when this is dropped.
#[derive(Debug)]
pub(crate) struct Observed {
    observer: Arc<dyn Observer>,
    number: RequestNumber,
}

// === impl Observed ===

impl Observed {
    /// Reports a new request to `observer`.
    pub(crate) fn begin(
        observer: &Arc<dyn Observer>,
        number: RequestNumber,
        tenant: &Arc<str>,
        request: &Arc<ScoreRequest>,
    ) -> Self {
        observer.observe(number, Seen::Came { tenant, request });
        Self { observer: Arc::clone(observer), number }
    }

    /// Reports an event.
    pub(crate) fn tell(&self, seen: Seen<'_>) {
        self.observer.observe(self.number, seen);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.observer.observe(self.number, Seen::Gone);
    }
}
