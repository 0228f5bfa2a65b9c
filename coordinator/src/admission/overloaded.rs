//! The error for a rejected request: what is full, which option sets the limit, and when to retry.

use std::time::Duration;

use super::forecast::Forecast;
use super::room::NoRoom;

/// A full queue drains by about one request in this time; clients add their own jitter to it, which spreads their
/// retries.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Longer waits are not known well enough to be reported.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Too much waits already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Overloaded {
    /// What is full, with its limit.
    pub problem: String,
    /// Time after which to try again.
    pub retry_after: Duration,
}

// === impl Overloaded ===

impl Overloaded {
    /// The waiting texts leave no room for `n_bytes` more of `tenant`.
    pub(super) fn room(no_room: NoRoom, tenant: &str, n_bytes: usize) -> Self {
        let NoRoom { n_taken, limit, of_tenant } = no_room;
        let (whose, option) = match of_tenant {
            true => (format!("requests of tenant {tenant:?}"), "queue_share of --queue-mib"),
            false => ("requests".to_owned(), "--queue-mib"),
        };
        let problem = format!(
            "the texts of waiting {whose} take {n_taken} of {limit} bytes ({option}), no room for {n_bytes} more"
        );
        Self { problem, retry_after: RETRY_AFTER }
    }

    /// The queue of `model` is full: `waiting` requests wait, of `tenant` if given, otherwise of all tenants.
    pub(super) fn queue(waiting: usize, tenant: Option<&str>, model: &str) -> Self {
        let (whose, option) = match tenant {
            Some(tenant) => (format!(" of tenant {tenant:?}"), "queue_share of --queue-limit"),
            None => (String::new(), "--queue-limit"),
        };
        let problem = format!(
            "{waiting} requests{whose} for model {model:?} are waiting, which is the limit ({option})"
        );
        Self { problem, retry_after: RETRY_AFTER }
    }

    /// Too many samples wait for a request with this budget.
    pub(crate) fn crowded(forecast: Forecast, budget: Duration) -> Self {
        let Forecast { wait, draw } = forecast;
        let problem = format!(
            "an answer is expected in {} ms, {} ms of them behind other requests; the budget is {} ms",
            (wait + draw).as_millis(),
            wait.as_millis(),
            budget.as_millis()
        );
        Self { problem, retry_after: wait.clamp(RETRY_AFTER, LONGEST_RETRY_AFTER) }
    }
}
