//! The fleet as Kubernetes knows it: the pods behind a headless service, watched through the API server.
//!
//! ```text
//! pod ready ─> EndpointSlice of the service ─> API server
//! coordinator:  list at version v ─> Reset ─> watch from v ─> Added, Removed
//!                   ^                          └ bookmarks move v; a watch that ended goes on from there
//!                   └───── 410 Gone: the server has forgotten v
//! ```
//!
//! A slice holds addresses and no facts: what a worker serves it tells itself, as one of a fixed list does. A pod is in the fleet
//! while it is ready; one that is asked to end is not ready any more, and so leaves the fleet as by a withdrawn registration.
//!
//! While the API server is away nothing is told, so a watcher goes on with the fleet that it knows.
//!
//! Not promised: that two containers under one pod are told apart. A worker that restarts inside its pod is the same
//! worker, found again by its coordinators' probes.

mod access;
mod follow;
mod slices;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Directory, Update};
pub use access::KubernetesError;
use slices::Wanted;

/// Updates that may wait for a slow watcher; past them, the API server's own stream waits.
const UPDATES_WAITING: usize = 64;

/// Which service, and how the API server is reached.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// The headless service of the workers.
    pub service: ServiceName,
    /// Name of its port for gRPC. A service with one port needs none of that name.
    pub port: String,
    /// Whether workers are called over TLS, where the port's `appProtocol` says nothing.
    pub tls: bool,
    /// How the API server is reached from outside of a cluster. `None`: as a pod, else by `KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
}

/// `NAME` or `NAME.NAMESPACE` of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    name: String,
    namespace: Option<String>,
}

/// A text that is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write NAME or NAME.NAMESPACE, each of lower-case letters, digits and dashes: jury-workers.judges"
)]
pub struct NotAService;

/// The directory in Kubernetes. Clones share one view of whether the API server is reachable.
#[derive(Clone)]
pub struct Kubernetes {
    shared: Arc<Shared>,
}

/// What the tasks of one [`Kubernetes`] share.
struct Shared {
    slices: Api<EndpointSlice>,
    wanted: Wanted,
    /// Whether a watch is running.
    watching: AtomicBool,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Finds out how the API server is reached; talks to nobody yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`KubernetesError`]; never because the server is away.
    pub async fn new(config: &KubernetesConfig) -> Result<Self, KubernetesError> {
        let ServiceName { name, namespace } = &config.service;
        let slices = access::slices(config.kubeconfig.as_deref(), namespace.as_deref()).await?;
        let wanted = Wanted { service: name.clone(), port: config.port.clone(), tls: config.tls };
        let shared = Shared { slices, wanted, watching: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Directory for Kubernetes {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn is_connected(&self) -> bool {
        self.shared.watching.load(Ordering::Relaxed)
    }

    fn watch(&self) -> BoxStream<'static, Update> {
        let (updates, told) = mpsc::channel(UPDATES_WAITING);
        tokio::spawn(follow::follow(Arc::clone(&self.shared), updates));
        ReceiverStream::new(told).boxed()
    }
}

// === impl ServiceName ===

impl FromStr for ServiceName {
    type Err = NotAService;

    fn from_str(text: &str) -> Result<Self, NotAService> {
        let (name, namespace) = match text.split_once('.') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (text, None),
        };
        if !is_label(name) || !namespace.is_none_or(is_label) {
            return Err(NotAService);
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned) })
    }
}

/// Whether Kubernetes takes this for a name (RFC 1123).
fn is_label(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_or_without_its_namespace() {
        let named = |text: &str| text.parse::<ServiceName>();
        let (name, namespace) = ("workers".to_owned(), Some("judges-2".to_owned()));
        assert_eq!(named("workers.judges-2"), Ok(ServiceName { name, namespace }));
        assert_eq!(named("workers").unwrap().namespace, None);
        for text in
            ["", ".", "workers.", ".judges", "a.b.svc", "Workers", "-a", "a-", "a b", "http://a"]
        {
            assert_eq!(named(text), Err(NotAService), "{text}");
        }
    }
}
