//! `jury up`: coordinator and worker in one process.

use jury_coordinator::Config;
use jury_embedded::Embedded;
use jury_fabric::shutdown::on_signals;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::ModelConfig;
use prometheus_client::registry::Registry;

use crate::args::UpArgs;
use crate::console::ConsoleSocket;
use crate::coordinator::judging_config;
use crate::heads::heads;
use crate::serving::{DoorSocket, Sockets, server_config, until_cut, until_drain};

pub async fn run(args: UpArgs) -> Result<Exit, Failed> {
    let config = judging_config(&args.judging, &args.tenants, Config::EMBEDDED_BUDGET)?;
    let model = ModelConfig::try_from(args.model).or_exit(Exit::Usage)?;
    let mut sockets = Sockets::bind(&args.listen, &args.serve).await?;
    let door = DoorSocket::bind(&args.http, sockets.tls()).await?;
    let console = ConsoleSocket::bind(&args.console, sockets.tls(), &config.tenants).await?;
    let config = Config { observer: console.observer(), ..config };
    let meter = Meter::new(false);
    let backend = model.load(&meter)?;
    let heads = heads(&args.heads, backend.as_ref())?;
    meter.clear();

    let shutdown = on_signals().or_exit(Exit::Internal)?;
    let mut registry = Registry::default();
    let cluster = Embedded::start(backend, heads, config, &mut registry).or_exit(Exit::Usage)?;
    sockets.announce(registry, &until_drain(&shutdown), &shutdown)?;
    let listener = sockets.into_listener();
    let coordinator = cluster.coordinator();
    console.serve(&coordinator)?;
    let drain = shutdown.drain.clone();
    let config = server_config(&args.serve, &args.connections);
    let served = jury_coordinator::run(coordinator.clone(), listener, config, drain);
    until_cut(door.serve_beside(served, coordinator, &args.serve, &shutdown), &shutdown).await
}
