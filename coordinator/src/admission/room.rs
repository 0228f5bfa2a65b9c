//! Room for the texts of requests that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a request takes beside its text, at the most: ids, settings, and its task. Without it
/// any number of tiny requests could wait.
pub const BYTES_A_REQUEST: usize = 4 << 10;

/// A number of bytes, and how many of them are taken. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// Room that is taken; given back on drop.
#[derive(Debug)]
pub struct Held {
    n_bytes: usize,
    taken: Arc<AtomicUsize>,
}

// === impl Room ===

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// Takes room for a request with `n_bytes` of text; `None` when there is not enough.
    pub fn take(&self, n_bytes: usize) -> Option<Held> {
        let n_bytes = n_bytes.saturating_add(BYTES_A_REQUEST);
        let with_more = |taken: usize| taken.checked_add(n_bytes).filter(|sum| *sum <= self.limit);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_more);
        taken.is_ok().then(|| Held { n_bytes, taken: Arc::clone(&self.taken) })
    }

    /// Bytes taken now.
    pub fn n_taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes that may be taken.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}
