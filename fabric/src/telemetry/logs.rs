//! Structured logs on stderr: stdout belongs to results.

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::trace;

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// The log lines that `filter` lets through.
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
    // A span that fails the filter for lines is still written as context of lines that pass it: every line should
    // have the trace id.
    let of_calls =
        filter_fn(|metadata| metadata.is_span() && metadata.target() == trace::LOG_TARGET)
            .with_max_level_hint(LevelFilter::INFO);
    let is_traced = filter_fn(trace::is_traced);
    lines.with_filter(filter.or(of_calls).and(is_traced.not()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tonic::metadata::MetadataMap;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::otlp::trace_layer;

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
        let spans = trace_layer(&SdkTracerProvider::default(), true);
        let subscriber = tracing_subscriber::registry().with(spans).with(layer);
        tracing::subscriber::with_default(subscriber, body);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_of_a_call_carries_its_trace_id_whatever_the_filter() {
        let mut metadata = MetadataMap::new();
        let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let header = format!("00-{trace_id}-00f067aa0ba902b7-01");
        metadata.insert("traceparent", header.parse().unwrap());
        for format in [LogFormat::Text, LogFormat::Json] {
            for filter in ["info", "warn", "trace"] {
                let lines = logged(format, filter, || {
                    trace::server_span("p.S/Score", &metadata).in_scope(|| {
                        tracing::info_span!("inner").in_scope(|| tracing::warn!("it happened"));
                    });
                });
                assert_eq!(lines.lines().count(), 1, "{lines}");
                assert!(lines.contains(trace_id), "{format:?} {filter}: {lines}");
                assert!(!lines.contains("otel."), "{format:?} {filter}: {lines}");
            }
        }
    }

    #[test]
    fn a_json_line_is_one_json_object() {
        let line = logged(LogFormat::Json, "info", || tracing::info!(n = 3, "it happened"));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["message"], &value["n"]), (&"it happened".into(), &3.into()));
    }
}
