//! A worker leaves: in order, cut off at the end of its grace period, or with its backend.

use std::time::Duration;

use futures::StreamExt;
use jury_fabric::connector::Connector;
use jury_fabric::directory::{Directory, Update};
use jury_fabric::transport::{HealthHandle, Listener};
use jury_grm::domain::FailureKind;
use jury_proto::v1::sample_response::Event;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::{ErrorCode, JuryError, v1};
use jury_worker::backend::scripted::{ScriptedBackend, example_group};
use jury_worker::heads::Heads;
use jury_worker::run::{Announce, SERVICE_NAME, WorkerError, run};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, failed, finished_index, held, worker};

#[tokio::test]
async fn a_shutdown_leaves_in_order_and_lets_running_samples_finish() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(1)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.wait_until_announced().await;
    assert!(cluster.health.is_serving());

    let mut updates = cluster.directory.watch();
    cluster.shutdown.cancel();
    loop {
        match updates.next().await.unwrap() {
            Update::Removed(_) => break,
            Update::Reset(fleet) if fleet.is_empty() => break,
            _ => {}
        }
    }
    assert!(!cluster.health.is_serving(), "not serving before the registration is withdrawn");

    // Once it has withdrawn, it admits no new calls; the call that is running continues.
    let refused = loop {
        match cluster.call(example_group(1)).await {
            Err(error) => break error,
            Ok(admitted) => drop(admitted),
        }
    };
    assert_eq!(refused.code, ErrorCode::ShuttingDown);
    let asked = cluster.client.clone().get_info(v1::GetInfoRequest {}).await;
    let code = JuryError::from(asked.unwrap_err()).code;
    assert_eq!(code, ErrorCode::ShuttingDown, "a coordinator that only asks must learn it too");
    cluster.script.release_all();
    assert_eq!(finished_index(&call.event().await), 0);
    drop(call);
    cluster.ended.await.unwrap().unwrap();
}

/// Silent clients must not use up the time that drained calls have for flushing, let alone the grace period.
#[tokio::test]
async fn a_worker_with_nothing_in_flight_leaves_within_three_seconds_whoever_stays_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (health, grace) = (HealthHandle::new(&[SERVICE_NAME]), Duration::from_secs(60));
    let worker = worker(ScriptedBackend::new(), Heads::default(), Announce::Nowhere, health, grace);
    let ended = tokio::spawn(run(worker, Listener::Tcp(listener), shutdown.clone()));
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut half_a_preface = TcpStream::connect(address).await.unwrap();
    half_a_preface.write_all(b"PRI * HTTP").await.unwrap();
    let channel = Connector::new().connect(&format!("http://{address}")).unwrap();
    let mut idle = SamplingServiceClient::new(channel);
    // Connections are accepted in order: all are open when this is answered.
    idle.get_info(v1::GetInfoRequest {}).await.unwrap();

    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    shutdown.cancel();
    ended.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn samples_that_outlive_the_grace_are_cut_with_a_typed_error() {
    let cluster = Cluster::start_with_grace(held(), Duration::ZERO);
    let mut call = cluster.call(example_group(2)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.shutdown.cancel();
    assert_eq!(call.next().await.unwrap_err().code, ErrorCode::ShuttingDown);
    cluster.script.wait_for_cancels(2).await;
    cluster.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_backend_fails_its_callers_and_ends_the_worker() {
    let cluster = Cluster::start(held());
    let mut call = cluster.call(example_group(2)).await.unwrap();
    assert!(matches!(call.event().await, Event::Accepted(_)));
    cluster.script.die("out of luck");
    for index in [0, 1] {
        assert_eq!(failed(&call.event().await), (index, FailureKind::Worker));
    }
    let error = cluster.ended.await.unwrap().unwrap_err();
    assert!(matches!(error, WorkerError::BackendDied(why) if &*why == "out of luck"));
    assert!(!cluster.health.is_serving());
}
