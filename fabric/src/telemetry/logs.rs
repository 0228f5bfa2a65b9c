//! Structured logs on stderr: stdout belongs to results.

use std::io;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Why logs cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
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
    /// Logs were started before.
    #[error("logs were started before")]
    Started,
}

/// Starts the logs of this process, once. `filter` is a level, or levels by module:
/// `warn,jury_coordinator=debug`.
///
/// # Errors
/// [`LogError`] when the filter is malformed or logs were started before.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let parsed: EnvFilter = EnvFilter::builder().parse(filter).map_err(|problem| {
        LogError::Filter { filter: filter.to_owned(), problem: problem.to_string() }
    })?;
    tracing_subscriber::registry()
        .with(log_layer(format, parsed, io::stderr))
        .try_init()
        .map_err(|_| LogError::Started)
}

/// The log lines that `filter` lets through, and underneath them the spans that carry trace
/// contexts, which exist whatever is logged.
pub(crate) fn log_layer<S, W>(
    format: LogFormat,
    filter: EnvFilter,
    writer: W,
) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let trace_spans =
        filter_fn(|metadata| metadata.is_span() && metadata.target() == crate::trace::SPAN_TARGET)
            .with_max_level_hint(LevelFilter::INFO);
    // A span that fails the line filter is still written as context of lines that pass it:
    // the trace id belongs on every line.
    lines.with_filter(filter.or(trace_spans))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::trace;

    /// Everything that was logged.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, body: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = log_layer(format, filter.parse().unwrap(), move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), body);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_of_a_call_carries_its_trace_id_whatever_the_filter() {
        let mut metadata = MetadataMap::new();
        let context = trace::TraceContext::new_root();
        trace::inject(&context, &mut metadata);
        for format in [LogFormat::Text, LogFormat::Json] {
            for filter in ["info", "warn"] {
                let lines = logged(format, filter, || {
                    trace::server_span("score", &metadata).in_scope(|| {
                        tracing::info_span!("inner").in_scope(|| tracing::warn!("it happened"));
                    });
                });
                assert_eq!(lines.lines().count(), 1, "{lines}");
                assert!(lines.contains(&context.trace_id_hex()), "{format:?} {filter}: {lines}");
            }
        }
    }

    #[test]
    fn a_json_line_is_one_json_object() {
        let line = logged(LogFormat::Json, "info", || tracing::info!(n = 3, "it happened"));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["message"], &value["n"]), (&"it happened".into(), &3.into()));
    }

    #[test]
    fn a_malformed_filter_is_named() {
        let error = init_logs(LogFormat::Text, "jury=loud").unwrap_err();
        assert!(error.to_string().contains("jury=loud"), "{error}");
    }
}
