//! Connections to etcd: one endpoint per session, and a time limit for every request.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};

use super::EtcdUser;
use crate::connector::{AddressError, Connector, Limits};
use crate::secret::ExposeSecret;

/// etcd answers in milliseconds; a member that takes this long is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
const LIMITS: Limits = Limits {
    // A member that does not accept within this time counts as absent.
    connect: Duration::from_secs(2),
    // etcd rejects pings more frequent than every five seconds.
    ping_interval: Duration::from_secs(10),
    // A watch whose member leaves a ping unanswered for this long is broken.
    ping_timeout: Duration::from_secs(5),
};

/// Why a session with etcd ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// A request failed.
    #[error("{}", first_cause(.0))]
    Etcd(#[from] etcd_client::Error),
    /// A member cannot be called at its address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A request was not answered in time.
    #[error("etcd did not {what} within {REQUEST_TIMEOUT:?}")]
    Silent { what: &'static str },
    /// The stream of a watch or lease ended without an error.
    #[error("etcd closed the stream")]
    Closed,
    /// etcd no longer has the revisions that the watch needs, or is about to stop.
    #[error("etcd cancelled the watch: {reason} (compacted up to {compact_revision})")]
    Cancelled { reason: String, compact_revision: i64 },
    /// etcd was restored from a backup, or replaced.
    #[error("etcd went back to an earlier revision")]
    WentBack,
}

/// The root cause of an error. Printing the status alone would nest its layers.
fn first_cause(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else { return error.to_string() };
    let first = std::error::Error::source(status);
    let causes = std::iter::successors(first, |cause| cause.source());
    causes.last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// Opens sessions, each with the next endpoint.
///
/// tonic's own load balancing would keep a dead endpoint in its rotation forever.
#[derive(Debug)]
pub(super) struct Sessions {
    /// Never empty.
    endpoints: Vec<String>,
    /// Index of the next one, modulo their number.
    next: AtomicUsize,
    connector: Connector,
    user: Option<EtcdUser>,
}

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(
        endpoints: Vec<String>,
        connector: Connector,
        user: Option<EtcdUser>,
    ) -> Self {
        // A random start spreads a fleet's sessions over the members.
        let start = rand::random_range(0..endpoints.len());
        Self { endpoints, next: AtomicUsize::new(start), connector, user }
    }

    pub(super) async fn open(&self) -> Result<Client, Trouble> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len();
        // A member that is cut off from the others must report an error instead of a silent, stale watch.
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some(user) = &self.user {
            options = options.with_user(&user.name, user.password.expose_secret());
        }
        let channel = self.connector.connect_within(&self.endpoints[index], LIMITS)?;
        let client = Client::from_channel(Channel::Tonic(channel), Some(options));
        within("let us in", client).await
    }
}

/// Applies the time limit to a request; `what` completes "etcd did not ...".
pub(super) async fn within<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Silent { what }),
    }
}
