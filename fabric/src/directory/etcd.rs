//! The fleet in etcd: workers register themselves under a lease, coordinators watch.
//!
//! ```text
//! /jury/v1/<cluster>/workers/<worker_id> = Registration as JSON, under the worker's lease
//!
//! worker:       grant lease ─> put key ─> renew at half of what remains, look at the own key ─┐
//!                   ^   └ lease lost, key gone: from the top, never an exit                   │
//!                   └─────────────────────────────────────────────────────────────────────────┘
//! coordinator:  list at revision r ─> Reset ─> watch from r + 1 ─> Added, Removed
//!                   ^      now and then list again and send the differences
//!                   └───── watch broken, cancelled or compacted
//! ```
//!
//! While etcd is away, both sides keep retrying, with jitter. A watcher receives no updates meanwhile, so it
//! continues with the fleet that it knows. A worker that vanishes without deregistering is removed when its lease
//! ends. Each session talks to one endpoint, and the next session to the next endpoint.
//!
//! Not guaranteed: that two workers with the same id are both seen. The later one takes over the key. The earlier one
//! logs that, and takes the key back when the later one's lease ends.

mod connection;
mod follow;
mod lease;
mod register;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Directory, Registration, Update};
use crate::connector::{self, AddressError, Connector};
use crate::secret::SecretString;
use crate::tls::ClientTls;
use connection::Sessions;

pub use register::RegistrationHandle;

/// Updates that may wait for a slow watcher; beyond that, etcd's own stream waits.
const UPDATES_WAITING: usize = 64;

/// Shortest lease: etcd rounds anything shorter up to one and a half election timeouts.
const MIN_LEASE_TTL: Duration = Duration::from_secs(2);
/// Longest lease: a dead worker must not stay in the fleet for hours.
const MAX_LEASE_TTL: Duration = Duration::from_secs(3600);

/// Which etcd, and how to use it.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// Its members, each `https://host:port`, `http://host:port` or `host:port`.
    pub endpoints: Vec<String>,
    /// Clusters of Jury with different names share an etcd and never see each other.
    pub cluster: String,
    /// Time after which a worker that no longer renews is removed, in whole seconds, 2 s to 1 h.
    pub lease_ttl: Duration,
    /// How often a watcher lists all workers again, in case the watch has lost a change.
    pub relist_every: Duration,
    /// For members at `https` addresses. `None`: the authorities that this machine trusts.
    pub tls: Option<ClientTls>,
    /// The user to log in as, if etcd requires one.
    pub user: Option<EtcdUser>,
}

/// A user of etcd.
#[derive(Debug, Clone)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: SecretString,
}

/// Why an etcd configuration is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdConfigError {
    /// No endpoint was given.
    #[error("no etcd endpoint given")]
    NoEndpoint,
    /// An endpoint is malformed.
    #[error(transparent)]
    Endpoint(#[from] AddressError),
    /// The cluster's name cannot be part of a key.
    #[error("cluster name {0:?} must be 1 to 64 letters, digits, dots, dashes or underscores")]
    Cluster(String),
    /// The lease is too short or too long.
    #[error("lease of {0:?} must be between 2 s and 1 h")]
    LeaseTtl(Duration),
}

/// The directory in etcd. Clones share one view of whether etcd is reachable.
#[derive(Debug, Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
}

/// State shared by the tasks of one [`Etcd`].
#[derive(Debug)]
struct Shared {
    sessions: Sessions,
    /// `/jury/v1/<cluster>/workers/`.
    prefix: String,
    lease_ttl: Duration,
    relist_every: Duration,
    /// Whether a watch is running.
    watching: AtomicBool,
}

// === impl EtcdConfig ===

impl EtcdConfig {
    /// The defaults: a lease of 10 seconds, a list every minute.
    pub fn new(endpoints: Vec<String>, cluster: impl Into<String>) -> Self {
        Self {
            endpoints,
            cluster: cluster.into(),
            lease_ttl: Duration::from_secs(10),
            relist_every: Duration::from_secs(60),
            tls: None,
            user: None,
        }
    }
}

// === impl Etcd ===

impl Etcd {
    /// Checks the configuration. Does not connect yet.
    ///
    /// # Errors
    /// [`EtcdConfigError`]; never because etcd is away.
    pub fn new(config: &EtcdConfig) -> Result<Self, EtcdConfigError> {
        if config.endpoints.is_empty() {
            return Err(EtcdConfigError::NoEndpoint);
        }
        let endpoints = config
            .endpoints
            .iter()
            .map(|endpoint| connector::parse(endpoint).map(|uri| uri.to_string()))
            .collect::<Result<Vec<String>, AddressError>>()?;
        if !is_cluster_name(&config.cluster) {
            return Err(EtcdConfigError::Cluster(config.cluster.clone()));
        }
        if !(MIN_LEASE_TTL..=MAX_LEASE_TTL).contains(&config.lease_ttl) {
            return Err(EtcdConfigError::LeaseTtl(config.lease_ttl));
        }
        let connector = config.tls.clone().map_or_else(Connector::new, Connector::with_tls);
        Ok(Self {
            shared: Arc::new(Shared {
                sessions: Sessions::new(endpoints, connector, config.user.clone()),
                prefix: format!("/jury/v1/{}/workers/", config.cluster),
                lease_ttl: config.lease_ttl,
                relist_every: config.relist_every,
                watching: AtomicBool::new(false),
            }),
        })
    }

    /// Registers a worker, and keeps it registered until the handle is withdrawn or dropped.
    ///
    /// Returns at once: while etcd is away, registration is retried in the background and the log says so. Must be
    /// called inside a tokio runtime.
    pub fn register(&self, worker: Registration) -> RegistrationHandle {
        RegistrationHandle::start(Arc::clone(&self.shared), worker)
    }
}

impl Directory for Etcd {
    fn kind(&self) -> &'static str {
        "etcd"
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

// === private ===

fn is_cluster_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> EtcdConfig {
        EtcdConfig::new(vec!["127.0.0.1:2379".to_owned()], "lab-1")
    }

    fn refusal(config: &EtcdConfig) -> EtcdConfigError {
        Etcd::new(config).unwrap_err()
    }

    #[test]
    fn a_usable_configuration_is_accepted_while_etcd_is_away() {
        let etcd = Etcd::new(&config()).unwrap();
        assert_eq!(etcd.shared.prefix, "/jury/v1/lab-1/workers/");
        assert!(!etcd.is_connected());
    }

    #[test]
    fn every_unusable_configuration_is_refused_with_its_reason() {
        assert_eq!(
            refusal(&EtcdConfig { endpoints: vec![], ..config() }),
            EtcdConfigError::NoEndpoint
        );
        let endpoints = vec!["127.0.0.1:2379".to_owned(), "etcd".to_owned()];
        assert!(matches!(
            refusal(&EtcdConfig { endpoints, ..config() }),
            EtcdConfigError::Endpoint(error) if error.address == "etcd"
        ));
        for cluster in ["", "a/b", "a b", &"x".repeat(65)] {
            let cluster = cluster.to_owned();
            let expected = EtcdConfigError::Cluster(cluster.clone());
            assert_eq!(refusal(&EtcdConfig { cluster, ..config() }), expected);
        }
        for lease_ttl in [Duration::from_millis(1999), Duration::from_secs(3601)] {
            let expected = EtcdConfigError::LeaseTtl(lease_ttl);
            assert_eq!(refusal(&EtcdConfig { lease_ttl, ..config() }), expected);
        }
    }
}
