//! The laws of directories, applied to etcd.

use etcd_client::CompactionOptions;
use jury_fabric::directory::{Directory, Etcd, Registration};

use super::laws::Stage;
use super::private_etcd::PrivateEtcd;
use super::{PREFIX, directory_of, worker};

crate::laws! {
    crate::stage::EtcdStage::start();
    a_watcher_is_told_who_is_there_and_who_comes_and_goes,
    watchers_that_come_at_different_times_know_the_same,
    a_worker_that_restarts_under_its_name_is_another,
    an_outage_leaves_the_fleet_as_it_was_and_no_ghosts_after_it,
}

pub struct EtcdStage {
    etcd: PrivateEtcd,
    directory: Etcd,
}

impl EtcdStage {
    pub fn start() -> Self {
        let etcd = PrivateEtcd::start();
        let directory = directory_of(&etcd);
        Self { etcd, directory }
    }

    async fn put(&self, worker: &Registration) {
        let key = format!("{PREFIX}{}", worker.worker_id);
        let value = serde_json::to_vec(worker).unwrap();
        self.etcd.client().await.put(key, value, None).await.unwrap();
    }
}

impl Stage for EtcdStage {
    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    async fn add(&mut self, id: &str) {
        self.put(&worker(id)).await;
    }

    async fn remove(&mut self, id: &str) {
        self.etcd.client().await.delete(format!("{PREFIX}{id}"), None).await.unwrap();
    }

    async fn restart(&mut self, id: &str) {
        self.put(&Registration { address: "http://elsewhere:7711".to_owned(), ..worker(id) }).await;
    }

    async fn outage(&mut self, gone: &str, came: &str) {
        self.etcd.restart();
        self.remove(gone).await;
        self.add(came).await;
        let mut client = self.etcd.client().await;
        let revision = client.get(PREFIX, None).await.unwrap().header().unwrap().revision();
        let physical = CompactionOptions::new().with_physical();
        client.compact(revision, Some(physical)).await.unwrap();
    }
}
