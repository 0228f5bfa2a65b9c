//! Draws the planned samples on the fleet: the driver around [`Workbench`] and [`assign`].
//!
//! ```text
//! waiting -> assign -> one call a chunk -> events -> workbench -> ended samples, one by one
//!                             ^                          |  ^
//!                             +-- hedging: stragglers ---+  +-- not_needed (ranking, stopping)
//! ```
//!
//! A [`Drawing`] is a stream: whoever reads it gets each sample when it ends, and may say that
//! the rest is not needed. It ends when every sample has: drawn, too long, out of time, or given
//! up because no worker of the class has been there for a while. Calls are polled by the reader
//! itself, so they run inside the request's span, and dropping the drawing drops them, which frees
//! the workers within a decode step.

mod assign;
mod call;
mod drawing;
mod hedging;
mod patience;
mod waking;
mod workbench;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jury_grm::domain::{Sample, SampleSpec, Settings};
use jury_grm::prompt::Message;
use tokio::time::Instant;

pub use assign::{Assignment, assign};
pub(crate) use call::is_refusal;
pub use drawing::Drawing;
pub use hedging::HedgeBudget;
pub(crate) use waking::{Needs, Wake, Waking};
pub use workbench::{Attempt, CallId, Tally, Waiting, Workbench};

use crate::admission::Drawn;
use crate::fleet::WorkerClass;

/// What to draw.
#[derive(Debug)]
pub struct Job {
    /// Every planned sample, by index.
    pub specs: Vec<SampleSpec>,
    /// The rendered prompt of each order, shared by all calls.
    pub prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
    /// How samples are drawn.
    pub settings: Settings,
    /// Digest of the head that scores each sample; `None`: none does.
    pub head_digest: Option<String>,
    /// Whether samples carry their hidden states.
    pub hidden_states: bool,
    /// Keeps its prompts apart from those of others in the caches of workers.
    pub cache_salt: Option<String>,
    /// Who may draw them.
    pub class: WorkerClass,
    /// For logs.
    pub request_id: String,
    /// When the answer is due.
    pub deadline: Instant,
    /// Times that a sample is drawn anew.
    pub max_reissues: u32,
    /// How long to go on without any worker of the class.
    pub worker_wait: Duration,
    /// What may be drawn a second time, shared by all jobs.
    pub hedge_budget: HedgeBudget,
}

/// What happened next.
#[derive(Debug)]
pub enum Drew {
    /// A planned sample ended, drawn or not. Each comes exactly once, in any order.
    Sample(Sample),
    /// Something moved; [`Drawing::progress`] tells how far it is.
    Progress,
}

/// What is known beside the samples once they are drawn.
#[derive(Debug, Clone, Default)]
pub struct Effort {
    /// Re-issues, hedges and waste.
    pub tally: Tally,
    /// Prompt tokens that workers did not have to prefill.
    pub cached_tokens: u64,
    /// Samples that came to their own end, and how long they took.
    pub drawn: Drawn,
    /// Ids of the workers that delivered samples.
    pub workers: BTreeSet<String>,
}

// === impl Effort ===

impl Effort {
    /// Takes in what another drawing for the same verdict took.
    pub fn add(&mut self, other: Self) {
        let Self { tally, cached_tokens, drawn, workers } = other;
        self.tally.reissued += tally.reissued;
        self.tally.hedged += tally.hedged;
        self.tally.wasted_tokens += tally.wasted_tokens;
        self.cached_tokens += cached_tokens;
        self.drawn.samples += drawn.samples;
        self.drawn.tokens += drawn.tokens;
        self.drawn.time += drawn.time;
        self.drawn.prompted.bytes += drawn.prompted.bytes;
        self.drawn.prompted.tokens += drawn.prompted.tokens;
        self.workers.extend(workers);
    }
}
