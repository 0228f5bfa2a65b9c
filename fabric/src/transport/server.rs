//! Serves gRPC until told to stop.
//!
//! ```text
//! accept ... -> shutdown -> no new connections, GOAWAY on the open ones
//!                        -> running calls finish, at most `grace` long
//!                        -> no call runs and nothing is written for a second: the rest is closed
//!                        -> the grace is over: whatever is left is cut, and counted in the log
//! ```
//!
//! A client that is connected and silent, even in the middle of HTTP/2's preface, holds up nothing: only calls do.
//!
//! Before it cancels `shutdown`, the caller sets NOT_SERVING, leaves the directory and closes its admission; the
//! server does none of that.

use std::io;
use std::time::Duration;

use futures::stream::select_all;
use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tracing::{debug, warn};

use super::calls::Calls;
use super::idle::idle;
use super::listen::after_failed_accept;
use super::severable::{Connections, Severable};
use super::{HealthHandle, Listener, TlsListener};

/// How a server treats its connections.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Time that running calls have to finish once the shutdown begins.
    pub grace: Duration,
    /// Age at which a connection is asked to close after its running calls have finished, so that load balancers that
    /// pin connections redistribute them. Each connection's own limit is up to a fifth more or less, so that clients
    /// that came together do not leave together. `None`: no limit.
    pub max_connection_age: Option<Duration>,
    /// Most concurrent calls on one connection; further ones wait at the client.
    pub max_calls_per_connection: u32,
    /// Whether `grpcurl` may list the services.
    pub reflection: bool,
}

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is broken.
    #[error("the listener is broken: {0}")]
    Listener(#[from] io::Error),
    /// The descriptors compiled into the program cannot be read: an internal bug.
    #[error("gRPC reflection cannot start: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// An idle or silent connection is pinged this often.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// An unanswered ping ends the connection after this time: its client has vanished.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

// === impl ServerConfig ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            max_connection_age: None,
            max_calls_per_connection: 1024,
            reflection: true,
        }
    }
}

/// Serves `routes`, health and reflection on `listener` until `shutdown` is cancelled and running calls have ended,
/// or the `config.grace` period has.
///
/// An in-process server also ends when its channel is gone.
///
/// # Errors
/// [`ServeError`]. Cut calls are not an error: they are logged.
pub async fn serve(
    routes: Routes,
    health: HealthHandle,
    listener: Listener,
    shutdown: CancellationToken,
    config: ServerConfig,
) -> Result<(), ServeError> {
    let mut routes = routes.add_service(health.service());
    if config.reflection {
        routes = with_reflection(routes, health.services())?;
    }
    match listener {
        Listener::Tcp(listener) => {
            let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
            run(routes, health, connections, shutdown, &config).await;
        }
        Listener::Several(listeners) => {
            let each = listeners.into_iter();
            let each = each.map(|listener| TcpIncoming::from(listener).with_nodelay(Some(true)));
            run(routes, health, select_all(each), shutdown, &config).await;
        }
        Listener::Secure(listeners, tls) => {
            let each = listeners.into_iter();
            let each = each.map(|listener| TlsListener::grpc(listener, tls.clone()));
            let each = each.collect::<io::Result<Vec<_>>>()?;
            run(routes, health, select_all(each), shutdown, &config).await;
        }
        Listener::InProcess(connections) => {
            run(routes, health, connections, shutdown, &config).await;
        }
    }
    Ok(())
}

// === private ===

async fn run<Io>(
    routes: Routes,
    health: HealthHandle,
    connections: impl Stream<Item = io::Result<Io>>,
    shutdown: CancellationToken,
    config: &ServerConfig,
) where
    Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (open, calls) = (Connections::default(), Calls::new());
    let server = serve_each(routes, connections, &open, &calls, &shutdown, config);
    tokio::pin!(server);

    let grace_ended = async {
        shutdown.cancelled().await;
        // A health watch never ends by itself and would use up the whole grace.
        health.close();
        tokio::time::timeout(config.grace, idle(&calls, &open)).await
    };
    tokio::select! {
        () = &mut server => {
            debug!("server drained");
            return;
        }
        drained = grace_ended => match drained {
            Ok(()) => debug!(connections = open.open(), "no call runs, closing silent connections"),
            Err(_) if calls.running() == 0 => {
                debug!(connections = open.open(), "grace period ended without a call, closing connections");
            }
            Err(_) => warn!(
                calls_left = calls.running(),
                connections_left = open.open(),
                grace = ?config.grace,
                "grace period ended, cutting connections"
            ),
        },
    }
    open.cut();
    server.await;
}

/// Runs one server for each connection, because tonic applies one age limit to all connections of a server: clients
/// that came together would all be asked to leave together. Ends when there are no more connections, or after
/// `shutdown`, once the open ones have ended.
async fn serve_each<Io>(
    routes: Routes,
    connections: impl Stream<Item = io::Result<Io>>,
    open: &Connections,
    calls: &Calls,
    shutdown: &CancellationToken,
    config: &ServerConfig,
) where
    Io: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    // Also cancelled when the last channel of an in-process server is gone.
    let stop = shutdown.child_token();
    let mut servers = JoinSet::new();
    {
        tokio::pin!(connections);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = servers.join_next() => {}
                connection = connections.next() => match connection {
                    Some(Err(error)) => after_failed_accept(error).await,
                    Some(Ok(io)) => {
                        let (io, closed) = Severable::new(io, open);
                        // A server drains when its stream of connections ends, which must not happen while this one
                        // is open.
                        let only = stream::once(async { Ok::<_, io::Error>(io) });
                        let then = stream::once(closed.cancelled_owned()).filter_map(|()| async { None });
                        let mut builder = builder(config);
                        if let Some(age) = config.max_connection_age {
                            // No grace for the age: with one, tonic 0.14 cuts the connection without asking it to
                            // close first.
                            builder = builder.max_connection_age(spread(age, rand::random()));
                        }
                        let server = builder
                            .layer(calls.clone())
                            .add_routes(routes.clone())
                            .serve_with_incoming_shutdown(only.chain(then), stop.clone().cancelled_owned());
                        servers.spawn(server);
                    }
                    None => break,
                },
            }
        }
    }
    stop.cancel();
    // A server fails only when its stream of connections does, and each has one connection that is already open.
    while servers.join_next().await.is_some() {}
}

fn builder(config: &ServerConfig) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .max_concurrent_streams(config.max_calls_per_connection)
}

/// Between 80 % and 120 % of `age`; `chance` is uniform in 0..1.
fn spread(age: Duration, chance: f64) -> Duration {
    age.mul_f64(0.8 + 0.4 * chance)
}

/// Lists only what this server serves, not every service in the contracts. Supports both versions of the protocol,
/// because older tools know only v1alpha.
fn with_reflection(routes: Routes, services: &[String]) -> Result<Routes, ServeError> {
    let builder = || {
        let listed = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(jury_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        services.iter().fold(listed, |listed, name| listed.with_service_name(name))
    };
    let v1 = builder().with_service_name("grpc.reflection.v1.ServerReflection").build_v1()?;
    let v1alpha =
        builder().with_service_name("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}
