//! `jury worker`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use jury_fabric::connector::check_callable;
use jury_fabric::shutdown::on_signals;
use jury_fabric::transport::HealthHandle;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{ModelConfig, load_failed};
use jury_worker::backend::Backend;
use jury_worker::backend::openai::{
    ConnectError, OpenAiBackend, OpenAiConfig, OpenAiMeta, Refusal,
};
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig};
use prometheus_client::registry::Registry;

use crate::args::{HeadArgs, Refused, RoleArg, WorkerArgs};
use crate::coordinator::etcd;
use crate::heads::heads;
use crate::serving::{Sockets, until_cut};
use crate::tls::upstream_tls;

pub async fn run(args: WorkerArgs) -> Result<Exit, Failed> {
    let upstream_tls = upstream_tls(&args.upstream)?;
    let upstream = args.upstream.config(&args.model).or_exit(Exit::Usage)?;
    let upstream = upstream.map(|config| OpenAiConfig { tls: upstream_tls, ..config });
    let model = ModelConfig::try_from(args.model).or_exit(Exit::Usage)?;
    let announce = if args.etcd.etcd.is_empty() {
        Announce::Nowhere
    } else {
        Announce::Etcd(etcd(&args.etcd)?)
    };
    let mut sockets = Sockets::bind(&args.listen, &args.serve).await?;
    let announces = matches!(announce, Announce::Etcd(_));
    let advertised_address =
        advertised(args.advertise, sockets.tls().scheme(), sockets.address()?, announces)
            .or_exit(Exit::Usage)?;
    let shutdown = on_signals().or_exit(Exit::Internal)?;
    let backend = match (args.role, upstream) {
        (RoleArg::Meta, None) if !model.adapters.is_empty() => {
            let problem = "is not supported with --role meta; merge the adapter into the weights (jury train merge)";
            return Err(Refused::new("--adapter", problem)).or_exit(Exit::Usage);
        }
        (role, None) => embedded(role, &model, &args.heads)?,
        // The upstream may not be up yet; a signal ends the wait.
        (role, Some(upstream)) => tokio::select! {
            connected = fronted(role, upstream, &args.heads) => connected?,
            () = shutdown.drain.cancelled() => return Ok(Exit::Done),
        },
    };
    let heads = match args.role {
        RoleArg::Grm => heads(&args.heads, backend.as_ref())?,
        RoleArg::Meta => Heads::default(),
    };

    let mut registry = Registry::default();
    let worker = Worker {
        config: WorkerConfig {
            worker_id: args.id.unwrap_or_else(random_id),
            advertised_address,
            grace: args.serve.grace,
        },
        backend,
        heads,
        announce,
        health: HealthHandle::new(&[SERVICE_NAME]),
        metrics: WorkerMetrics::register(&mut registry),
    };
    sockets.announce(registry, &worker.health, &shutdown)?;
    let listener = sockets.into_listener();
    let served = jury_worker::run::run(worker, listener, shutdown.drain.clone());
    until_cut(served, &shutdown).await
}

/// Loads the model into this process, for the role.
fn embedded(
    role: RoleArg,
    model: &ModelConfig,
    heads: &HeadArgs,
) -> Result<Arc<dyn Backend>, Failed> {
    let meter = Meter::serving();
    let backend: Arc<dyn Backend> = match role {
        RoleArg::Grm => model.load(&meter)?,
        RoleArg::Meta => {
            let head = only_head(heads).or_exit(Exit::Usage)?;
            model.load_meta(&meter, head)?
        }
    };
    meter.clear();
    Ok(backend)
}

/// Connects to a model behind another server, for the role.
async fn fronted(
    role: RoleArg,
    upstream: OpenAiConfig,
    heads: &HeadArgs,
) -> Result<Arc<dyn Backend>, Failed> {
    if role == RoleArg::Grm {
        return Ok(Arc::new(OpenAiBackend::connect(upstream).await.map_err(refused)?));
    }
    if !heads.files.is_empty() {
        let problem = "needs hidden states, which servers do not return; the server's model must have its own score";
        return Err(Refused::new("--head", problem)).or_exit(Exit::Usage);
    }
    Ok(Arc::new(OpenAiMeta::connect(upstream).await.map_err(refused)?))
}

/// Attaches the exit code to an upstream's error.
fn refused(error: ConnectError) -> Failed {
    match error {
        ConnectError::Tokenizer(error) => load_failed(error),
        ConnectError::Refused { refusal: Refusal::Upstream(_), .. } => {
            Failed::new(Exit::Unavailable, error)
        }
        _ => Failed::new(Exit::Usage, error),
    }
}

/// The only head: a Meta RM has one score.
fn only_head(args: &HeadArgs) -> Result<Option<&Path>, Refused> {
    match args.files.as_slice() {
        [] => Ok(None),
        [file] => Ok(Some(file)),
        _ => Err(Refused::new(
            "--head",
            "--role meta takes only one head, since a Meta RM has one score",
        )),
    }
}

/// The address at which coordinators call this worker.
fn advertised(
    asked: Option<String>,
    scheme: &str,
    listened: SocketAddr,
    announces: bool,
) -> Result<String, Refused> {
    match asked {
        Some(address) => match check_callable(&address) {
            Ok(()) => Ok(address),
            Err(error) => Err(Refused::new("--advertise", error.to_string())),
        },
        None if announces && listened.ip().is_unspecified() => {
            let problem = format!(
                "{} is not an address that can be called; with --etcd, give the address at which coordinators reach this \
                 worker, like {scheme}://10.0.0.5:{}",
                listened.ip(),
                listened.port()
            );
            Err(Refused::new("--advertise", problem))
        }
        None => Ok(format!("{scheme}://{listened}")),
    }
}

/// Unique to this process: a restarted worker counts as another one, and the samples of the old one are drawn again.
fn random_id() -> String {
    format!("worker-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_never_advertises_an_address_that_nobody_can_call() {
        let everywhere: SocketAddr = "0.0.0.0:7481".parse().unwrap();
        let error = advertised(None, "http", everywhere, true).unwrap_err();
        assert_eq!(error.flag, "--advertise");
        assert!(error.problem.contains("http://10.0.0.5:7481"));
        assert!(advertised(None, "http", everywhere, false).is_ok());
        assert_eq!(
            advertised(Some("http://h:1".into()), "http", everywhere, true).unwrap(),
            "http://h:1"
        );
    }

    #[test]
    fn an_advertised_address_is_checked_like_any_other() {
        let listened: SocketAddr = "127.0.0.1:7481".parse().unwrap();
        for (address, reason) in [
            ("", "it is empty"),
            ("http://[::]:7500", "nobody can call ::"),
            ("0.0.0.0:7500", "nobody can call 0.0.0.0"),
            ("host name:7500", "characters that no host name has"),
            ("host", "its port is missing"),
        ] {
            let error = advertised(Some(address.to_owned()), "http", listened, true).unwrap_err();
            assert_eq!(error.flag, "--advertise");
            assert!(error.problem.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_is_listened_on_is_advertised_by_default() {
        let loopback: SocketAddr = "127.0.0.1:4242".parse().unwrap();
        assert_eq!(advertised(None, "http", loopback, true).unwrap(), "http://127.0.0.1:4242");
        assert_eq!(advertised(None, "https", loopback, true).unwrap(), "https://127.0.0.1:4242");
    }
}
