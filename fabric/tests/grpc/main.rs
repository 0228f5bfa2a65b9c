//! Channels and servers: in memory where time can be paused, over TCP where ports matter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod aging;
mod authority;
mod leaving;
mod probe;
mod raw;
mod secure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jury_fabric::connector::Connector;
use jury_fabric::telemetry::{LogConfig, LogFormat};
use jury_fabric::transport::{
    self, Channel, HealthHandle, Listener, ServeError, ServerConfig, in_process,
};
use jury_fabric::{telemetry, trace};
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::v1::{Item, ScoreRequest};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use probe::{Probe, SERVICE};

const GRACE: Duration = Duration::from_secs(5);

/// A running server, and the handles that a test uses to control it.
struct Server {
    probe: Probe,
    health: HealthHandle,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    fn start(listener: Listener) -> Self {
        Self::start_with(listener, &ServerConfig::default())
    }

    fn start_with(listener: Listener, config: &ServerConfig) -> Self {
        let (routes, probe) = Probe::new();
        let health = HealthHandle::new(&[SERVICE]);
        let shutdown = CancellationToken::new();
        let config = ServerConfig { grace: GRACE, ..config.clone() };
        let serving = transport::serve(routes, health.clone(), listener, shutdown.clone(), config);
        Self { probe, health, shutdown, serving: tokio::spawn(serving) }
    }

    fn in_process() -> (Channel, Self) {
        let (channel, incoming) = in_process();
        (channel, Self::start(Listener::InProcess(incoming)))
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn request(item_id: &str) -> ScoreRequest {
    let item = Item { id: item_id.to_owned(), ..Item::default() };
    ScoreRequest { item: Some(item), ..ScoreRequest::default() }
}

/// Calls `score` in its own task; the answer is the item's id.
fn score(channel: &Channel, item_id: &str) -> JoinHandle<Result<String, tonic::Status>> {
    let mut client = RewardServiceClient::new(channel.clone());
    let request = request(item_id);
    tokio::spawn(async move {
        let response = client.score(request).await?.into_inner();
        Ok(response.verdict.unwrap().item_id)
    })
}

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(channel.clone()).check(request).await?.into_inner().status())
}

#[tokio::test]
async fn a_call_inside_the_process_is_answered() {
    let (channel, mut server) = Server::in_process();
    server.probe.answers.add_permits(1);
    assert_eq!(score(&channel, "x").await.unwrap().unwrap(), "x");
    assert!(server.probe.arrivals.recv().await.is_some());
    server.end().await;
}

