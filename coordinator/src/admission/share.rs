//! A tenant's share of the service, as admission needs it.

use std::sync::Arc;

/// Name of the only tenant of a coordinator without a file of tenants.
pub const DEFAULT_TENANT: &str = "default";

/// The tenant a request is judged for, and what it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// Waiting tenants get tokens in proportion to their weights; at least 1.
    pub weight: u32,
    /// Part of the queue, and of the room for waiting texts, that the tenant may take; above 0, at most 1.
    pub queue_share: f64,
}

// === impl Share ===

impl Share {
    /// The tenant's part of `whole`, at least one.
    pub fn of(&self, whole: usize) -> usize {
        ((whole as f64 * self.queue_share) as usize).clamp(1, whole.max(1))
    }

    /// Whether the tenant may take everything.
    pub fn is_all(&self) -> bool {
        self.queue_share >= 1.0
    }
}

impl Default for Share {
    /// Everything, for the default tenant.
    fn default() -> Self {
        Self { tenant: DEFAULT_TENANT.into(), weight: 1, queue_share: 1.0 }
    }
}
