//! The directory in Kubernetes, against a fake API server that speaks the real wire format, and against its failures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake_api;
#[path = "../etcd/laws.rs"]
mod laws;
#[path = "../etcd/watcher.rs"]
mod watcher;

use jury_fabric::directory::{Directory, Kubernetes, KubernetesConfig, KubernetesError, Update};

use fake_api::{FakeApi, SERVICE};
use laws::Stage;
use watcher::{Watcher, eventually};

laws! {
    crate::Cluster::start().await;
    a_watcher_is_told_who_is_there_and_who_comes_and_goes,
    watchers_that_come_at_different_times_know_the_same,
    a_worker_that_restarts_under_its_name_is_another,
    an_outage_leaves_the_fleet_as_it_was_and_no_ghosts_after_it,
}

struct Cluster {
    api: FakeApi,
    directory: Kubernetes,
}

impl Cluster {
    async fn start() -> Self {
        let api = FakeApi::start();
        let directory = Kubernetes::new(&config(&api)).await.unwrap();
        Self { api, directory }
    }

    async fn with(pods: &[&str]) -> Self {
        let mut cluster = Self::start().await;
        for pod in pods {
            cluster.add(pod).await;
        }
        cluster
    }
}

impl Stage for Cluster {
    fn directory(&self) -> &dyn Directory {
        &self.directory
    }

    async fn add(&mut self, id: &str) {
        self.api.put_pod(id, "first", true);
    }

    async fn remove(&mut self, id: &str) {
        self.api.remove_pod(id);
    }

    async fn restart(&mut self, id: &str) {
        self.api.put_pod(id, "second", true);
    }

    async fn outage(&mut self, gone: &str, came: &str) {
        self.api.stop();
        self.remove(gone).await;
        self.add(came).await;
        self.api.compact(false);
        self.api.start_again();
    }
}

fn config(api: &FakeApi) -> KubernetesConfig {
    KubernetesConfig {
        service: SERVICE.parse().unwrap(),
        port: "grpc".to_owned(),
        tls: false,
        kubeconfig: Some(api.kubeconfig()),
    }
}

fn watches(api: &FakeApi) -> usize {
    api.requests().iter().filter(|asked| asked.starts_with("watch")).count()
}

async fn watched(cluster: &Cluster, n_times: usize) {
    eventually("a watch", || watches(&cluster.api) >= n_times).await;
}

#[tokio::test]
async fn a_list_of_several_pages_is_one_fleet() {
    let cluster = Cluster::with(&["a", "b", "c", "d", "e"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    assert!(matches!(watcher.next().await, Update::Reset(all) if all.len() == 5));
    assert_eq!(cluster.api.requests()[..3], ["list", "page", "page"]);
    assert_eq!(watcher.fleet["a"].address, "http://10.0.0.97:7481");
}

#[tokio::test]
async fn a_page_that_comes_too_late_begins_the_list_anew() {
    let cluster = Cluster::with(&["a", "b", "c"]).await;
    cluster.api.expire_next_page();
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a", "b", "c"]).await;
    assert_eq!(cluster.api.requests()[..4], ["list", "page", "list", "page"]);
}

#[tokio::test]
async fn a_pod_is_there_while_it_is_ready() {
    let cluster = Cluster::with(&["a"]).await;
    cluster.api.put_pod("b", "first", false);
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until_reset().await;
    assert_eq!(watcher.ids(), ["a"]);
    cluster.api.put_pod("b", "first", true);
    watcher.until(&["a", "b"]).await;
    cluster.api.put_pod("a", "first", false);
    assert_eq!(watcher.next().await, Update::Removed("a".to_owned()));
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was_and_nothing_is_told_twice() {
    let mut cluster = Cluster::with(&["a"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a"]).await;
    watched(&cluster, 1).await;
    cluster.api.end_watches();
    cluster.add("b").await;
    watcher.until(&["a", "b"]).await;
    assert_eq!(watcher.n_resets, 1);
    assert_eq!(cluster.api.requests().iter().filter(|asked| *asked == "list").count(), 1);
}

#[tokio::test]
async fn a_server_that_was_away_is_asked_for_what_was_missed_alone() {
    let mut cluster = Cluster::with(&["a", "b"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a", "b"]).await;
    watched(&cluster, 1).await;
    cluster.api.stop();
    eventually("loss of the server", || !cluster.directory.is_connected()).await;
    assert!(watcher.has_nothing_to_tell(), "the last known fleet stays");
    cluster.remove("a").await;
    cluster.api.start_again();
    assert_eq!(watcher.next().await, Update::Removed("a".to_owned()));
    assert!(cluster.directory.is_connected());
}

#[tokio::test]
async fn a_server_that_is_back_and_has_nothing_to_say_counts_as_reached() {
    let mut cluster = Cluster::with(&["a"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a"]).await;
    watched(&cluster, 1).await;
    cluster.api.stop();
    eventually("loss of the server", || !cluster.directory.is_connected()).await;
    cluster.api.start_again();
    eventually("return of the server", || cluster.directory.is_connected()).await;
    assert!(watcher.has_nothing_to_tell());
}

#[tokio::test]
async fn a_version_that_is_gone_begins_anew_however_that_is_said() {
    for gone_is_status in [true, false] {
        let mut cluster = Cluster::with(&["a", "ghost"]).await;
        let mut watcher = Watcher::start(&cluster.directory);
        watcher.until(&["a", "ghost"]).await;
        watched(&cluster, 1).await;
        cluster.api.stop();
        cluster.remove("ghost").await;
        cluster.api.compact(gone_is_status);
        cluster.api.start_again();
        assert!(matches!(watcher.next().await, Update::Reset(all) if all.len() == 1));
    }
}

#[tokio::test]
async fn a_version_that_is_gone_in_the_middle_of_a_watch_begins_anew() {
    let mut cluster = Cluster::with(&["a"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a"]).await;
    watched(&cluster, 1).await;
    cluster.api.gone_mid_watch();
    watcher.until_reset().await;
    cluster.add("b").await;
    watcher.until(&["a", "b"]).await;
}

#[tokio::test]
async fn a_bookmark_keeps_the_place_of_a_watch_that_has_nothing_to_tell() {
    let mut cluster = Cluster::with(&["a"]).await;
    let mut watcher = Watcher::start(&cluster.directory);
    watcher.until(&["a"]).await;
    watched(&cluster, 1).await;
    cluster.api.change_something_else();
    cluster.api.bookmark();
    // Once the following event has been read, the bookmark has been read as well.
    cluster.add("b").await;
    watcher.until(&["a", "b"]).await;
    cluster.api.change_something_else();
    cluster.api.bookmark();
    cluster.api.compact(true);
    cluster.api.end_watches();
    watched(&cluster, 2).await;
    cluster.add("c").await;
    watcher.until(&["a", "b", "c"]).await;
    assert_eq!(watcher.n_resets, 1, "{:?}", cluster.api.requests());
}

#[tokio::test]
async fn a_server_that_forbids_it_is_asked_again() {
    let cluster = Cluster::with(&["a"]).await;
    cluster.api.forbid();
    let mut watcher = Watcher::start(&cluster.directory);
    tokio::task::yield_now().await;
    assert!(watcher.has_nothing_to_tell() && !cluster.directory.is_connected());
    cluster.api.rotate_token("first");
    watcher.until(&["a"]).await;
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_refused() {
    let api = FakeApi::start();
    std::fs::write(api.kubeconfig(), "clusters: 7").unwrap();
    let refused = Kubernetes::new(&config(&api)).await.err().unwrap();
    assert!(matches!(refused, KubernetesError::Kubeconfig(_)), "{refused}");
}
