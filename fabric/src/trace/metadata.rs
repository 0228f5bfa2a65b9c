//! Trace headers in a call's metadata, as OpenTelemetry's propagator reads and writes them.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap};

/// Longest `tracestate` that is propagated. The W3C standard requires at least 512 characters and allows dropping longer
/// ones. A worker rejects calls with more than 16 KiB of headers.
const MAX_STATE_BYTES: usize = 1024;
const STATE: &str = "tracestate";

struct Incoming<'a>(&'a MetadataMap);
struct Outgoing<'a>(&'a mut MetadataMap);

/// The context of an incoming call; empty if it has none or a malformed one.
pub(super) fn extract(metadata: &MetadataMap) -> Context {
    // Not the thread's context: an incoming call has no other parent.
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(metadata))
}

/// Writes a valid context into a call's metadata, replacing any other.
pub(super) fn inject(context: &Context, metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(context, &mut Outgoing(metadata));
}

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?.to_str().ok()?;
        (key != STATE || value.len() <= MAX_STATE_BYTES).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new() // no propagator of ours looks for names
    }
}

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` means nothing.
        if value.is_empty() {
            return;
        }
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}
