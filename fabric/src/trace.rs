//! One trace from the trainer to the sample: W3C `traceparent` and `tracestate`, in and out.
//!
//! ```text
//! request metadata ── server_span() ──> log span, child of a traced span ── trace_id on every log line
//!                                         │ (current wherever the work is `.instrument`ed)
//!                                         └── outgoing() ──> metadata of the next call
//! ```
//!
//! A *traced* span is OpenTelemetry's: it has a context and is exported. The span written beside a log line is a
//! separate one, so that neither carries the other's fields. Spans of incoming calls always exist, because the trace
//! has to be propagated; all others exist only while they are exported.
//!
//! All of this requires the subscriber of [`crate::telemetry::start`], or another one with a `Registry` at its root
//! and the layer of `tracing-opentelemetry`. Without it nothing is sent, and the server starts the trace. A malformed
//! header is ignored, as the standard requires. Baggage is not propagated.

mod metadata;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tonic::Request;
use tonic::metadata::MetadataMap;
use tracing::field::Empty;
use tracing::{Metadata, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};
use tracing_subscriber::Registry;

/// The target of traced spans that always exist: they propagate the trace.
const CALL_TARGET: &str = "jury_fabric::trace::call";
/// The target of traced spans that exist only while they are exported.
const DETAIL_TARGET: &str = "jury_fabric::trace::detail";
/// The target of spans that are written beside log lines; the log filter never drops them.
pub(crate) const LOG_TARGET: &str = "jury_fabric::trace";

/// True for a traced span.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (is_of_call(metadata) || metadata.target() == DETAIL_TARGET)
}

/// True for a traced span that always exists.
pub(crate) fn is_of_call(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == CALL_TARGET
}

/// A position in a trace, for work that continues elsewhere: on another thread, or after the call's span was left.
#[derive(Debug, Clone, Default)]
pub struct Place(Context);

/// The span of an incoming call: a child of the caller's span, or the root of a new trace.
///
/// `rpc` is the call's full name, `package.Service/Method`. The span has the fields `rpc` (the method), `trace_id`
/// and `span_id`, and `request_id`, empty, to `record` later.
pub fn server_span(rpc: &'static str, metadata: &MetadataMap) -> Span {
    let traced = tracing::info_span!(
        target: CALL_TARGET,
        parent: None,
        "call",
        otel.name = rpc,
        otel.kind = "server",
        rpc.system = "grpc",
    );
    placed_span(&traced, rpc.rsplit('/').next().unwrap_or(rpc), metadata)
}

/// Same, for a call over plain HTTP; `route` is its method and path.
pub fn http_span(route: &'static str, headers: &http::HeaderMap) -> Span {
    let traced = tracing::info_span!(
        target: CALL_TARGET,
        parent: None,
        "call",
        otel.name = route,
        otel.kind = "server",
        http.route = route.rsplit(' ').next(),
    );
    placed_span(&traced, route, &MetadataMap::from_headers(headers.clone()))
}

/// The span of an outgoing call, for [`Place::of`]; it lasts until it is dropped. It is never entered, so it does not
/// appear on log lines.
pub fn client_span(rpc: &'static str) -> Span {
    let traced = tracing::info_span!(
        target: DETAIL_TARGET,
        "call",
        otel.name = rpc,
        otel.kind = "client",
        rpc.system = "grpc",
        worker_id = Empty,
        samples = Empty,
    );
    place(&traced, current());
    traced
}

/// The span of one request, of which a call may bring several.
pub fn request_span(request_id: &str, item_id: &str) -> Span {
    let traced = tracing::info_span!(target: DETAIL_TARGET, "request", request_id, item_id);
    if traced.is_disabled() {
        return tracing::info_span!(target: LOG_TARGET, "request", request_id, item_id);
    }
    place(&traced, current());
    tracing::info_span!(target: LOG_TARGET, parent: &traced, "request", request_id, item_id)
}

/// A request that carries the current span's trace context, if there is one.
pub fn outgoing<T>(message: T) -> Request<T> {
    Place(current()).outgoing(message)
}

// === impl Place ===

impl Place {
    /// The place of the current span, or of the nearest traced span around it.
    pub fn current() -> Self {
        Self(current())
    }

    /// The place of `span`; if that is not traced, the current span's.
    pub fn of(span: &Span) -> Self {
        let context = span.context();
        if context.span().span_context().is_valid() { Self(context) } else { Self::current() }
    }

    /// A request that carries this place's trace context, if there is one.
    pub fn outgoing<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        metadata::inject(&self.0, request.metadata_mut());
        request
    }

    /// The span of one sample, from here until it is dropped; `tokens` and `outcome` are to be recorded.
    pub fn sample_span(&self, index: u32) -> Span {
        let traced = tracing::info_span!(
            target: DETAIL_TARGET,
            parent: None,
            "sample",
            index = i64::from(index), // unsigned numbers would be exported as text
            tokens = Empty,
            outcome = Empty,
            otel.status_code = Empty,
        );
        place(&traced, self.0.clone());
        traced
    }
}

// === private ===

/// Creates the span for the log lines of a call whose traced span was just made, and sets the traced span's context.
fn placed_span(traced: &Span, rpc: &'static str, metadata: &MetadataMap) -> Span {
    place(traced, extract(metadata));
    let context = traced.context();
    let ids = Some(context.span().span_context().clone()).filter(SpanContext::is_valid);
    tracing::info_span!(
        target: LOG_TARGET,
        parent: traced,
        "call",
        rpc,
        trace_id = ids.as_ref().map(|ids| display(ids.trace_id())),
        span_id = ids.as_ref().map(|ids| display(ids.span_id())),
        request_id = Empty,
    )
}

/// The context of an incoming call; empty if it has none or a malformed one.
fn extract(metadata: &MetadataMap) -> Context {
    metadata::extract(metadata)
}

fn current() -> Context {
    let found = Span::current().with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let span = tracing_subscriber::registry::LookupSpan::span(registry, id)?;
        span.scope().find_map(|span| get_otel_context(&span.id(), dispatch))
    });
    found.flatten().unwrap_or_default()
}

/// Sets a new span's parent. A span for which that fails is not traced at all.
fn place(traced: &Span, parent: Context) {
    drop(traced.set_parent(parent));
}

#[cfg(test)]
mod tests;
