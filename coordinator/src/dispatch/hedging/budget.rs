//! How many second attempts all jobs together may make.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Second attempts that quiet times may save up. Without a limit, a day of them would pay for an
/// hour in which every sample is drawn twice.
const MOST_SAVED: u64 = 64;
/// Parts of a second attempt that are counted.
const PARTS: u64 = 1_000_000;

/// A share of the samples planned, to be spent on second attempts. Clones share it.
///
/// However it is used, what was spent is at most the share of what was planned.
#[derive(Debug, Clone)]
pub struct HedgeBudget {
    /// What a planned sample adds, in parts.
    parts_a_sample: u64,
    saved: Arc<AtomicU64>,
}

// === impl HedgeBudget ===

impl HedgeBudget {
    /// `share` second attempts a planned sample, 0 to 1; 0 turns hedging off.
    pub fn new(share: f64) -> Self {
        let parts_a_sample = (share.clamp(0.0, 1.0) * PARTS as f64) as u64;
        Self { parts_a_sample, saved: Arc::default() }
    }

    /// False when nothing will ever be hedged.
    pub fn is_on(&self) -> bool {
        self.parts_a_sample > 0
    }

    /// A job planned so many samples.
    pub fn record_planned(&self, n_samples: u32) {
        let more = u64::from(n_samples) * self.parts_a_sample;
        let saved = |saved: u64| Some(saved.saturating_add(more).min(MOST_SAVED * PARTS));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, saved);
    }

    /// Spends `n` second attempts, or none: a verdict waits for its last sample, so that hedging
    /// a part of the stragglers would bring it no sooner. True when they were spent.
    pub fn spend(&self, n: usize) -> bool {
        let parts = u64::try_from(n).ok().and_then(|n| n.checked_mul(PARTS));
        let less = |saved: u64| saved.checked_sub(parts?);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}
