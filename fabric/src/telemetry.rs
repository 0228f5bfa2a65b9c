//! What a running part tells its operator: logs on stderr, figures on `/metrics`, spans to a collector.
//!
//! No prompt, response or critique goes into a log, a label or an attribute from here, nor should one from
//! elsewhere.

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
