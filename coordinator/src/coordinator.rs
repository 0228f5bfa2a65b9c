//! The coordinator handle: what its requests share, how it starts and closes, and its status. `callers` handles its
//! tenants.

mod callers;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jury_fabric::connector::Connector;
use jury_fabric::directory::Directory;
use jury_proto::{ErrorCode, v1};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use self::callers::Strangers;
use crate::admission::{Admission, DemandMetrics};
use crate::config::{Config, ConfigError};
use crate::dispatch::HedgeBudget;
use crate::fleet::{DirectoryMetrics, Fleet};
use crate::idempotency::{Idempotency, Limits};
use crate::metrics::Metrics;

/// A coordinator; a cheap handle to its shared parts.
#[derive(Clone)]
pub struct Coordinator {
    pub(crate) inner: Arc<Inner>,
}

/// The state shared by all requests.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) admission: Admission,
    pub(crate) fleet: Fleet,
    pub(crate) idempotency: Idempotency,
    pub(crate) hedge_budget: HedgeBudget,
    pub(crate) metrics: Metrics,
    /// Requests that the observer has seen.
    pub(crate) n_observed: AtomicU64,
    pub(crate) strangers: Strangers,
    /// Cancelled when new requests are no longer accepted.
    pub(crate) closing: CancellationToken,
}

// === impl Coordinator ===

impl Coordinator {
    /// Starts to follow `directory`; `connector` reaches its workers. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot work.
    pub fn start(
        config: Config,
        directory: Arc<dyn Directory>,
        connector: Connector,
        registry: &mut Registry,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let awaited = config.awaited_models.iter().map(String::as_str);
        let admission = Admission::new(config.queue_limit, config.queue_bytes).awaiting(awaited);
        registry.register_collector(Box::new(DemandMetrics(admission.clone())));
        registry.register_collector(Box::new(DirectoryMetrics(Arc::clone(&directory))));
        let inner = Inner {
            admission,
            fleet: Fleet::start(directory, connector),
            idempotency: Idempotency::new(Limits {
                max_entries: config.idempotency_entries,
                max_bytes: config.idempotency_bytes,
                ttl: config.idempotency_ttl,
            }),
            hedge_budget: HedgeBudget::new(config.hedge_budget),
            metrics: Metrics::register(registry),
            n_observed: AtomicU64::new(0),
            strangers: Strangers::default(),
            closing: CancellationToken::new(),
            config,
        };
        let coordinator = Self { inner: Arc::new(inner) };
        coordinator.follow_capacity();
        coordinator.follow_tenants();
        Ok(coordinator)
    }

    /// Waits at most `patience` until these workers are present and have reported what they serve: for callers that
    /// have just started them.
    pub async fn wait_for_workers(&self, ids: &[&str], patience: Duration) {
        self.inner.fleet.wait_until_known(ids, patience).await;
    }

    /// The fleet and the load, without tenants.
    pub fn status(&self) -> v1::GetStatusResponse {
        let Inner { admission, fleet, config, .. } = &*self.inner;
        let load = admission.load();
        v1::GetStatusResponse {
            version: crate::VERSION.to_owned(),
            workers: fleet.status(),
            requests_running: count(load.running),
            requests_queued: count(load.waiting),
            queue_limit: count(config.queue_limit),
            directory: fleet.directory().kind().to_owned(),
            directory_connected: fleet.directory().is_connected(),
            tenants: Vec::new(),
        }
    }

    /// Stops accepting requests; running ones continue.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    /// True while new requests are accepted.
    pub fn is_open(&self) -> bool {
        !self.inner.closing.is_cancelled()
    }

    /// Budget of a request that sets none.
    pub fn default_budget(&self) -> Duration {
        self.inner.config.default_budget
    }

    /// Waits until new requests are no longer accepted.
    pub(crate) async fn closed(&self) {
        self.inner.closing.cancelled().await;
    }

    /// Most items judged at once per stream.
    pub(crate) fn stream_concurrency(&self) -> usize {
        self.inner.config.stream_concurrency
    }

    /// Counts a request that was rejected before it got here, because something is wrong with it.
    pub fn record_invalid(&self) {
        self.inner.metrics.record_error(ErrorCode::InvalidArgument);
    }

    /// Keeps admission informed of what the fleet can draw.
    fn follow_capacity(&self) {
        let weak = Arc::downgrade(&self.inner);
        let mut changes = self.inner.fleet.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(inner) = weak.upgrade() else { return };
                let factor = inner.config.admitted_per_capacity;
                let of_model = |(model, capacity)| (model, (f64::from(capacity) * factor) as u32);
                inner
                    .admission
                    .set_capacities(&inner.fleet.capacities().into_iter().map(of_model).collect());
            }
        });
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
