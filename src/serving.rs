//! What all server commands share: listeners, metrics, signals, shutdown.

mod stdin;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use futures::future::try_join_all;
use futures::{FutureExt, TryFutureExt};
use jury_coordinator::Coordinator;
use jury_fabric::shutdown::Shutdown;
use jury_fabric::telemetry::{register_losses, serve_metrics};
use jury_fabric::tls::{ServerTls, register_tls};
use jury_fabric::transport::{
    HealthHandle, ListenAddress, Listener, Reach, ServeError, ServerConfig, TlsListener, bind_all,
};
use jury_terminal::exit::{Exit, Failed, OrExit};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::{error, info};

use self::stdin::StdinWatch;
use crate::args::{ConnectionArgs, HttpArgs, ServeArgs};
use crate::tls::Listening;

/// The sockets of a server, bound before anything that takes long.
pub struct Sockets {
    grpc: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    tls: Listening,
    stdin: Option<StdinWatch>,
}

/// The sockets of the HTTP server; none without --http.
pub struct DoorSocket(Vec<TcpListener>, Option<ServerTls>);

// === impl Sockets ===

impl Sockets {
    /// Binds the addresses; fails at once if one is in use.
    pub async fn bind(listen: &ListenAddress, args: &ServeArgs) -> Result<Self, Failed> {
        let tls = Listening::open(&args.tls)?;
        let stdin = args.stop_with_stdin.then(StdinWatch::start);
        let grpc = bind_all(listen).await.context("--listen").or_exit(Exit::Unavailable)?;
        let metrics = match &args.metrics_listen {
            Some(address) => {
                bind_all(address).await.context("--metrics-listen").or_exit(Exit::Unavailable)?
            }
            None => Vec::new(),
        };
        Ok(Self { grpc, metrics, tls, stdin })
    }

    /// The first address that gRPC is served on, with its actual port.
    pub fn address(&self) -> Result<SocketAddr, Failed> {
        let first = self.grpc.first().context("nothing is listened on").or_exit(Exit::Internal)?;
        first.local_addr().or_exit(Exit::Internal)
    }

    /// The listener for gRPC.
    pub fn into_listener(self) -> Listener {
        match self.tls.main {
            Some(tls) => Listener::Secure(self.grpc, tls),
            None => Listener::Several(self.grpc),
        }
    }

    /// TLS of the listeners.
    pub fn tls(&self) -> &Listening {
        &self.tls
    }

    /// Logs the addresses, and serves the metrics until the process ends; `health` is what `/healthz` returns.
    pub fn announce(
        &mut self,
        registry: Registry,
        health: &HealthHandle,
        shutdown: &Shutdown,
    ) -> Result<(), Failed> {
        self.serve_metrics(registry, health, shutdown)?;
        say_listening(&self.addresses()?);
        Ok(())
    }

    /// The addresses that gRPC is served on, with their actual ports.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, Failed> {
        self.grpc.iter().map(|listener| listener.local_addr().or_exit(Exit::Internal)).collect()
    }

    /// Serves the metrics until the process ends, before anything else is served.
    pub fn serve_metrics(
        &mut self,
        mut registry: Registry,
        health: &HealthHandle,
        shutdown: &Shutdown,
    ) -> Result<(), Failed> {
        register_losses(&mut registry);
        register_tls(&mut registry, self.tls.main.clone());
        let registry = Arc::new(registry);
        for listener in self.metrics.drain(..) {
            let address = listener.local_addr().or_exit(Exit::Internal)?;
            info!(%address, "metrics listening");
            // Served during the drain as well, when operators need them.
            let (registry, health, cut) = (registry.clone(), health.clone(), shutdown.cut.clone());
            match self.tls.metrics.clone() {
                None => keep_serving("metrics", serve_metrics(listener, registry, health, cut)),
                Some(tls) => {
                    let listener = TlsListener::http(listener, tls).or_exit(Exit::Internal)?;
                    keep_serving("metrics", serve_metrics(listener, registry, health, cut));
                }
            }
        }
        if let Some(stdin) = &self.stdin {
            stdin.serving(shutdown);
        }
        Ok(())
    }
}

// === impl DoorSocket ===

impl DoorSocket {
    /// Binds the address; fails at once if it is in use.
    pub async fn bind(args: &HttpArgs, tls: &Listening) -> Result<Self, Failed> {
        let tls = tls.main.clone();
        let Some(address) = &args.http else { return Ok(Self(Vec::new(), tls)) };
        let bound = bind_all(address).await.context("--http").or_exit(Exit::Unavailable)?;
        Ok(Self(bound, tls))
    }

    /// The addresses that it is served on, with their actual ports.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, Failed> {
        self.0.iter().map(|listener| listener.local_addr().or_exit(Exit::Internal)).collect()
    }

    /// Serves gRPC with `grpc`, and HTTP, until both have ended.
    pub async fn serve_beside(
        self,
        grpc: impl Future<Output = Result<(), ServeError>>,
        coordinator: Coordinator,
        args: &ServeArgs,
        shutdown: &Shutdown,
    ) -> Result<(), anyhow::Error> {
        let mut doors = Vec::new();
        for listener in self.0 {
            let drain = shutdown.drain.clone();
            let (coordinator, grace) = (coordinator.clone(), args.grace);
            doors.push(match self.1.clone() {
                None => jury_door::serve(coordinator, listener, Reach::Plain, grace, drain).boxed(),
                Some(tls) => {
                    let listener = TlsListener::http(listener, tls)?;
                    jury_door::serve(coordinator, listener, Reach::Tls, grace, drain).boxed()
                }
            });
        }
        let door = try_join_all(doors);
        tokio::try_join!(grpc.map_err(anyhow::Error::from), door.map_err(anyhow::Error::from))?;
        Ok(())
    }
}

/// Logs that calls are served at `addresses`.
pub fn say_listening(addresses: &[SocketAddr]) {
    for address in addresses {
        info!(%address, "listening");
    }
}

/// The same for HTTP.
pub fn say_http_listening(addresses: &[SocketAddr]) {
    for address in addresses {
        info!(%address, "HTTP listening");
    }
}

/// Serves pages in the background; if they fail, everything else continues. `what` names them in the log.
pub fn keep_serving(
    what: &'static str,
    served: impl Future<Output = io::Result<()>> + Send + 'static,
) {
    tokio::spawn(async move {
        if let Err(error) = served.await {
            error!(what, %error, "no longer served");
        }
    });
}

/// A health state that is serving until the drain begins, for servers without their own.
pub fn until_drain(shutdown: &Shutdown) -> HealthHandle {
    let health = HealthHandle::new(&[]);
    health.set_serving();
    let (handle, drain) = (health.clone(), shutdown.drain.clone());
    tokio::spawn(async move {
        drain.cancelled().await;
        handle.set_not_serving();
    });
    health
}

/// The server's settings for shutdown and connections.
pub fn server_config(args: &ServeArgs, connections: &ConnectionArgs) -> ServerConfig {
    let max_connection_age = connections.connection_max_age;
    ServerConfig { grace: args.grace, max_connection_age, ..ServerConfig::default() }
}

/// Runs `served` to its end, or until a second signal demands an immediate stop.
pub async fn until_cut<E: Into<anyhow::Error>>(
    served: impl Future<Output = Result<(), E>>,
    shutdown: &Shutdown,
) -> Result<Exit, Failed> {
    tokio::select! {
        ended = served => {
            ended.or_exit(Exit::Internal)?;
            info!("stopped");
            Ok(Exit::Done)
        }
        () = shutdown.cut.cancelled() => Ok(Exit::Interrupted),
    }
}
