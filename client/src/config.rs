//! What a client can be told.

use std::time::Duration;

use crate::RetryPolicy;

/// How a client calls.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientConfig {
    /// When a failed call is tried again.
    pub retry: RetryPolicy,
    /// Budget of a request that brings none.
    pub default_budget: Duration,
    /// Time past the budget for which the answer is awaited. The coordinator answers at the
    /// budget; this covers the way there and back.
    pub grace: Duration,
    /// Items of a stream that are sent and not yet answered, at most. Above 0.
    pub stream_window: usize,
    /// Longest wait for the status.
    pub status_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            default_budget: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            stream_window: 64,
            status_timeout: Duration::from_secs(5),
        }
    }
}
