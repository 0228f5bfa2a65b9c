//! The fleet as Kubernetes knows it: the pods behind a headless service, watched through the API server.
//!
//! ```text
//! pod ready ─> EndpointSlice of the service ─> API server
//! coordinator:  list at version v ─> Reset ─> watch from v ─> Added, Removed
//!                   ^                          └ bookmarks move v; the next watch resumes from there
//!                   └───── 410 Gone: the server has forgotten v
//! ```
//!
//! A slice holds addresses and nothing else; as with a fixed list, the worker itself reports what it serves. A pod is
//! in the fleet while it is ready. A terminating pod is no longer ready, so it leaves the fleet just as a worker that
//! deregisters does.
//!
//! While the API server is away, watchers receive no updates and continue with the fleet that they know.
//!
//! Not guaranteed: that two containers of one pod are told apart. A worker that restarts inside its pod counts as the
//! same worker, and the coordinators' probes find it again.

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

/// Updates that may wait for a slow watcher; beyond that, the API server's own stream waits.
const UPDATES_WAITING: usize = 64;

/// Which service, and how the API server is reached.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// The headless service of the workers.
    pub service: ServiceName,
    /// Name of its gRPC port. Ignored if the service has only one port.
    pub port: String,
    /// Whether workers are called over TLS if the port's `appProtocol` does not say.
    pub tls: bool,
    /// Kubeconfig file for reaching the API server from outside the cluster. `None`: as a pod, else by `KUBECONFIG`
    /// or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
}

/// `NAME` or `NAME.NAMESPACE` of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    name: String,
    namespace: Option<String>,
}

/// A text that is not the name of a service.
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

/// State shared by the tasks of one [`Kubernetes`].
struct Shared {
    slices: Api<EndpointSlice>,
    wanted: Wanted,
    /// Whether a watch is running.
    watching: AtomicBool,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// Determines how the API server is reached. Does not connect yet. Must be called inside a tokio runtime.
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

/// Whether Kubernetes accepts this as a name (RFC 1123).
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
