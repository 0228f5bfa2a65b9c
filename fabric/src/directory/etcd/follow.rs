//! A watcher's task: list, send updates, watch, and start over when anything breaks.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_client::{Client, Event, EventType, GetOptions, KeyValue, WatchOptions, WatchResponse};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::super::link::Link;
use super::connection::{Trouble, within};
use super::view::{Change, View, WentBack, read_worker};
use super::{Registration, Shared, Update};

/// Follows the fleet until the receiver of `updates` is gone.
pub(super) async fn follow(shared: Arc<Shared>, updates: mpsc::Sender<Update>) {
    let mut link = Link::new("etcd", "directory");
    let forever = async {
        loop {
            let Err(trouble) = session(&shared, &updates, &mut link).await;
            shared.watching.store(false, Ordering::Relaxed);
            link.wait_after(&trouble).await;
        }
    };
    tokio::select! {
        () = updates.closed() => {}
        () = forever => {}
    }
    shared.watching.store(false, Ordering::Relaxed);
}

// === private ===

/// One list and the watch that continues it, until the connection or the watch breaks.
async fn session(
    shared: &Shared,
    updates: &mpsc::Sender<Update>,
    link: &mut Link,
) -> Result<Infallible, Trouble> {
    let mut client = shared.sessions.open().await?;
    let mut view = list(&mut client, &shared.prefix, Unreadable::Warn).await?;
    shared.watching.store(true, Ordering::Relaxed);
    tell(updates, view.as_reset()).await;

    let from_there = WatchOptions::new().with_prefix().with_start_revision(view.next_revision());
    let watch = client.watch(shared.prefix.as_str(), Some(from_there));
    let mut watch = within("start the watch", watch).await?;
    link.reached();

    let mut next_list = Instant::now() + spread(shared.relist_every);
    loop {
        tokio::select! {
            response = watch.message() => {
                let response = response?.ok_or(Trouble::Closed)?;
                for change in changes(&response, &shared.prefix)? {
                    if let Some(update) = view.apply(change) {
                        tell(updates, update).await;
                    }
                }
            }
            () = tokio::time::sleep_until(next_list) => {
                let newer = list(&mut client, &shared.prefix, Unreadable::WasTold).await?;
                for update in view.replace(newer).map_err(|WentBack| Trouble::WentBack)? {
                    tell(updates, update).await;
                }
                next_list = Instant::now() + spread(shared.relist_every);
            }
        }
    }
}

/// What to do about a value that cannot be read.
#[derive(Clone, Copy, PartialEq)]
enum Unreadable {
    Warn,
    /// An earlier list, or the watch, has already logged a warning.
    WasTold,
}

async fn list(client: &mut Client, prefix: &str, unreadable: Unreadable) -> Result<View, Trouble> {
    let all = Some(GetOptions::new().with_prefix());
    let response = within("list the workers", client.get(prefix, all)).await?;
    let revision = response.header().map_or(0, |header| header.revision());
    let workers = response.kvs().iter().filter_map(|entry| worker_of(entry, prefix, unreadable));
    Ok(View::new(revision, workers))
}

fn changes(response: &WatchResponse, prefix: &str) -> Result<Vec<Change>, Trouble> {
    if response.canceled() {
        return Err(Trouble::Cancelled {
            reason: response.cancel_reason().to_owned(),
            compact_revision: response.compact_revision(),
        });
    }
    let change = |event: &Event| {
        let entry = event.kv()?;
        Some(Change {
            revision: entry.mod_revision(),
            worker_id: worker_id_of(entry, prefix),
            worker: match event.event_type() {
                EventType::Put => worker_of(entry, prefix, Unreadable::Warn),
                EventType::Delete => None,
            },
        })
    };
    Ok(response.events().iter().filter_map(change).collect())
}

fn worker_of(entry: &KeyValue, prefix: &str, unreadable: Unreadable) -> Option<Registration> {
    let worker_id = worker_id_of(entry, prefix);
    match read_worker(&worker_id, entry.value()) {
        Ok(worker) => Some(worker),
        Err(problem) => {
            if unreadable == Unreadable::Warn {
                warn!(worker_id, %problem, "entry in etcd skipped");
            }
            None
        }
    }
}

fn worker_id_of(entry: &KeyValue, prefix: &str) -> String {
    let id = entry.key().strip_prefix(prefix.as_bytes()).unwrap_or(entry.key());
    String::from_utf8_lossy(id).into_owned()
}

/// [`follow`] notices a closed channel and then ends this task.
async fn tell(updates: &mpsc::Sender<Update>, update: Update) {
    drop(updates.send(update).await);
}

/// Between 80 % and 120 % of `interval`, so that coordinators do not list in step.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.8..1.2))
}
