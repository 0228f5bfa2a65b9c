//! Draws the planned samples on the fleet: the driver around [`Workbench`] and [`assign`].
//!
//! ```text
//! waiting -> assign -> one call a chunk -> events -> workbench -> ended samples, one by one
//!                             ^                          |  ^
//!                             +-- hedging: stragglers ---+  +-- not_needed (ranking, stopping)
//! ```
//!
//! A [`Drawing`] is a stream: its reader gets each sample when it ends, and may declare the rest not needed. It ends
//! when every sample has: drawn, too long, out of time, or given up because the class has had no worker for a while.
//! The reader itself polls the calls, so they run inside the request's span, and dropping the drawing drops them,
//! which frees the workers within a decode step.

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
use crate::progress::Spent;

/// A drawing job: the planned samples and how to draw them.
#[derive(Debug)]
pub struct Job {
    /// Every planned sample, by index.
    pub specs: Vec<SampleSpec>,
    /// The rendered prompt of each order, shared by all calls.
    pub prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
    /// How samples are drawn.
    pub settings: Settings,
    /// Digest of the head that scores each sample; `None` if no head does.
    pub head_digest: Option<String>,
    /// Whether samples carry their hidden states.
    pub hidden_states: bool,
    /// Separates its prompts from those of other tenants in the workers' caches.
    pub cache_salt: Option<String>,
    /// The workers that may draw them.
    pub class: WorkerClass,
    /// For logs.
    pub request_id: String,
    /// When the answer is due.
    pub deadline: Instant,
    /// How often a sample may be reissued.
    pub max_reissues: u32,
    /// How long to continue without any worker of the class.
    pub worker_wait: Duration,
    /// The budget for second attempts, shared by all jobs.
    pub hedge_budget: HedgeBudget,
}

/// What happened next.
#[derive(Debug)]
pub enum Drew {
    /// A planned sample ended, drawn or not. Each comes exactly once, in any order.
    Sample(Sample),
    /// Something moved; [`Drawing::progress`] has the details.
    Progress,
}

/// What is known about a drawing besides its samples.
#[derive(Debug, Clone, Default)]
pub struct Effort {
    /// Re-issues, hedges and waste.
    pub tally: Tally,
    /// Prompt tokens that workers took from their caches instead of prefilling them.
    pub cached_tokens: u64,
    /// Samples that ran to their own end, and how long they took.
    pub drawn: Drawn,
    /// Ids of the workers that delivered samples.
    pub workers: BTreeSet<String>,
}

// === impl Effort ===

impl Effort {
    /// The prompts, and the tokens already known to be waste.
    pub(crate) fn spent(&self) -> Spent {
        Spent {
            prompt_tokens: self.drawn.prompted.tokens,
            generated_tokens: self.tally.wasted_tokens,
        }
    }

    /// Adds the effort of another drawing for the same verdict.
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
