//! A watcher that applies updates to a fleet, as a coordinator does.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use jury_fabric::directory::{Directory, Registration, Update};

/// Longer than any lease and backoff in these tests, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Watcher {
    updates: BoxStream<'static, Update>,
    pub fleet: BTreeMap<String, Registration>,
    pub n_resets: usize,
}

impl Watcher {
    pub fn start(directory: &dyn Directory) -> Self {
        Self { updates: directory.watch(), fleet: BTreeMap::new(), n_resets: 0 }
    }

    /// The next update, already applied.
    pub async fn next(&mut self) -> Update {
        let update = patiently("an update", self.updates.next()).await.expect("the watch goes on");
        match update.clone() {
            Update::Reset(workers) => {
                self.n_resets += 1;
                self.fleet = workers.into_iter().map(|w| (w.worker_id.clone(), w)).collect();
            }
            Update::Added(worker) => {
                self.fleet.insert(worker.worker_id.clone(), worker);
            }
            Update::Removed(id) => {
                self.fleet.remove(&id);
            }
        }
        update
    }

    /// Reads updates until the fleet is exactly these workers.
    pub async fn until(&mut self, worker_ids: &[&str]) {
        while self.ids() != worker_ids {
            self.next().await;
        }
    }

    /// Reads updates until the whole fleet was sent once more.
    pub async fn until_reset(&mut self) {
        let before = self.n_resets;
        while self.n_resets == before {
            self.next().await;
        }
    }

    pub fn ids(&self) -> Vec<&str> {
        self.fleet.keys().map(String::as_str).collect()
    }

    pub fn has_nothing_to_tell(&mut self) -> bool {
        self.updates.next().now_or_never().is_none()
    }
}

pub async fn patiently<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// Polls, for conditions without an event to wait for.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !holds() {
            looks.tick().await;
        }
    };
    patiently(what, looking).await;
}
