//! Workers behind a proxy that requires a token which coordinators do not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jury_coordinator::Config;
use jury_fabric::directory::Registration;
use jury_fabric::transport::{Channel, HealthHandle, Listener, ServerConfig, serve};
use jury_grm::domain::Status as VerdictStatus;
use jury_proto::v1::WorkerState;
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::v1::sampling_service_server::{SamplingService, SamplingServiceServer};
use jury_proto::v1::{self, SampleRequest, SampleResponse};
use jury_worker::backend::scripted::ScriptedBackend;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{Cluster, request};
use crate::workers::Workers;

/// A proxy in front of a worker.
#[derive(Clone)]
struct Proxy {
    worker: Channel,
    /// Whether it accepts calls of `GetInfo`, and all other calls.
    lets_in: Arc<[AtomicBool; 2]>,
    /// Calls that it rejected, except for `GetInfo`.
    n_turned_away: Arc<AtomicUsize>,
}

impl Proxy {
    fn set(&self, lets_in: [bool; 2]) {
        for (now, then) in self.lets_in.iter().zip(lets_in) {
            now.store(then, Ordering::Relaxed);
        }
    }

    fn n_turned_away(&self) -> usize {
        self.n_turned_away.load(Ordering::Relaxed)
    }
}

#[tonic::async_trait]
impl SamplingService for Proxy {
    type SampleStream = Streaming<SampleResponse>;

    async fn sample(
        &self,
        requests: Request<Streaming<SampleRequest>>,
    ) -> Result<Response<Self::SampleStream>, Status> {
        if !self.lets_in[1].load(Ordering::Relaxed) {
            self.n_turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Status::unauthenticated("the proxy wants a token"));
        }
        let requests = tokio_stream::StreamExt::filter_map(requests.into_inner(), Result::ok);
        SamplingServiceClient::new(self.worker.clone()).sample(requests).await
    }

    async fn rank(
        &self,
        _request: Request<v1::RankRequest>,
    ) -> Result<Response<v1::RankResponse>, Status> {
        Err(Status::unauthenticated("the proxy wants a token"))
    }

    async fn get_info(
        &self,
        request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        if !self.lets_in[0].load(Ordering::Relaxed) {
            return Err(Status::permission_denied("the proxy lets nobody in"));
        }
        SamplingServiceClient::new(self.worker.clone()).get_info(request).await
    }
}

/// A coordinator that reaches one worker through a proxy, and `others` directly. The worker behind the proxy is so
/// large that it is asked first.
async fn cluster(lets_in: [bool; 2], others: &[&str]) -> (Cluster, Proxy) {
    let roomy = ScriptedBackend::new().with_info(|info| info.capacity = 100_000);
    let mut backends = vec![("behind", roomy)];
    backends.extend(others.iter().map(|&id| (id, ScriptedBackend::new())));
    let workers = Workers::start(Duration::ZERO, &backends);
    let behind = workers.registrations[0].clone();
    let proxy = Proxy {
        worker: workers.connector.connect(&behind.address).expect("it is in this process"),
        lets_in: Arc::default(),
        n_turned_away: Arc::default(),
    };
    proxy.set(lets_in);
    let (address, incoming) = workers.connector.open("proxy");
    let routes = Routes::new(SamplingServiceServer::new(proxy.clone()));
    let listener = Listener::InProcess(incoming);
    let health = HealthHandle::new(&[]);
    tokio::spawn(serve(routes, health, listener, workers.stop.clone(), ServerConfig::default()));
    workers.directory.remove(&behind.worker_id);
    workers.directory.add(Registration { worker_id: "proxied".to_owned(), address, ..behind });
    let n_ready = others.len() + usize::from(lets_in[0]);
    (Cluster::coordinate(Config::default(), workers, n_ready).await, proxy)
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_turns_calls_away_is_not_tried_for_ever_and_the_status_says_why() {
    let (cluster, proxy) = cluster([true, false], &["other"]).await;
    for _ in 0..10 {
        let verdict = cluster.score(request(8)).await.unwrap();
        assert_eq!((verdict.status, verdict.run.reissued), (VerdictStatus::Ok, 0));
        assert_eq!(verdict.run.workers, ["other"]);
        let (state, why) = cluster.state("proxied");
        assert_eq!(state, WorkerState::Refused);
        assert!(why.contains("does not let this coordinator in: the proxy wants a token"), "{why}");
        // Meanwhile it is asked what it serves, and answers.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    assert!(proxy.n_turned_away() <= 2, "{} calls of two orders", proxy.n_turned_away());
    proxy.set([true, true]);
    while !cluster.is_ready("proxied") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let verdict = cluster.score(request(8)).await.unwrap();
    assert!(verdict.run.workers.contains(&"proxied".to_owned()), "{:?}", verdict.run);
}

#[tokio::test(start_paused = true)]
async fn where_every_worker_turns_calls_away_the_verdict_says_so() {
    let (cluster, proxy) = cluster([true, false], &[]).await;
    let verdict = cluster.score(request(8)).await.unwrap();
    assert_eq!(verdict.status, VerdictStatus::Unscored);
    let reason = verdict.reasons[0].clone().unwrap();
    assert!(reason.detail.contains("the proxy wants a token"), "{reason:?}");
    assert!(proxy.n_turned_away() <= 2, "{} calls of two orders", proxy.n_turned_away());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_even_tell_what_it_serves_is_refused_until_it_does() {
    let (cluster, proxy) = cluster([false, true], &[]).await;
    while cluster.state("proxied").0 != WorkerState::Refused {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, why) = cluster.state("proxied");
    assert!(why.contains("the proxy lets nobody in; a worker asks for no token"), "{why}");
    let verdict = cluster.score(request(2)).await.unwrap();
    let reason = verdict.reasons[0].clone().unwrap();
    assert!(reason.detail.contains("the proxy lets nobody in"), "{reason:?}");
    proxy.set([true, true]);
    while !cluster.is_ready("proxied") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(cluster.score(request(2)).await.unwrap().status, VerdictStatus::Ok);
}
