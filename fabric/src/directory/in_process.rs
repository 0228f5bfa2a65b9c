//! Workers inside this process: their channels are handed over instead of dialled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::{Directory, Registration, Update};
use crate::transport::AddressError;

/// Embedded workers, which may come and go. Clones share one fleet.
#[derive(Debug, Clone)]
pub struct InProcess {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The channel of every worker that was ever added, by id: a coordinator may still hold the
    /// registration of one that has left.
    channels: Mutex<BTreeMap<String, Channel>>,
    /// Who is there, by id.
    fleet: watch::Sender<BTreeMap<String, Registration>>,
}

// === impl InProcess ===

impl InProcess {
    /// No workers yet.
    pub fn new() -> Self {
        let (fleet, _) = watch::channel(BTreeMap::new());
        Self { shared: Arc::new(Shared { channels: Mutex::default(), fleet }) }
    }

    /// One worker, of which nothing is known but its channel: what `jury up` needs.
    pub fn with_worker(worker_id: &str, channel: Channel) -> Self {
        let directory = Self::new();
        directory.add(Registration::at(worker_id), channel);
        directory
    }

    /// Adds a worker that `channel` reaches, in place of any other of the same id.
    pub fn add(&self, worker: Registration, channel: Channel) {
        self.channels().insert(worker.worker_id.clone(), channel);
        self.shared.fleet.send_modify(|fleet| {
            fleet.insert(worker.worker_id.clone(), worker);
        });
    }

    /// Removes a worker from the fleet; its channel goes on working.
    pub fn remove(&self, worker_id: &str) {
        self.shared.fleet.send_modify(|fleet| {
            fleet.remove(worker_id);
        });
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<String, Channel>> {
        self.shared.channels.lock().expect("nothing panics while it holds this lock")
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
        let mut fleet = self.shared.fleet.subscribe();
        fleet.mark_changed();
        // Every change is told as a Reset: fleets inside one process are small, and a watcher that
        // comes late has nothing to catch up with.
        stream::unfold(fleet, |mut fleet| async move {
            if fleet.changed().await.is_err() {
                // The directory is gone, and with it whoever could add a worker.
                return std::future::pending().await;
            }
            let all = fleet.borrow_and_update().values().cloned().collect();
            Some((Update::Reset(all), fleet))
        })
        .boxed()
    }

    fn connect(&self, worker: &Registration) -> Result<Channel, AddressError> {
        self.channels().get(&worker.worker_id).cloned().ok_or_else(|| AddressError {
            address: worker.address.clone(),
            problem: "no embedded worker has this id",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::in_process;

    async fn next_ids(updates: &mut BoxStream<'static, Update>) -> Vec<String> {
        let Some(Update::Reset(workers)) = updates.next().await else { panic!("no reset") };
        workers.into_iter().map(|worker| worker.worker_id).collect()
    }

    #[tokio::test]
    async fn a_watcher_sees_who_is_there_and_who_comes_and_goes() {
        let (channel, _incoming) = in_process();
        let directory = InProcess::with_worker("a", channel.clone());
        let mut updates = directory.watch();
        assert_eq!(next_ids(&mut updates).await, ["a"]);
        directory.add(Registration::at("b"), channel);
        assert_eq!(next_ids(&mut updates).await, ["a", "b"]);
        directory.remove("a");
        assert_eq!(next_ids(&mut updates).await, ["b"]);
    }

    #[tokio::test]
    async fn only_an_embedded_worker_can_be_connected() {
        let (channel, _incoming) = in_process();
        let directory = InProcess::with_worker("a", channel);
        assert!(directory.connect(&Registration::at("a")).is_ok());
        assert!(directory.connect(&Registration::at("b")).is_err());
    }
}
