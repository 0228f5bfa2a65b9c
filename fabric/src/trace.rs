//! One trace id from the trainer to the sample: W3C `traceparent`, in and out.
//!
//! ```text
//! request metadata ── server_span() ──> span with trace_id, span_id ── logs
//!                                         │ (current wherever the work is `.instrument`ed)
//!                                         └── outgoing() ──> metadata of the next call
//! ```
//!
//! The context lives in the span, so it crosses tasks exactly where the span does. That takes the
//! subscriber of [`crate::telemetry::init_logs`] (or any other with a `Registry` at its root);
//! without one every call starts a trace of its own. A malformed header is ignored, as the
//! standard asks.
//!
//! Not carried: `tracestate`, baggage.

mod context;

use tonic::Request;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

pub use context::TraceContext;

const HEADER: &str = "traceparent";
/// The target of spans that carry a context; the log filter never drops them.
pub(crate) const SPAN_TARGET: &str = "jury_fabric::trace";

/// Puts the current span's context into every call of a client:
/// `XClient::with_interceptor(channel, trace::Propagate)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Propagate;

/// The span of a call that came in: a child of the caller's, or the root of a new trace.
///
/// `rpc` is the call's name in logs. The span has the fields `rpc`, `trace_id` and `span_id`, and
/// `request_id` and `item_id`, empty, to `record` later.
pub fn server_span(rpc: &'static str, metadata: &MetadataMap) -> Span {
    let context = match extract(metadata) {
        Some(callers) => callers.child(),
        None => TraceContext::new_root(),
    };
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        "call",
        rpc,
        trace_id = %context.trace_id_hex(),
        span_id = %context.span_id_hex(),
        request_id = tracing::field::Empty,
        item_id = tracing::field::Empty,
    );
    attach(&span, context);
    span
}

/// A request that carries the current span's context, or starts a trace.
pub fn outgoing<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    inject(&current_or_root(), request.metadata_mut());
    request
}

/// The context of the current span or the nearest one around it that has one.
pub fn current() -> Option<TraceContext> {
    Span::current()
        .with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>()?;
            let scope = registry.span(id)?.scope();
            scope.into_iter().find_map(|span| span.extensions().get::<TraceContext>().copied())
        })
        .flatten()
}

/// The context that a call brings; `None` when it brings none, or a malformed one.
pub fn extract(metadata: &MetadataMap) -> Option<TraceContext> {
    TraceContext::parse(metadata.get(HEADER)?.to_str().ok()?)
}

/// Writes `context` into a call's metadata, in place of any other.
pub fn inject(context: &TraceContext, metadata: &mut MetadataMap) {
    let value = context.to_header().parse().expect("hex digits and dashes are a header value");
    metadata.insert(HEADER, value);
}

// === impl Propagate ===

impl Interceptor for Propagate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if request.metadata().get(HEADER).is_none() {
            inject(&current_or_root(), request.metadata_mut());
        }
        Ok(request)
    }
}

// === private ===

fn current_or_root() -> TraceContext {
    current().unwrap_or_else(TraceContext::new_root)
}

fn attach(span: &Span, context: TraceContext) {
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        registry.span(id)?.extensions_mut().insert(context);
        Some(())
    });
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn metadata_with(header: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(HEADER, header.parse().unwrap());
        metadata
    }

    fn with_logs<T>(filter: &str, body: impl FnOnce() -> T) -> T {
        let logs = crate::telemetry::log_layer(
            crate::telemetry::LogFormat::Json,
            filter.parse().unwrap(),
            std::io::sink,
        );
        let subscriber = tracing_subscriber::registry().with(logs);
        tracing::subscriber::with_default(subscriber, body)
    }

    #[test]
    fn a_call_made_inside_a_call_belongs_to_the_same_trace() {
        with_logs("info", || {
            let sent = server_span("score", &metadata_with(PARENT))
                .in_scope(|| tracing::info_span!("inner").in_scope(|| outgoing(())));
            let context = extract(sent.metadata()).unwrap();
            assert_eq!(context.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(context.span_id_hex(), "00f067aa0ba902b7", "our own span is the parent");
        });
    }

    #[test]
    fn the_trace_goes_on_when_the_logs_are_filtered_down_to_errors() {
        with_logs("error", || {
            let sent = server_span("score", &metadata_with(PARENT)).in_scope(|| outgoing(()));
            let context = extract(sent.metadata()).unwrap();
            assert_eq!(context.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        });
    }

    #[test]
    fn an_absent_or_malformed_header_starts_a_trace() {
        with_logs("info", || {
            for metadata in [MetadataMap::new(), metadata_with("00-nonsense")] {
                let sent = server_span("score", &metadata).in_scope(|| outgoing(()));
                assert!(extract(sent.metadata()).is_some());
            }
        });
    }

    #[test]
    fn the_interceptor_leaves_a_header_that_is_already_there() {
        let mut request = Request::new(());
        *request.metadata_mut() = metadata_with(PARENT);
        let sent = Propagate.call(request).unwrap();
        assert_eq!(extract(sent.metadata()), TraceContext::parse(PARENT));
    }
}
