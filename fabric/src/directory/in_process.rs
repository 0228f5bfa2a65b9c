//! Workers inside this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::{Directory, Registration, Update};

/// Embedded workers, which may come and go. Clones share one fleet.
#[derive(Debug, Clone)]
pub struct InProcess {
    /// The current workers, by id.
    fleet: Arc<watch::Sender<BTreeMap<String, Registration>>>,
}

// === impl InProcess ===

impl InProcess {
    /// No workers yet.
    pub fn new() -> Self {
        let (fleet, _) = watch::channel(BTreeMap::new());
        Self { fleet: Arc::new(fleet) }
    }

    /// Adds a worker, replacing any other with the same id.
    pub fn add(&self, worker: Registration) {
        self.fleet.send_modify(|fleet| {
            fleet.insert(worker.worker_id.clone(), worker);
        });
    }

    /// Removes a worker.
    pub fn remove(&self, worker_id: &str) {
        self.fleet.send_modify(|fleet| {
            fleet.remove(worker_id);
        });
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory for InProcess {
    fn kind(&self) -> &'static str {
        "in-process"
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn watch(&self) -> BoxStream<'static, Update> {
        let mut fleet = self.fleet.subscribe();
        fleet.mark_changed();
        // Every change is sent as a Reset: fleets inside one process are small, and a late watcher has nothing to
        // catch up with.
        stream::unfold(fleet, |mut fleet| async move {
            if fleet.changed().await.is_err() {
                // The directory is gone, and with it any way to add a worker.
                return std::future::pending().await;
            }
            let all = fleet.borrow_and_update().values().cloned().collect();
            Some((Update::Reset(all), fleet))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next_ids(updates: &mut BoxStream<'static, Update>) -> Vec<String> {
        let Some(Update::Reset(workers)) = updates.next().await else { panic!("no reset") };
        workers.into_iter().map(|worker| worker.worker_id).collect()
    }

    #[tokio::test]
    async fn a_watcher_sees_who_is_there_and_who_comes_and_goes() {
        let directory = InProcess::new();
        directory.add(Registration::at("a"));
        let mut updates = directory.watch();
        assert_eq!(next_ids(&mut updates).await, ["a"]);
        directory.add(Registration::at("b"));
        assert_eq!(next_ids(&mut updates).await, ["a", "b"]);
        directory.remove("a");
        assert_eq!(next_ids(&mut updates).await, ["b"]);
    }
}
