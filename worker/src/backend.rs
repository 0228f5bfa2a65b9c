//! The boundary between serving and sampling: a backend draws the samples of a group.
//!
//! ```text
//! service --start(group, GroupEvents)--> Backend        owned data in
//!    ^                                      |
//!    +------------ EventReceiver <----------+           owned data out, bounded
//!    +------------ GroupHandle   ---------->+           cancels; dropping it cancels all
//! ```
//!
//! A backend answers a group with exactly one of `Accepted`, `TooLong`, `TooLarge` and `Busy`, and after `Accepted`
//! with exactly one of `Finished` and `Failed` for each sample. [`GroupEvents`] enforces this, and answers for a
//! backend that dies. The end of a group's time reaches the backend as a cancel does. Not promised: any order between
//! samples, and any `Progress` at all. A backend whose role is `meta` draws nothing, and ranks trajectories instead
//! ([`Backend::rank`]).

pub(crate) mod availability;
pub mod cancel;
pub mod engine;
pub mod events;
pub mod meta;
mod model_thread;
mod occupancy;
pub mod openai;
pub mod scripted;

use futures::future::{BoxFuture, ready};
use jury_grm::domain::Reproducible;
use jury_proto::convert::{
    AdaptedModel, Capabilities, RankRequest, Ranked, SampleGroup, WorkerRole,
};
use jury_proto::{ErrorCode, JuryError};
use tokio::sync::watch;

pub use availability::Availability;
pub use cancel::{CancelRequests, Cancelled, GroupHandle};
pub use events::{BackendEvent, EventReceiver, GroupEvents};

/// Draws samples. None of its methods block.
pub trait Backend: Send + Sync + 'static {
    /// What the backend serves; constant over its lifetime.
    fn info(&self) -> BackendInfo;

    /// The backend's current load.
    fn load(&self) -> Load;

    /// Starts a group and reports through `events`. The group is wanted until its handle is dropped. Must be called
    /// from within a tokio runtime.
    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle;

    /// Scores trajectories: one outcome each, in their order, by the end of the call's time. Only a backend with the
    /// role `meta` can. Dropping the future ends its work within one step.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::WrongModel`] if the backend draws samples; another code if it cannot answer the call as a whole. A
    /// trajectory that cannot be scored is an outcome, not an error.
    fn rank(&self, _request: RankRequest) -> BoxFuture<'static, Result<Vec<Ranked>, JuryError>> {
        let message = "this backend draws samples and ranks none";
        Box::pin(ready(Err(JuryError::new(ErrorCode::WrongModel, message))))
    }

    /// Whether the backend accepts work: the current state and all changes.
    fn availability(&self) -> watch::Receiver<Availability>;
}

/// What a backend serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Whether it draws samples or ranks them.
    pub role: WorkerRole,
    /// The model's name, as used in requests.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Version of parser and guide with which it reads samples.
    pub method_version: String,
    /// Class of arithmetic: equal digest and class guarantee what `reproducible` says.
    pub numerics: String,
    /// Maximum tokens of prompt and generation together.
    pub context_tokens: u32,
    /// What a repeat of a sample may rely on.
    pub reproducible: Reproducible,
    /// Samples that can be drawn at once, at least 1.
    pub capacity: u32,
    /// What the backend is able to do.
    pub capabilities: Capabilities,
    /// Tokens that its KV cache holds; `None`: unknown.
    pub room_tokens: Option<u32>,
    /// Length of a hidden state; `None`: unknown.
    pub state_width: Option<usize>,
    /// Models that it serves in addition to its own: the same weights with an adapter. A group selects one by its
    /// digest.
    pub adapters: Vec<AdaptedModel>,
}

/// A backend's load, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Samples being drawn.
    pub running: u32,
    /// Samples waiting for room.
    pub queued: u32,
    /// Samples that can be drawn at once.
    pub capacity: u32,
    /// Steps that the model has taken since the worker started; 0: not reported.
    pub steps: u64,
}

// === impl Load ===

impl From<Load> for jury_proto::v1::Load {
    fn from(load: Load) -> Self {
        Self {
            running: load.running,
            queued: load.queued,
            capacity: load.capacity,
            steps: load.steps,
        }
    }
}
