use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::telemetry::{LogFormat, log_layer, trace_layer};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn metadata_with(header: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("traceparent", header.parse().unwrap());
    metadata
}

/// Runs `body` as in a process that logs what `filter` lets through.
fn traced<T>(filter: &str, exports: bool, body: impl FnOnce() -> T) -> T {
    let logs = log_layer(LogFormat::Json, filter.parse().unwrap(), std::io::sink);
    let spans = trace_layer(&SdkTracerProvider::default(), exports);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(spans).with(logs), body)
}

fn header<T>(request: &Request<T>, name: &str) -> Option<String> {
    request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// The `traceparent` of a call that is made while serving a call with `metadata`.
fn passed_on(metadata: &MetadataMap) -> Option<String> {
    let sent = server_span("p.S/M", metadata)
        .in_scope(|| tracing::info_span!("inner").in_scope(|| outgoing(())));
    header(&sent, "traceparent")
}

#[test]
fn a_call_made_inside_a_call_belongs_to_the_same_trace_whatever_is_logged_or_exported() {
    for filter in ["info", "error", "off", "trace"] {
        for exports in [false, true] {
            let sent = traced(filter, exports, || passed_on(&metadata_with(PARENT))).unwrap();
            assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{sent}");
            assert!(!sent.contains("00f067aa0ba902b7"), "our own span is the parent: {sent}");
            assert!(sent.ends_with("-01"), "{sent}");
        }
    }
}

#[test]
fn who_does_not_record_a_trace_is_asked_for_nothing() {
    let unsampled = PARENT.replace("-01", "-00");
    let sent = traced("info", true, || passed_on(&metadata_with(&unsampled))).unwrap();
    assert!(sent.ends_with("-00"), "{sent}");
}

#[test]
fn the_state_of_the_callers_vendor_is_handed_on() {
    let mut metadata = metadata_with(PARENT);
    metadata.insert("tracestate", "vendor=1".parse().unwrap());
    let sent = traced("info", false, || server_span("p.S/M", &metadata).in_scope(|| outgoing(())));
    assert_eq!(header(&sent, "tracestate").as_deref(), Some("vendor=1"));
}

#[test]
fn a_state_that_would_fill_the_headers_of_a_call_is_dropped_and_the_trace_goes_on() {
    let member = |n: usize| format!("v{n:02}={}", "1".repeat(252));
    for (n_members, kept) in [(3, true), (32, false)] {
        let state = (0..n_members).map(member).collect::<Vec<_>>().join(",");
        let mut metadata = metadata_with(PARENT);
        metadata.insert("tracestate", state.parse().unwrap());
        let sent =
            traced("info", false, || server_span("p.S/M", &metadata).in_scope(|| outgoing(())));
        assert_eq!(header(&sent, "tracestate").is_some(), kept, "{n_members}");
        let parent = header(&sent, "traceparent").unwrap();
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
    }
}

#[test]
fn an_absent_or_malformed_header_starts_a_trace() {
    traced("info", false, || {
        for header in [
            "00-nonsense",
            &PARENT[..52],
            &PARENT.to_uppercase(),
            &format!("{PARENT}-00"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            let sent = passed_on(&metadata_with(header)).unwrap();
            assert!(!sent.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{header}: {sent}");
        }
        assert!(passed_on(&MetadataMap::new()).is_some());
    });
}

#[test]
fn without_a_trace_nothing_is_sent() {
    assert_eq!(header(&outgoing(()), "traceparent"), None);
    traced("info", true, || assert_eq!(header(&outgoing(()), "traceparent"), None));
}

#[test]
fn a_call_that_goes_out_is_the_parent_only_while_it_is_exported() {
    for exports in [false, true] {
        traced("info", exports, || {
            server_span("p.S/M", &metadata_with(PARENT)).in_scope(|| {
                let call = client_span("p.S/N");
                let around = header(&outgoing(()), "traceparent");
                let inside = header(&Place::of(&call).outgoing(()), "traceparent");
                assert_eq!(around != inside, exports);
            });
        });
    }
}
