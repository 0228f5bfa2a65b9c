//! A worker's task: stay in the directory, whatever happens to leases and to etcd.

use std::convert::Infallible;
use std::sync::Arc;

use etcd_client::{Client, Error, LeaseKeepAliveStream, LeaseKeeper, PutOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::link::Link;
use super::connection::{Trouble, within};
use super::lease::{KeyState, judge_key, renew_after};
use super::{Registration, Shared};

/// A registration in force. If it is dropped without [`RegistrationHandle::withdraw`], renewal stops and the
/// registration ends with its lease.
#[derive(Debug)]
pub struct RegistrationHandle {
    withdraw: CancellationToken,
    registered: watch::Receiver<bool>,
    task: Option<JoinHandle<()>>,
}

/// What one worker stores in etcd.
struct Entry {
    worker_id: String,
    key: String,
    value: Vec<u8>,
    /// Whether the key was seen in place, under our lease, since etcd was last lost.
    registered: watch::Sender<bool>,
}

/// Our lease, which outlives sessions: etcd may be away for less than its time.
#[derive(Debug, Clone, Copy)]
struct Lease {
    id: i64,
    /// Whether our key was stored under it.
    has_key: bool,
}

/// Why a lease is no longer renewed.
enum LeaseEnd {
    /// etcd does not know it: expired or revoked.
    Lost,
    /// The session broke; the lease may live on.
    Trouble(Trouble),
}

// === impl RegistrationHandle ===

impl RegistrationHandle {
    pub(super) fn start(shared: Arc<Shared>, worker: Registration) -> Self {
        let withdraw = CancellationToken::new();
        let (registered, is_registered) = watch::channel(false);
        let entry = Entry {
            key: format!("{}{}", shared.prefix, worker.worker_id),
            value: serde_json::to_vec(&worker).expect("texts and numbers always are JSON"),
            worker_id: worker.worker_id,
            registered,
        };
        let task = tokio::spawn(keep_registered(shared, entry, withdraw.clone()));
        Self { withdraw, registered: is_registered, task: Some(task) }
    }

    /// Whether the worker was in the directory at the last check.
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Waits until the worker is in the directory.
    pub async fn wait_registered(&mut self) {
        // An error means that the task is gone, which only `withdraw` and `drop` cause.
        drop(self.registered.wait_for(|registered| *registered).await);
    }

    /// Leaves the directory. Returns when that is done or, if etcd is away, after a few seconds; the end of the lease
    /// then removes the worker.
    pub async fn withdraw(mut self) {
        self.withdraw.cancel();
        if let Some(task) = self.task.take() {
            // The task never panics; even if it did, the lease would still end.
            drop(task.await);
        }
    }
}

impl Drop for RegistrationHandle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

// === private ===

async fn keep_registered(shared: Arc<Shared>, entry: Entry, withdraw: CancellationToken) {
    let mut lease = None;
    let mut link = Link::new("etcd", "registration");
    let forever = async {
        loop {
            let Err(trouble) = session(&shared, &entry, &mut lease, &mut link).await;
            entry.registered.send_replace(false);
            link.wait_after(&trouble).await;
        }
    };
    tokio::select! {
        () = withdraw.cancelled() => {}
        () = forever => {}
    }
    entry.registered.send_replace(false);
    let Some(Lease { id, .. }) = lease else { return };
    match revoke(&shared, id).await {
        Ok(()) => info!(worker_id = entry.worker_id, "registration withdrawn"),
        Err(trouble) => warn!(
            worker_id = entry.worker_id,
            %trouble,
            "registration not withdrawn, it ends with its lease"
        ),
    }
}

/// Registers and stays registered, under one lease after another, until the connection breaks.
async fn session(
    shared: &Shared,
    entry: &Entry,
    lease: &mut Option<Lease>,
    link: &mut Link,
) -> Result<Infallible, Trouble> {
    let mut client = shared.sessions.open().await?;
    loop {
        let held = match lease {
            Some(held) => held,
            None => lease.insert(grant(&mut client, shared.lease_ttl).await?),
        };
        match renew_until_lost(&mut client, shared.lease_ttl, entry, held, link).await {
            LeaseEnd::Lost => {
                warn!(worker_id = entry.worker_id, "lease lost, registering anew");
                entry.registered.send_replace(false);
                *lease = None;
            }
            LeaseEnd::Trouble(trouble) => return Err(trouble),
        }
    }
}

async fn renew_until_lost(
    client: &mut Client,
    ttl: Duration,
    entry: &Entry,
    lease: &mut Lease,
    link: &mut Link,
) -> LeaseEnd {
    let asked_at = Instant::now();
    let (mut keeper, mut replies) =
        match within("renew the lease", client.lease_keep_alive(lease.id)).await {
            Ok(streams) => streams,
            Err(Trouble::Etcd(Error::LeaseKeepAliveError(_))) => return LeaseEnd::Lost,
            Err(trouble) => return LeaseEnd::Trouble(trouble),
        };
    let mut lease_ends = asked_at + ttl;
    let mut key_state = None;
    loop {
        match hold_key(client, entry, lease).await {
            Ok(now) => tell_key_state(entry, &mut key_state, now),
            // A lease that ends between renewal and put is unknown to etcd.
            Err(Trouble::Etcd(Error::GRpcStatus(status)))
                if status.code() == tonic::Code::NotFound =>
            {
                return LeaseEnd::Lost;
            }
            Err(trouble) => return LeaseEnd::Trouble(trouble),
        }
        link.reached();

        let remaining = lease_ends.saturating_duration_since(Instant::now());
        tokio::time::sleep(renew_after(remaining, rand::random())).await;
        let asked_at = Instant::now();
        match renew(&mut keeper, &mut replies).await {
            Ok(Some(granted)) => lease_ends = asked_at + granted,
            Ok(None) => return LeaseEnd::Lost,
            Err(trouble) => return LeaseEnd::Trouble(trouble),
        }
    }
}

/// Checks the worker's key and writes it if it is missing.
async fn hold_key(
    client: &mut Client,
    entry: &Entry,
    lease: &mut Lease,
) -> Result<KeyState, Trouble> {
    if lease.has_key {
        let response = within("show the own key", client.get(entry.key.as_str(), None)).await?;
        let found = response.kvs().first().map(|found| (found.value(), found.lease()));
        let state = judge_key(found, &entry.value, lease.id);
        if state != KeyState::Missing {
            return Ok(state);
        }
    }
    // The first put under a lease overwrites any existing key: most likely it is under our own former lease, or
    // belongs to the process that this one replaces.
    let under_lease = Some(PutOptions::new().with_lease(lease.id));
    let put = client.put(entry.key.as_str(), entry.value.clone(), under_lease);
    within("store the registration", put).await?;
    lease.has_key = true;
    Ok(KeyState::Held)
}

/// Updates the handle, and logs changes only.
fn tell_key_state(entry: &Entry, told: &mut Option<KeyState>, now: KeyState) {
    entry.registered.send_replace(now == KeyState::Held);
    if *told == Some(now) {
        return;
    }
    *told = Some(now);
    if now == KeyState::Held {
        info!(worker_id = entry.worker_id, "registered");
    } else {
        warn!(worker_id = entry.worker_id, "another worker has registered under this id");
    }
}

async fn grant(client: &mut Client, ttl: Duration) -> Result<Lease, Trouble> {
    let ttl_seconds = i64::try_from(ttl.as_secs()).expect("a lease is at most an hour");
    let granted = within("grant a lease", client.lease_grant(ttl_seconds, None)).await?;
    Ok(Lease { id: granted.id(), has_key: false })
}

/// The lease's new time to live, or `None` if it is lost.
async fn renew(
    keeper: &mut LeaseKeeper,
    replies: &mut LeaseKeepAliveStream,
) -> Result<Option<Duration>, Trouble> {
    let renewal = async {
        keeper.keep_alive().await?;
        replies.message().await
    };
    let reply = within("renew the lease", renewal).await?.ok_or(Trouble::Closed)?;
    Ok(u64::try_from(reply.ttl()).ok().filter(|&ttl| ttl > 0).map(Duration::from_secs))
}

async fn revoke(shared: &Shared, lease_id: i64) -> Result<(), Trouble> {
    let mut client = shared.sessions.open().await?;
    within("revoke the lease", client.lease_revoke(lease_id)).await?;
    Ok(())
}
