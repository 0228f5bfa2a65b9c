//! How far requests are, for people who watch. Lossy: a slow watcher misses steps, never blocks.

use tokio::sync::broadcast;

/// Steps that a watcher may lag behind before it misses some.
const BACKLOG: usize = 256;

/// How far one request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The request's id.
    pub request_id: String,
    /// The item's id.
    pub item_id: String,
    /// What is going on.
    pub phase: Phase,
    /// Samples that came to their end.
    pub samples_done: u32,
    /// Samples planned.
    pub samples_asked: u32,
    /// Tokens generated so far.
    pub tokens: u64,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for admission or for a worker.
    Waiting,
    /// A worker reads the prompt.
    Prefill,
    /// Samples are being drawn.
    Sampling,
    /// The verdict is there.
    Answered,
}

/// Sends progress to whoever watches.
#[derive(Debug, Clone)]
pub struct Reporter(broadcast::Sender<Progress>);

// === impl Reporter ===

impl Reporter {
    /// A reporter that nobody watches yet.
    pub fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Progress> {
        self.0.subscribe()
    }

    /// Tells a step; nobody listening is fine.
    pub fn tell(&self, progress: Progress) {
        drop(self.0.send(progress));
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}
