//! Logs and spans of a process, from its first line to its last.

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::lines::Lines;
use super::logs::{LogFormat, log_layer};
use super::otlp::{Collector, Spans, trace_layer};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of a line.
    pub format: LogFormat,
    /// A level, or levels by module: `warn,jury_coordinator=debug`.
    pub filter: String,
}

/// Why logs and spans cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error(
        "log filter {filter:?} is malformed: {problem}; \
         write a level (info) or levels by module (warn,jury_coordinator=debug)"
    )]
    Filter {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// They were started before.
    #[error("logs were started before")]
    Started,
}

/// Logs and spans while they run; [`Telemetry::finish`] flushes them.
#[must_use]
#[derive(Debug)]
pub struct Telemetry {
    spans: Spans,
    lines: Lines,
}

/// Starts the logs of this process and, with a `collector`, the export of its spans. May be called once. Must be
/// called inside a tokio runtime that lives until [`Telemetry::finish`].
///
/// # Errors
/// [`TelemetryError`] if the filter is malformed or telemetry was already started.
pub fn start(logs: LogConfig, collector: Option<Collector>) -> Result<Telemetry, TelemetryError> {
    let LogConfig { format, filter } = logs;
    let parsed = EnvFilter::builder().parse(&filter);
    let parsed = parsed
        .map_err(|problem| TelemetryError::Filter { filter, problem: problem.to_string() })?;
    let exports = collector.is_some();
    let (spans, lines) = (Spans::start(collector), Lines::to_stderr());
    tracing_subscriber::registry()
        .with(trace_layer(spans.provider(), exports))
        .with(log_layer(format, parsed, lines.writer()))
        .try_init()
        .map_err(|_| TelemetryError::Started)?;
    Ok(Telemetry { spans, lines })
}

// === impl Telemetry ===

impl Telemetry {
    /// Sends the spans that have ended and writes the queued log lines. Blocks for up to 2 seconds on the collector
    /// and up to 1 on the reader of stderr. The runtime must still be running, and this must not be called from one
    /// of its threads.
    pub fn finish(self) {
        self.spans.finish();
        self.lines.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_filter_is_named() {
        let config = LogConfig { format: LogFormat::Text, filter: "jury=loud".to_owned() };
        let error = start(config, None).unwrap_err();
        assert!(error.to_string().contains("jury=loud"), "{error}");
    }
}
