//! An OTLP receiver that stores what it receives.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span and its service.
#[derive(Debug, Clone)]
pub struct Received {
    pub service: String,
    pub span: Span,
}

/// The receiver, on its own runtime.
pub struct Collector {
    runtime: Runtime,
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
}

#[derive(Clone)]
struct Keeps(Arc<Mutex<Vec<Received>>>);

impl Collector {
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let service = TraceServiceServer::new(Keeps(received.clone()));
        let incoming = {
            let _inside = runtime.enter();
            TcpListenerStream::new(listener)
        };
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { runtime, address, received }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops it, and returns everything received so far.
    pub fn stop(self) -> Vec<Received> {
        self.runtime.shutdown_background();
        std::mem::take(&mut self.received.lock().expect("nobody panics with it"))
    }
}

#[tonic::async_trait]
impl TraceService for Keeps {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().expect("nobody panics with it");
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let service = match attribute(&attributes, "service.name") {
                Some(Value::StringValue(name)) => name.clone(),
                _ => String::new(),
            };
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| Received { service: service.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Received {
    /// An integer among the span's attributes; -1 if it is missing.
    pub fn number(&self, key: &str) -> i64 {
        match attribute(&self.span.attributes, key) {
            Some(Value::IntValue(number)) => *number,
            _ => -1,
        }
    }

    pub fn has_length(&self) -> bool {
        self.span.end_time_unix_nano > self.span.start_time_unix_nano
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let of_key = attributes.iter().find(|attribute| attribute.key == key)?;
    let AnyValue { value } = of_key.value.as_ref()?;
    value.as_ref()
}
