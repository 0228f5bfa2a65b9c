//! `jury up`: coordinator and worker in one process. Calls that arrive while the model loads wait for it within their
//! budgets.

use jury_coordinator::Config;
use jury_embedded::Embedded;
use jury_fabric::shutdown::{Shutdown, on_signals};
use jury_fabric::transport::HealthHandle;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{ModelConfig, model_failed};
use jury_worker::models::ModelRef;
use prometheus_client::registry::Registry;

use crate::args::{HeadArgs, UpArgs};
use crate::console::ConsoleSocket;
use crate::coordinator::judging_config;
use crate::heads::heads;
use crate::serving::{
    DoorSocket, Sockets, say_http_listening, say_listening, server_config, until_cut, until_drain,
};

pub async fn run(args: UpArgs) -> Result<Exit, Failed> {
    let config = judging_config(&args.judging, &args.tenants, Config::EMBEDDED_BUDGET)?;
    let model = ModelConfig::try_from(args.model).or_exit(Exit::Usage)?;
    let mut sockets = Sockets::bind(&args.listen, &args.serve).await?;
    let door = DoorSocket::bind(&args.http, sockets.tls()).await?;
    let console = ConsoleSocket::bind(&args.console, sockets.tls(), &config.tenants).await?;
    let awaited_models = names(&model)?;
    let config = Config { observer: console.observer(), awaited_models, ..config };

    let shutdown = on_signals().or_exit(Exit::Internal)?;
    let mut registry = Registry::default();
    let cluster = Embedded::begin(config, &mut registry).or_exit(Exit::Usage)?;
    let health = until_drain(&shutdown);
    health.set_not_serving();
    sockets.serve_metrics(registry, &health, &shutdown)?;
    let (addresses, http) = (sockets.addresses()?, door.addresses()?);
    let listener = sockets.into_listener();
    let coordinator = cluster.coordinator();
    console.serve(&coordinator)?;
    let config = server_config(&args.serve, &args.connections);
    let served = {
        let drain = shutdown.drain.clone();
        jury_coordinator::run(coordinator.clone(), listener, config, drain)
    };
    let served = door.serve_beside(served, coordinator, &args.serve, &shutdown);
    let served = until_cut(served, &shutdown);
    tokio::pin!(served);
    tokio::select! {
        ended = &mut served => return ended,
        joined = load_and_join(model, args.heads, &cluster) => joined?,
    }
    serving(&health, &shutdown);
    say_listening(&addresses);
    say_http_listening(&http);
    served.await
}

/// Loads the model on its own thread, so that calls are accepted meanwhile.
async fn load_and_join(
    model: ModelConfig,
    head_files: HeadArgs,
    cluster: &Embedded,
) -> Result<(), Failed> {
    let load = async move {
        let meter = Meter::serving();
        let backend = model.load(&meter)?;
        let heads = heads(&head_files, backend.as_ref())?;
        meter.clear();
        Ok::<_, Failed>((backend, heads))
    };
    let (backend, heads) = tokio::spawn(load).await.or_exit(Exit::Internal)??;
    cluster.join(backend, heads);
    Ok(())
}

/// The names by which requests select the model and its adapters.
fn names(model: &ModelConfig) -> Result<Vec<String>, Failed> {
    let own = ModelRef::parse(&model.name).map_err(model_failed)?.name();
    let adapters = model.adapters.iter().map(|adapter| adapter.name.clone());
    Ok([own].into_iter().chain(adapters).collect())
}

/// Marks the process ready, unless it is already shutting down.
fn serving(health: &HealthHandle, shutdown: &Shutdown) {
    if !shutdown.drain.is_cancelled() {
        health.set_serving();
    }
}
