//! The directory against a real etcd, and against its failures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../grpc/authority.rs"]
mod authority;
mod holding_proxy;
mod in_process;
mod laws;
mod private_etcd;
mod secure;
mod stage;
mod watcher;

use std::time::Duration;

use etcd_client::{CompactionOptions, GetOptions};
use jury_fabric::directory::{Directory, Etcd, EtcdConfig, Registration, Update, WorkerRole};

use holding_proxy::HoldingProxy;
use private_etcd::PrivateEtcd;
use watcher::{Watcher, eventually, patiently};

const PREFIX: &str = "/jury/v1/test/workers/";

fn directory_at(endpoints: Vec<String>) -> Etcd {
    // The shortest lease: the longest wait in these tests is for one to end.
    let lease_ttl = Duration::from_secs(2);
    Etcd::new(&EtcdConfig { lease_ttl, ..EtcdConfig::new(endpoints, "test") }).unwrap()
}

fn directory_of(etcd: &PrivateEtcd) -> Etcd {
    directory_at(vec![etcd.endpoint()])
}

fn worker(id: &str) -> Registration {
    Registration {
        worker_id: id.to_owned(),
        model: "a-model".to_owned(),
        roles: vec![WorkerRole::Grm],
        capacity: 8,
        ..Registration::at(format!("http://{id}:7711"))
    }
}

async fn lease_of(etcd: &PrivateEtcd, worker_id: &str) -> i64 {
    let found = etcd.client().await.get(format!("{PREFIX}{worker_id}"), None).await.unwrap();
    found.kvs().first().expect("the worker is there").lease()
}

#[tokio::test]
async fn workers_appear_with_their_facts_and_disappear_when_withdrawn() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let mut watcher = Watcher::start(&directory);
    assert_eq!(watcher.next().await, Update::Reset(vec![]));

    let a = directory.register(worker("a"));
    let _b = directory.register(worker("b"));
    watcher.until(&["a", "b"]).await;
    assert_eq!(watcher.fleet["a"], worker("a"));
    assert!(directory.is_connected());

    patiently("withdrawal", a.withdraw()).await;
    assert_eq!(watcher.next().await, Update::Removed("a".to_owned()));

    let mut late = Watcher::start(&directory);
    assert_eq!(late.next().await, Update::Reset(vec![worker("b")]));
}

#[tokio::test]
async fn clusters_that_share_an_etcd_never_see_each_other() {
    let etcd = PrivateEtcd::start();
    let other = Etcd::new(&EtcdConfig::new(vec![etcd.endpoint()], "test-2")).unwrap();
    let _stranger = other.register(worker("stranger"));
    Watcher::start(&other).until(&["stranger"]).await;
    let mut watcher = Watcher::start(&directory_of(&etcd));
    assert_eq!(watcher.next().await, Update::Reset(vec![]));
}

#[tokio::test]
async fn a_worker_that_vanishes_without_a_word_is_removed_when_its_lease_ends() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let handle = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;
    drop(handle);
    watcher.until(&[]).await;
}

#[tokio::test]
async fn an_etcd_that_is_killed_and_restarted_leaves_the_fleet_as_it_was() {
    let mut etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let mut a = directory.register(worker("a"));
    let mut b = directory.register(worker("b"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a", "b"]).await;

    etcd.kill();
    eventually("loss of etcd", || !directory.is_connected()).await;
    eventually("loss by the workers", || !a.is_registered() && !b.is_registered()).await;
    assert!(watcher.has_nothing_to_tell(), "the last known fleet stays");

    etcd.restart();
    watcher.until_reset().await;
    watcher.until(&["a", "b"]).await;
    assert!(directory.is_connected());
    patiently("registration", a.wait_registered()).await;
    patiently("registration", b.wait_registered()).await;
}

#[tokio::test]
async fn an_etcd_that_lost_its_data_is_filled_again() {
    let mut etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let _a = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;

    etcd.kill();
    etcd.lose_data();
    etcd.restart();
    watcher.until_reset().await;
    watcher.until(&["a"]).await;
}

#[tokio::test]
async fn an_etcd_that_is_away_at_the_start_is_waited_for() {
    let mut etcd = PrivateEtcd::not_yet_started();
    let directory = directory_of(&etcd);
    let _a = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    tokio::task::yield_now().await;
    assert!(!directory.is_connected());
    assert!(watcher.has_nothing_to_tell());

    etcd.restart();
    watcher.until(&["a"]).await;
}

#[tokio::test]
async fn a_dead_member_of_etcd_is_gone_around() {
    let dead = PrivateEtcd::not_yet_started();
    let alive = PrivateEtcd::start();
    let directory = directory_at(vec![dead.endpoint(), alive.endpoint()]);
    let _a = directory.register(worker("a"));
    Watcher::start(&directory).until(&["a"]).await;
}

#[tokio::test]
async fn a_worker_whose_lease_was_revoked_registers_anew() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let _a = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;

    let first_lease = lease_of(&etcd, "a").await;
    etcd.client().await.lease_revoke(first_lease).await.unwrap();
    assert_eq!(watcher.next().await, Update::Removed("a".to_owned()));
    assert_eq!(watcher.next().await, Update::Added(worker("a")));
    assert_ne!(lease_of(&etcd, "a").await, first_lease);
}

#[tokio::test]
async fn a_worker_whose_key_was_deleted_puts_it_back() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let _a = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;

    etcd.client().await.delete(format!("{PREFIX}a"), None).await.unwrap();
    assert_eq!(watcher.next().await, Update::Removed("a".to_owned()));
    assert_eq!(watcher.next().await, Update::Added(worker("a")));
}

