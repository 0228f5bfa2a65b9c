//! A door over an embedded cluster with a scripted worker.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use jury_coordinator::Coordinator;
use jury_coordinator::tenants::Tenants;
use jury_embedded::{Embedded, default_config};
use jury_worker::backend::scripted::ScriptedBackend;
use jury_worker::heads::Heads;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tower::ServiceExt;

/// Ends when dropped.
pub struct Door {
    cluster: Embedded,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Door {
    /// Waits until the worker is ready.
    pub async fn open(backend: ScriptedBackend) -> Self {
        Self::open_to(Tenants::open(), backend).await
    }

    /// The same, for these tenants.
    pub async fn open_to(tenants: Tenants, backend: ScriptedBackend) -> Self {
        Self::open_with(jury_coordinator::Config { tenants, ..default_config() }, backend).await
    }

    /// The same, with this configuration, but a queue of one.
    pub async fn open_with(config: jury_coordinator::Config, backend: ScriptedBackend) -> Self {
        let door = Self::open_before_workers(config, backend);
        while door.get("/readyz").await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
        door
    }

    /// The same, before the worker is ready.
    pub fn open_before_workers(config: jury_coordinator::Config, backend: ScriptedBackend) -> Self {
        let config = jury_coordinator::Config { queue_limit: 1, ..config };
        let cluster =
            Embedded::start(Arc::new(backend), Heads::default(), config, &mut Registry::default());
        Self { cluster: cluster.unwrap() }
    }

    pub fn coordinator(&self) -> Coordinator {
        self.cluster.coordinator()
    }

    pub fn router(&self) -> Router {
        jury_door::router(self.coordinator())
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The data of a stream's events, with their names.
    pub fn events(&self) -> Vec<(String, Value)> {
        let events = self.text.split("\n\n").filter(|event| event.starts_with("event:"));
        let read = events.map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
        });
        read.collect()
    }
}
