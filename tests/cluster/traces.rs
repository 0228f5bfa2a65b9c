//! Spans of real processes, received by our own OTLP/gRPC stub; `scripts/deploy-test traces` sends them to a
//! third-party receiver.

mod collector;

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use self::collector::{Collector, Received};
use super::etcd::free_port;
use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, SETTINGS, ready};

/// Samples that [`SETTINGS`] ask for.
const SAMPLES: usize = 8;

/// A worker and a coordinator that knows it by address; no etcd.
struct Pair {
    worker: Process,
    coordinator: Process,
    endpoint: String,
}

impl Pair {
    fn start(more: &[&str]) -> Self {
        let model = model_path();
        let mut arguments = vec!["worker", "--model", &model, "--id", "w1", "--threads", "1"];
        arguments.extend(["--listen", "127.0.0.1:0"].iter().chain(more));
        let mut worker = Process::jury("worker", &arguments);
        let worker_address = format!("http://{}", text(&worker.wait_for("listening"), "address"));
        worker.wait_for("worker serves");

        let mut arguments = vec!["coordinator", "--worker", &worker_address];
        arguments.extend(["--listen", "127.0.0.1:0"].iter().chain(more));
        let mut coordinator = Process::jury("coordinator", &arguments);
        let endpoint = ready(&mut coordinator, 1);
        Self { worker, coordinator, endpoint }
    }

    /// Exit codes of `jury score`, the coordinator and the worker, in this order.
    fn score_and_stop(&mut self, more: &[&str]) -> [Option<i32>; 3] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let item = folder.path().join("item.json");
        std::fs::write(&item, ITEM).expect("the folder is ours");
        let item = item.to_str().expect("a temporary path is UTF-8");
        let mut arguments = vec!["score", item, "--json"];
        arguments
            .extend(["--endpoint", self.endpoint.as_str()].iter().chain(&SETTINGS).chain(more));
        let scored = jury(&arguments);
        [scored.code, self.coordinator.terminate(), self.worker.terminate()]
    }
}

/// The only span of `service` with this name and kind.
fn only<'a>(spans: &'a [Received], service: &str, name: &str, kind: SpanKind) -> &'a Received {
    let found: Vec<_> = spans
        .iter()
        .filter(|of| of.service == service && of.span.name == name && of.span.kind() == kind)
        .collect();
    assert_eq!(found.len(), 1, "{service} {name} {kind:?} among {spans:#?}");
    found[0]
}

#[test]
fn one_trace_spans_client_coordinator_and_worker_with_a_span_a_sample() {
    let collector = Collector::start();
    let exported = ["--otlp-endpoint", collector.address()];
    let mut pair = Pair::start(&exported);
    assert_eq!(pair.score_and_stop(&exported), [Some(0); 3]);
    let spans = collector.stop();

    let score = "jury.v1.RewardService/ScoreWithProgress";
    let sample = "jury.v1.SamplingService/Sample";
    let client = only(&spans, "jury-score", score, SpanKind::Client);
    let served = only(&spans, "jury-coordinator", score, SpanKind::Server);
    let request = only(&spans, "jury-coordinator", "request", SpanKind::Internal);
    assert!(client.span.parent_span_id.is_empty(), "the client begins the trace");
    assert_eq!(served.span.parent_span_id, client.span.span_id);
    assert_eq!(request.span.parent_span_id, served.span.span_id);

    let of = |service: &str, kind: SpanKind, name: &str| -> Vec<Received> {
        let is_it = |of: &&Received| {
            of.service == service && of.span.kind() == kind && of.span.name == name
        };
        spans.iter().filter(is_it).cloned().collect()
    };
    let calls = of("jury-coordinator", SpanKind::Client, sample);
    let groups = of("jury-worker", SpanKind::Server, sample);
    let samples = of("jury-worker", SpanKind::Internal, "sample");
    let ids = |spans: &[Received]| -> BTreeSet<Vec<u8>> {
        spans.iter().map(|of| of.span.span_id.clone()).collect()
    };
    let parents = |spans: &[Received]| -> BTreeSet<Vec<u8>> {
        spans.iter().map(|of| of.span.parent_span_id.clone()).collect()
    };
    assert_eq!(parents(&calls), BTreeSet::from([request.span.span_id.clone()]));
    assert_eq!(parents(&groups), ids(&calls));
    assert_eq!(parents(&samples), ids(&groups));
    let indices: BTreeSet<i64> = samples.iter().map(|of| of.number("index")).collect();
    assert_eq!(samples.len(), SAMPLES, "{samples:#?}");
    assert_eq!(indices, (0..SAMPLES as i64).collect());
    assert!(samples.iter().all(|of| of.number("tokens") > 0 && of.has_length()), "{samples:#?}");

    let traces: BTreeSet<&[u8]> = spans.iter().map(|of| of.span.trace_id.as_slice()).collect();
    assert_eq!(traces.len(), 1, "nothing but this request was traced");
    let everything = format!("{spans:?}");
    for words in ["Australia", "Canberra", "Sydney"] {
        assert!(!everything.contains(words), "text of the item or of a critique was exported");
    }
}

#[test]
fn a_collector_that_is_away_is_told_once_and_costs_no_verdict() {
    let away = format!("http://127.0.0.1:{}", free_port());
    let exported = ["--otlp-endpoint", away.as_str()];
    let mut pair = Pair::start(&exported);
    assert_eq!(pair.score_and_stop(&exported), [Some(0); 3]);
    for process in [&mut pair.coordinator, &mut pair.worker] {
        let told = process
            .rest()
            .into_iter()
            .filter(|event| text(event, "message").contains("collector takes no spans"));
        assert_eq!(told.count(), 1, "told once");
    }
}
