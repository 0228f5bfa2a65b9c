//! What a running process reports to its operator: logs on stderr, metrics on `/metrics`, spans to a collector.
//!
//! This module puts no prompt, response or critique into a log, a label or an attribute, and no other code should.

mod lines;
mod logs;
mod losses;
mod metrics;
mod otlp;
mod start;

pub use logs::LogFormat;
pub use losses::register_losses;
pub use metrics::{LATENCY_BUCKETS_SECONDS, serve_metrics};
pub use otlp::Collector;
pub use start::{LogConfig, Telemetry, TelemetryError, start};

#[cfg(test)]
pub(crate) use logs::log_layer;
#[cfg(test)]
pub(crate) use otlp::trace_layer;
