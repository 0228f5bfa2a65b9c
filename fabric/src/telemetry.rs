//! What a running part tells its operator: logs on stderr, figures on `/metrics`.
//!
//! No prompt, response or critique goes into a log or a label from here, nor should one from
//! elsewhere.

mod logs;
mod metrics;

pub use logs::{LogError, LogFormat, init_logs};
pub use metrics::{LATENCY_BUCKETS_SECONDS, serve_metrics};

#[cfg(test)]
pub(crate) use logs::log_layer;
