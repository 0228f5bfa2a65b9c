//! Exports spans to a collector, over OTLP.
//!
//! ```text
//! span ends -> queue (bounded; a full one drops) -> batches, on a thread of their own -> collector
//! ```
//!
//! A request never waits for any of this. A batch that the collector does not accept within [`EXPORT_LIMIT`] is lost.
//! An outage is logged once when it begins and once when it is over, with the number of spans lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tonic::transport::Channel;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::connector::{AddressError, Connector};
use crate::trace;

/// Time that the collector has to accept a batch.
const EXPORT_LIMIT: Duration = Duration::from_secs(10);
/// Time for sending the remaining spans at the end of the process.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
/// The SDK's name for a service without one.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Spans lost in this process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Where spans go, and under which service name.
#[derive(Debug, Clone)]
pub struct Collector {
    address: String,
    channel: Channel,
    service: String,
}

/// The span export of this process.
#[derive(Debug)]
pub(super) struct Spans {
    provider: SdkTracerProvider,
    exports: bool,
}

/// An exporter that never takes long and logs failures once.
#[derive(Debug)]
struct Watched<E> {
    exporter: Arc<E>,
    runtime: Handle,
    address: String,
    /// Spans lost since the collector last accepted any; 0 while it does.
    lost: AtomicU64,
}

/// Spans that this process has lost so far.
pub(super) fn lost_spans() -> u64 {
    LOST.load(Relaxed)
}

// === impl Collector ===

impl Collector {
    /// The collector at `address`: `http://host:port` of its OTLP/gRPC receiver, or `https://host:port`, with the TLS
    /// settings of `connector`. Spans are shown under the name `service`, unless `OTEL_SERVICE_NAME` or
    /// `OTEL_RESOURCE_ATTRIBUTES` set another one. Nothing is connected yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError`] if the address is malformed; never because the collector is away.
    pub fn new(connector: &Connector, address: &str, service: &str) -> Result<Self, AddressError> {
        let channel = connector.connect(address)?;
        Ok(Self { address: address.to_owned(), channel, service: service.to_owned() })
    }
}

// === impl Spans ===

impl Spans {
    /// Exports to `collector`. Without one, spans only propagate the trace.
    pub(super) fn start(collector: Option<Collector>) -> Self {
        let Some(collector) = collector else {
            let provider = SdkTracerProvider::builder().build();
            return Self { provider, exports: false };
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(collector.channel)
            .with_timeout(EXPORT_LIMIT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .expect("a channel is all that it needs");
        let watched = Watched {
            exporter: Arc::new(exporter),
            runtime: Handle::current(),
            address: collector.address,
            lost: AtomicU64::new(0),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(&collector.service))
            .with_span_processor(BatchSpanProcessor::builder(watched).build())
            .build();
        Self { provider, exports: true }
    }

    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    pub(super) fn finish(self) {
        if self.exports {
            // The exporter has already logged any failure.
            drop(self.provider.shutdown_with_timeout(FINISH_LIMIT));
        }
    }
}

/// The layer for traced spans. Spans other than those of incoming calls exist only if they are exported.
pub(crate) fn trace_layer<S>(provider: &SdkTracerProvider, exports: bool) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // No events: log lines belong in the log. No timings and threads: they cost something at every poll.
    let which = if exports { trace::is_traced } else { trace::is_of_call };
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("jury"))
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(filter_fn(which).with_max_level_hint(LevelFilter::INFO))
}

// === impl Watched ===

impl<E: SpanExporter + 'static> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exporter = Arc::clone(&self.exporter);
        // The exporter's thread has no timers.
        let sending = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(EXPORT_LIMIT, exporter.export(batch)).await;
            sent.unwrap_or(Err(OTelSdkError::Timeout(EXPORT_LIMIT)))
        });
        let sent = sending.await;
        let sent =
            sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.tell(spans, &sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

impl<E> Watched<E> {
    fn tell(&self, spans: u64, sent: &OTelSdkResult) {
        let address = &self.address;
        match sent {
            Ok(()) => {
                let lost = self.lost.swap(0, Relaxed);
                if lost > 0 {
                    info!(address, lost, "collector takes spans again");
                }
            }
            Err(error) => {
                LOST.fetch_add(spans, Relaxed);
                if self.lost.fetch_add(spans, Relaxed) == 0 {
                    warn!(address, %error, "collector takes no spans, they are lost until it does");
                }
            }
        }
    }
}

// === private ===

/// Attributes of every span. The standard variables take precedence over the given name.
fn resource(service: &str) -> Resource {
    let standard = Resource::builder().build();
    let name = standard.get(&Key::from_static_str("service.name"));
    let is_unnamed = name.is_none_or(|name| name.as_str().starts_with(UNKNOWN_SERVICE));
    let ours = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if is_unnamed { ours.with_service_name(service.to_owned()) } else { ours }.build()
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;

    use super::*;

    /// Returns scripted answers; `None` never answers.
    #[derive(Debug)]
    struct Scripted(Mutex<Vec<Option<OTelSdkResult>>>);

    impl SpanExporter for Scripted {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            let answer = self.0.lock().unwrap().remove(0);
            match answer {
                Some(answer) => answer,
                None => pending().await,
            }
        }
    }

    fn watched(script: Vec<Option<OTelSdkResult>>) -> Watched<Scripted> {
        Watched {
            exporter: Arc::new(Scripted(Mutex::new(script))),
            runtime: Handle::current(),
            address: "http://collector:4317".to_owned(),
            lost: AtomicU64::new(0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_never_answers_is_given_up() {
        let error = watched(vec![None]).export(Vec::new()).await.unwrap_err();
        assert!(matches!(error, OTelSdkError::Timeout(EXPORT_LIMIT)), "{error}");
    }

    #[tokio::test]
    async fn what_is_lost_is_counted_until_the_collector_is_back() {
        let watched = watched(Vec::new());
        let away = Err(OTelSdkError::InternalFailure("away".to_owned()));
        watched.tell(3, &away);
        watched.tell(4, &away);
        assert_eq!(watched.lost.load(Relaxed), 7);
        watched.tell(1, &Ok(()));
        assert_eq!(watched.lost.load(Relaxed), 0);
    }

    #[test]
    fn a_service_is_called_what_its_command_is() {
        let name = resource("jury-worker").get(&Key::from_static_str("service.name"));
        assert_eq!(name.map(|name| name.as_str().into_owned()).as_deref(), Some("jury-worker"));
    }
}
