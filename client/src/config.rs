//! What a client can be told.

use std::time::Duration;

use crate::{RetryPolicy, Token};

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
    /// How many items of a stream are sent and not yet answered.
    pub in_flight: InFlight,
    /// Longest wait for the status.
    pub status_timeout: Duration,
    /// Shown with every call. Whoever sets it checks the way ([`Token::check_way`]).
    pub token: Option<Token>,
}

/// How many items of a stream are sent and not yet answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// As many as the fleet draws without any of them spending its budget behind others: follows what the coordinator
    /// tells of its fleet, and the answers. An item that ran out of its budget beside others is sent once more.
    Adaptive {
        /// Never more than this.
        most: usize,
    },
    /// This many, whatever becomes of their budgets; at most [`jury_proto::MOST_IN_FLIGHT`].
    Fixed(usize),
}

impl Default for InFlight {
    /// At most 256, also where a fleet draws more at once.
    fn default() -> Self {
        Self::Adaptive { most: 256 }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            default_budget: Duration::from_secs(60),
            grace: Duration::from_secs(5),
            in_flight: InFlight::default(),
            status_timeout: Duration::from_secs(5),
            token: None,
        }
    }
}