#[tokio::test]
async fn of_two_workers_under_one_id_the_later_holds_it_until_it_leaves() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let mut earlier = directory.register(worker("a"));
    patiently("registration", earlier.wait_registered()).await;
    let replacement = Registration { address: "http://elsewhere:7711".to_owned(), ..worker("a") };
    let mut later = directory.register(replacement.clone());
    patiently("registration", later.wait_registered()).await;
    eventually("news for the earlier", || !earlier.is_registered()).await;
    assert!(later.is_registered());

    let mut watcher = Watcher::start(&directory);
    assert_eq!(watcher.next().await, Update::Reset(vec![replacement]));
    patiently("withdrawal", later.withdraw()).await;
    watcher.until(&[]).await;
    assert_eq!(watcher.next().await, Update::Added(worker("a")));
}

#[tokio::test]
async fn a_restarted_worker_is_not_removed_by_the_end_of_its_former_lease() {
    let etcd = PrivateEtcd::start();
    let directory = directory_of(&etcd);
    let mut former = directory.register(worker("a"));
    patiently("registration", former.wait_registered()).await;
    let former_lease = lease_of(&etcd, "a").await;
    drop(former);
    let mut anew = directory.register(worker("a"));
    patiently("registration", anew.wait_registered()).await;

    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;
    etcd.client().await.lease_revoke(former_lease).await.unwrap();
    // A change made after the end of the former lease is reported after it.
    let _b = directory.register(worker("b"));
    assert_eq!(watcher.next().await, Update::Added(worker("b")));
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_skipped_and_the_others_stay() {
    let etcd = PrivateEtcd::start();
    let mut client = etcd.client().await;
    client.put(format!("{PREFIX}before"), "not JSON", None).await.unwrap();
    let directory = directory_of(&etcd);
    let _a = directory.register(worker("a"));
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a"]).await;

    client.put(format!("{PREFIX}during"), vec![0xff, 0xfe], None).await.unwrap();
    let _b = directory.register(worker("b"));
    assert_eq!(watcher.next().await, Update::Added(worker("b")));
}

#[tokio::test]
async fn a_watch_that_etcd_has_compacted_away_starts_over_and_leaves_no_ghosts() {
    let etcd = PrivateEtcd::start();
    let mut client = etcd.client().await;
    for id in ["a", "ghost"] {
        let value = serde_json::to_vec(&worker(id)).unwrap();
        client.put(format!("{PREFIX}{id}"), value, None).await.unwrap();
    }
    let proxy = HoldingProxy::before(etcd.address()).await;
    let directory = directory_at(vec![proxy.endpoint()]);
    let mut watcher = Watcher::start(&directory);
    watcher.until(&["a", "ghost"]).await;

    // The list has arrived; the request for the watch that continues it is still being held.
    patiently("hold", proxy.wait_until_holding()).await;
    client.delete(format!("{PREFIX}ghost"), None).await.unwrap();
    let value = serde_json::to_vec(&worker("newcomer")).unwrap();
    client.put(format!("{PREFIX}newcomer"), value, None).await.unwrap();
    let now = client.get(PREFIX, Some(GetOptions::new().with_prefix())).await.unwrap();
    let revision = now.header().unwrap().revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.unwrap();
    proxy.release();

    let update = watcher.next().await;
    assert_eq!(update, Update::Reset(vec![worker("a"), worker("newcomer")]));
}

#[tokio::test]
async fn a_list_made_now_and_then_repairs_what_the_watch_has_not_told() {
    let etcd = PrivateEtcd::start();
    let relist_every = Duration::from_millis(50);
    let config = EtcdConfig { relist_every, ..EtcdConfig::new(vec![etcd.endpoint()], "test") };
    let directory = Etcd::new(&config).unwrap();
    let mut watcher = Watcher::start(&directory);
    watcher.until_reset().await;
    // Lists and watch run concurrently here: every change is reported exactly once.
    let mut handles = Vec::new();
    for n in 0..20 {
        handles.push(directory.register(worker(&format!("w{n:02}"))));
    }
    for _ in 0..20 {
        assert!(matches!(watcher.next().await, Update::Added(_)));
    }
    for handle in handles {
        patiently("withdrawal", handle.withdraw()).await;
    }
    for _ in 0..20 {
        assert!(matches!(watcher.next().await, Update::Removed(_)));
    }
    assert_eq!((watcher.n_resets, watcher.fleet.len()), (1, 0));
}
