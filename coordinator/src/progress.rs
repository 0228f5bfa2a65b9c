//! How far requests are, for people who watch. Lossy: a slow watcher misses steps, never blocks.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

/// Steps that a watcher may lag behind before it misses some.
const BACKLOG: usize = 256;
/// Steps of one request that follow each other faster than a person reads are left out.
const INTERVAL: Duration = Duration::from_millis(50);

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

/// Tells how far one request is, as often as is worth it: telling takes a lock that all requests
/// share.
#[derive(Debug)]
pub struct Teller<'a> {
    reporter: &'a Reporter,
    request_id: &'a str,
    item_id: &'a str,
    samples_asked: u32,
    /// What was told last, and when.
    last: Option<(Phase, Instant)>,
}

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

// === impl Teller ===

impl<'a> Teller<'a> {
    /// For a request of `samples_asked` samples that nothing was told of yet.
    pub fn new(
        reporter: &'a Reporter,
        (request_id, item_id): (&'a str, &'a str),
        samples_asked: u32,
    ) -> Self {
        Self { reporter, request_id, item_id, samples_asked, last: None }
    }

    /// Tells a step; left out when the last one of the same phase was told just now.
    pub fn tell(&mut self, phase: Phase, samples_done: u32, tokens: u64) {
        let now = Instant::now();
        if self.last.is_some_and(|(last, at)| last == phase && now < at + INTERVAL) {
            return;
        }
        self.last = Some((phase, now));
        self.reporter.tell(Progress {
            request_id: self.request_id.to_owned(),
            item_id: self.item_id.to_owned(),
            phase,
            samples_done,
            samples_asked: self.samples_asked,
            tokens,
        });
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}
