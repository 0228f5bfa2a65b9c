//! A limit on the second attempts of all jobs together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Second attempts that quiet times may save up. Without a limit, a quiet day would pay for an hour in which every
/// sample is drawn twice.
const MOST_SAVED: u64 = 64;
/// Units in which a second attempt is counted.
const PARTS: u64 = 1_000_000;

/// A share of the planned samples, to be spent on second attempts. Clones share it.
///
/// However it is used, the number spent never exceeds that share of the number planned.
#[derive(Debug, Clone)]
pub struct HedgeBudget {
    /// Units that a planned sample adds.
    parts_a_sample: u64,
    saved: Arc<AtomicU64>,
}

// === impl HedgeBudget ===

impl HedgeBudget {
    /// `share` second attempts per planned sample, 0 to 1; 0 turns hedging off.
    pub fn new(share: f64) -> Self {
        let parts_a_sample = (share.clamp(0.0, 1.0) * PARTS as f64) as u64;
        Self { parts_a_sample, saved: Arc::default() }
    }

    /// False when nothing will ever be hedged.
    pub fn is_on(&self) -> bool {
        self.parts_a_sample > 0
    }

    /// Records that a job planned `n_samples`.
    pub fn record_planned(&self, n_samples: u32) {
        let more = u64::from(n_samples) * self.parts_a_sample;
        let saved = |saved: u64| Some(saved.saturating_add(more).min(MOST_SAVED * PARTS));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, saved);
    }

    /// Spends `n` second attempts, or none: a verdict waits for its last sample, so hedging only some of the
    /// stragglers would not bring it sooner. Returns true if they were spent.
    pub fn spend(&self, n: usize) -> bool {
        let parts = u64::try_from(n).ok().and_then(|n| n.checked_mul(PARTS));
        let less = |saved: u64| saved.checked_sub(parts?);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}
