//! A coordinator's settings, and the only place for their defaults.

use std::sync::Arc;
use std::time::Duration;

use jury_grm::domain::limits;
use jury_grm::prompt::Template;

use crate::observe::Observer;
use crate::tenants::Tenants;

/// A coordinator's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Prompt template of every request.
    pub template: Template,
    /// Budget of a request that sets neither a budget nor a deadline.
    pub default_budget: Duration,
    /// Requests that may wait for admission, per model; further ones are rejected.
    pub queue_limit: usize,
    /// Bytes of the texts of all waiting requests, over all models and tenants; a request that would exceed it is
    /// rejected.
    pub queue_bytes: usize,
    /// Samples admitted at once, as a multiple of what the fleet can draw at once. Above 1, so that a worker always
    /// has its next group at hand.
    pub admitted_per_capacity: f64,
    /// How long a request waits for a first worker before it is answered without rewards.
    pub worker_wait: Duration,
    /// Models that may be scaled to zero: their requests wait for a worker within their budgets.
    pub awaited_models: Vec<String>,
    /// How often a sample is retried after its worker was lost.
    pub max_reissues: u32,
    /// Second attempts at stragglers, as a share of all planned samples, 0 to 1; 0 turns them off.
    pub hedge_budget: f64,
    /// Verdicts cached for repeated request ids.
    pub idempotency_entries: usize,
    /// Total bytes of the cached verdicts, as sent; the oldest are evicted first.
    pub idempotency_bytes: usize,
    /// How long they are cached.
    pub idempotency_ttl: Duration,
    /// Most items judged at once per stream.
    pub stream_concurrency: usize,
    /// Observes requests while they are judged.
    pub observer: Option<Arc<dyn Observer>>,
    /// Who may call.
    pub tenants: Tenants,
}

/// Why a configuration is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// Name of the setting.
    pub field: &'static str,
    /// What is wrong, with the limit.
    pub problem: String,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            template: Template::builtin(),
            default_budget: Duration::from_secs(60),
            queue_limit: 1024,
            queue_bytes: 256 << 20,
            admitted_per_capacity: 2.0,
            worker_wait: Duration::from_secs(5),
            awaited_models: Vec::new(),
            max_reissues: 3,
            hedge_budget: 0.05,
            idempotency_entries: 4096,
            idempotency_bytes: 64 << 20,
            idempotency_ttl: Duration::from_secs(15 * 60),
            stream_concurrency: jury_proto::MOST_IN_FLIGHT,
            observer: None,
            tenants: Tenants::open(),
        }
    }
}

impl Config {
    /// The default budget when the workers run on this machine's CPU.
    pub const EMBEDDED_BUDGET: Duration = Duration::from_secs(5 * 60);

    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot work, with its limit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, problem: &str| Err(ConfigError { field, problem: problem.to_owned() });
        if self.default_budget.is_zero() {
            return refuse("default_budget", "must be above 0");
        }
        if self.queue_limit == 0 {
            return refuse("queue_limit", "must be at least 1");
        }
        if self.queue_bytes < limits::MAX_ITEM_BYTES {
            let least = limits::MAX_ITEM_BYTES;
            let problem = format!("must be at least {least}, the largest item that is allowed");
            return refuse("queue_bytes", &problem);
        }
        if self.admitted_per_capacity.is_nan() || self.admitted_per_capacity < 1.0 {
            return refuse("admitted_per_capacity", "must be at least 1");
        }
        if !(0.0..=1.0).contains(&self.hedge_budget) {
            return refuse("hedge_budget", "must be from 0 (off) to 1");
        }
        if self.stream_concurrency == 0 {
            return refuse("stream_concurrency", "must be at least 1");
        }
        Ok(())
    }
}
