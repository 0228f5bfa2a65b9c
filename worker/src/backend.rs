//! The seam between serving and sampling: who draws a group's samples.
//!
//! ```text
//! service --start(group, GroupEvents)--> Backend        owned data in
//!    ^                                      |
//!    +------------ EventReceiver <----------+           owned data out, bounded
//!    +------------ GroupHandle   ---------->+           cancels; dropping it cancels all
//! ```
//!
//! A backend answers a group with exactly one of `Accepted`, `TooLong`, `TooLarge` and `Busy`, and after `Accepted` with exactly
//! one of `Finished` and `Failed` for each sample: [`GroupEvents`] holds it to that, and answers for a backend that
//! dies. A group's time left reaches the backend as a cancel does. Not promised: any order between samples, and any
//! `Progress` at all. A backend whose role is `meta` draws nothing, and ranks trajectories instead ([`Backend::rank`]).

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

/// Something that draws samples. Its methods never wait.
pub trait Backend: Send + Sync + 'static {
    /// What it serves; constant over its life.
    fn info(&self) -> BackendInfo;

    /// How busy it is now.
    fn load(&self) -> Load;

    /// Begins a group and reports through `events`. The group is wanted until its handle is dropped.
    /// Must be called from within a tokio runtime.
    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle;

    /// Scores trajectories, in their order: one outcome each, by the end of the call's time. Only a backend with the role `meta` can.
    /// Dropping the future ends its work within a step.
    fn rank(&self, _request: RankRequest) -> BoxFuture<'static, Result<Vec<Ranked>, JuryError>> {
        let message = "this backend draws samples and ranks none";
        Box::pin(ready(Err(JuryError::new(ErrorCode::WrongModel, message))))
    }

    /// Whether it accepts work, now and from now on.
    fn availability(&self) -> watch::Receiver<Availability>;
}

/// What a backend serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Whether it draws samples or ranks them.
    pub role: WorkerRole,
    /// The model's name, by which requests ask for it.
    pub model: String,
    /// SHA-256 of the model's file, hex.
    pub model_digest: String,
    /// Version of parser and guide by which it reads samples.
    pub method_version: String,
    /// Class of arithmetic: equal digest and class promise what `reproducible` says.
    pub numerics: String,
    /// Most tokens of prompt and generation together.
    pub context_tokens: u32,
    /// What a repeat of a sample may rely on.
    pub reproducible: Reproducible,
    /// Samples that can be drawn at once, at least 1.
    pub capacity: u32,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Tokens that its KV cache holds; `None`: not known.
    pub room_tokens: Option<u32>,
    /// Numbers of a hidden state; `None`: not known.
    pub state_width: Option<usize>,
    /// Models that it serves beside its own, by the same weights with an adapter; a group asks for one by its digest.
    pub adapters: Vec<AdaptedModel>,
}

/// How busy a backend is, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Being drawn.
    pub running: u32,
    /// Waiting for room.
    pub queued: u32,
    /// Can be drawn at once.
    pub capacity: u32,
    /// Steps that the model has taken since the worker started; 0: not told.
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