#[tokio::test]
async fn a_call_to_an_embedded_server_that_has_ended_is_unavailable() {
    let (channel, server) = Server::in_process();
    server.end().await;
    assert_eq!(score(&channel, "x").await.unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_embedded_server_ends_with_its_last_channel() {
    let (channel, server) = Server::in_process();
    server.health.set_serving();
    check(&channel, "").await.unwrap();
    drop(channel);
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn health_tells_when_new_work_is_welcome() {
    let (channel, server) = Server::in_process();
    for service in ["", SERVICE] {
        assert_eq!(check(&channel, service).await.unwrap(), ServingStatus::NotServing);
    }
    server.health.set_serving();
    for service in ["", SERVICE] {
        assert_eq!(check(&channel, service).await.unwrap(), ServingStatus::Serving);
    }
    server.health.set_not_serving();
    assert_eq!(check(&channel, SERVICE).await.unwrap(), ServingStatus::NotServing);
    assert_eq!(check(&channel, "another").await.unwrap_err().code(), Code::NotFound);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_health_watch_sees_every_change_and_does_not_hold_up_the_end() {
    let (channel, server) = Server::in_process();
    server.health.set_serving();
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.health.set_not_serving();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let before = tokio::time::Instant::now();
    server.end().await;
    assert!(before.elapsed() < GRACE);
    assert!(watch.next().await.is_none(), "the watch ends, it is not cut");
}

#[tokio::test]
async fn reflection_lists_what_this_server_serves() {
    let (channel, server) = Server::in_process();
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let describe = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(SERVICE.to_owned())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let requests = futures::stream::iter([list, describe]);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let mut next = async || answers.next().await.unwrap().unwrap().message_response.unwrap();

    let MessageResponse::ListServicesResponse(listed) = next().await else { panic!("no list") };
    let mut names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", SERVICE];
    assert_eq!(names, expected);
    assert!(matches!(next().await, MessageResponse::FileDescriptorResponse(_)));
    drop(client);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_running_call_finishes_within_the_grace() {
    let (channel, mut server) = Server::in_process();
    let running = score(&channel, "x");
    server.probe.arrivals.recv().await.unwrap();
    server.shutdown.cancel();
    // The server has seen the shutdown once it refuses new calls. tonic reports CANCELLED for a call that was never
    // sent because its connection is closing, and UNAVAILABLE for one without a connection.
    let refusal = score(&channel, "late").await.unwrap().unwrap_err();
    assert!(matches!(refusal.code(), Code::Cancelled | Code::Unavailable), "{refusal:?}");
    server.probe.answers.add_permits(1);
    assert_eq!(running.await.unwrap().unwrap(), "x");
    let before = tokio::time::Instant::now();
    server.serving.await.unwrap().unwrap();
    assert!(before.elapsed() < GRACE, "a drained server does not wait for its grace to end");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_the_grace_is_cut() {
    let (channel, mut server) = Server::in_process();
    let endless = score(&channel, "x");
    server.probe.arrivals.recv().await.unwrap();
    let answers = Arc::downgrade(&server.probe.answers);
    let before = tokio::time::Instant::now();
    server.end().await;
    assert!(before.elapsed() >= GRACE);
    assert!(endless.await.unwrap().is_err());
    // Nothing holds the service any more: the handler was dropped, not left running.
    while answers.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_the_callers_mistake() {
    let (channel, server) = Server::in_process();
    // ScoreRequest { model (field 2): two bytes that are not UTF-8 }.
    let message = vec![0x12, 0x02, 0xff, 0xfe];
    let error = raw::call(channel, "/jury.v1.RewardService/Score", message).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.message().contains("model"), "{error}");
    server.end().await;
}

#[tokio::test]
async fn the_trace_of_the_caller_arrives() {
    let logs = LogConfig { format: LogFormat::Text, filter: "off".to_owned() };
    let _telemetry = telemetry::start(logs, None).unwrap();
    let (channel, mut server) = Server::in_process();
    server.probe.answers.add_permits(2);
    let mut client = RewardServiceClient::new(channel);

    let mut callers = MetadataMap::new();
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    callers.insert("traceparent", header.parse().unwrap());
    let call = trace::server_span("p.S/M", &callers).in_scope(|| trace::outgoing(request("x")));
    client.score(call).await.unwrap();
    let arrived = server.probe.arrivals.recv().await.unwrap().unwrap();
    assert!(arrived.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{arrived}");

    client.score(trace::outgoing(request("x"))).await.unwrap();
    assert_eq!(server.probe.arrivals.recv().await.unwrap(), None, "the server starts a trace");
    server.end().await;
}

async fn bind_any() -> (SocketAddr, TcpListener) {
    let listener = transport::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn a_channel_finds_a_server_that_starts_later_and_one_that_restarts() {
    let (address, listener) = bind_any().await;
    drop(listener);
    let channel = Connector::new().connect(&address.to_string()).unwrap();
    assert_eq!(check(&channel, "").await.unwrap_err().code(), Code::Unavailable);

    for _ in 0..2 {
        let listener = transport::bind(address).await.unwrap();
        let server = Server::start(Listener::Tcp(listener));
        server.health.set_serving();
        assert_eq!(check(&channel, "").await.unwrap(), ServingStatus::Serving);
        server.end().await;
        assert_eq!(check(&channel, "").await.unwrap_err().code(), Code::Unavailable);
    }
}

/// Status line and the rest of the answer to `GET path`.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: jury\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http() {
    let (address, listener) = bind_any().await;
    let mut registry = Registry::default();
    let served: Counter = Counter::default();
    registry.register("jury_probe_calls", "Calls", served.clone());
    served.inc();
    let health = HealthHandle::new(&[]);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(telemetry::serve_metrics(
        listener,
        Arc::new(registry),
        health.clone(),
        shutdown.clone(),
    ));

    let metrics = get(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(metrics.contains("jury_probe_calls_total 1"), "{metrics}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 503"));
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"), "alive without serving");
    health.set_serving();
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn localhost_reaches_a_server_on_either_loopback_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else {
            continue; // a machine without IPv6
        };
        let port = listener.local_addr().unwrap().port();
        let _server = Server::start(Listener::Tcp(listener));
        let channel = Connector::new().connect(&format!("http://localhost:{port}")).unwrap();
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        let answer = HealthClient::new(channel).check(request).await;
        assert!(answer.is_ok(), "{address}: {answer:?}");
    }
}
