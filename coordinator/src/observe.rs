//! Who looks on while requests are judged: a page for people, and nothing else so far.
//!
//! ```text
//! answer ── Came ──> draw ── Planned, Moved, Ended, .. ──> Judged ──> Gone
//! ```
//!
//! An observer is told inside the request, so what it does must be short and must not wait. Whoever keeps what it is
//! told answers for the bounds. Without an observer nothing here costs anything.

use std::fmt;
use std::sync::Arc;

use jury_grm::domain::{Progress, Sample, SampleSpec, ScoreRequest, Verdict};

/// Looks on. Told from many requests at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened to the request of this number. Must not block.
    fn observe(&self, number: RequestNumber, seen: Seen<'_>);
}

/// Which request of this process, counted from 1; request ids may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// What happened to a request. It comes first, and is gone last; what is between may come several times or never.
#[derive(Debug)]
pub enum Seen<'a> {
    /// It has come and waits.
    Came {
        /// On whose behalf.
        tenant: &'a Arc<str>,
        /// With its id, the caller's or one made up.
        request: &'a Arc<ScoreRequest>,
    },
    /// These samples are planned, and none of them is drawn. A later plan, with smaller panels, takes the place of it.
    Planned(&'a [SampleSpec]),
    /// A spare sample is drawn, too.
    Spare(&'a SampleSpec),
    /// How far it is.
    Moved(Progress),
    /// One of its samples came to its end.
    Ended(&'a Sample),
    /// It is judged; the verdict holds every sample, whether the caller asked for them or not.
    Judged(&'a Verdict),
    /// Nothing more will be told: it is answered, or its caller has left.
    Gone,
}

/// One request under the eyes of an observer, who is told when this is dropped.
#[derive(Debug)]
pub(crate) struct Observed {
    observer: Arc<dyn Observer>,
    number: RequestNumber,
}

// === impl Observed ===

impl Observed {
    /// Tells `observer` of a request that has come.
    pub(crate) fn begin(
        observer: &Arc<dyn Observer>,
        number: RequestNumber,
        tenant: &Arc<str>,
        request: &Arc<ScoreRequest>,
    ) -> Self {
        observer.observe(number, Seen::Came { tenant, request });
        Self { observer: Arc::clone(observer), number }
    }

    /// Tells what happened.
    pub(crate) fn tell(&self, seen: Seen<'_>) {
        self.observer.observe(self.number, seen);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.observer.observe(self.number, Seen::Gone);
    }
}
