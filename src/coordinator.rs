//! `jury coordinator`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jury_coordinator::{Config, Coordinator};
use jury_fabric::directory::{
    Directory, Etcd, EtcdConfig, EtcdUser, Fixed, Kubernetes, KubernetesConfig,
};
use jury_fabric::secret::read_secret;
use jury_fabric::shutdown::on_signals;
use jury_grm::prompt::Template;
use jury_terminal::exit::{Exit, Failed, OrExit};
use prometheus_client::registry::Registry;

use crate::args::{
    CoordinatorArgs, EtcdAccessArgs, EtcdArgs, JudgingArgs, Refused, TenantsFileArgs,
};
use crate::console::ConsoleSocket;
use crate::serving::{
    DoorSocket, Sockets, say_http_listening, server_config, until_cut, until_drain,
};
use crate::tls::{connector_to_workers, etcd_tls};

pub async fn run(args: CoordinatorArgs) -> Result<Exit, Failed> {
    let config = judging_config(&args.judging, &args.tenants, Config::default().default_budget)?;
    let directory = directory(&args).await?;
    let mut sockets = Sockets::bind(&args.listen, &args.serve).await?;
    let door = DoorSocket::bind(&args.http, sockets.tls()).await?;
    let console = ConsoleSocket::bind(&args.console, sockets.tls(), &config.tenants).await?;
    let config = Config { observer: console.observer(), ..config };
    let shutdown = on_signals().or_exit(Exit::Internal)?;
    let mut registry = Registry::default();
    let connector = connector_to_workers(&args.serve.tls, &args.trust)?;
    let coordinator =
        Coordinator::start(config, directory, connector, &mut registry).or_exit(Exit::Usage)?;
    sockets.announce(registry, &until_drain(&shutdown), &shutdown)?;
    say_http_listening(&door.addresses()?);
    console.serve(&coordinator)?;
    let listener = sockets.into_listener();
    let drain = shutdown.drain.clone();
    let config = server_config(&args.serve, &args.connections);
    let served = jury_coordinator::run(coordinator.clone(), listener, config, drain);
    until_cut(door.serve_beside(served, coordinator, &args.serve, &shutdown), &shutdown).await
}

/// Where workers are found; the command line leaves only one way.
async fn directory(args: &CoordinatorArgs) -> Result<Arc<dyn Directory>, Failed> {
    if let Some(service) = &args.kubernetes.kubernetes_service {
        let tls = args.serve.tls.tls_cert.is_some() || args.trust.tls_ca.is_some();
        let config = KubernetesConfig {
            service: service.clone(),
            port: args.kubernetes.kubernetes_port.clone(),
            tls,
            kubeconfig: args.kubernetes.kubeconfig.clone(),
        };
        let found = Kubernetes::new(&config).await;
        return Ok(Arc::new(found.context("--kubernetes-service").or_exit(Exit::Usage)?));
    }
    if args.worker.is_empty() {
        return Ok(Arc::new(etcd(&args.etcd)?));
    }
    Ok(Arc::new(Fixed::new(&args.worker).context("--worker").or_exit(Exit::Usage)?))
}

/// The coordinator's configuration; `default_budget` applies if the option is not given.
pub fn judging_config(
    args: &JudgingArgs,
    tenants: &TenantsFileArgs,
    default_budget: Duration,
) -> Result<Config, Failed> {
    let default = Config::default();
    let template = match &args.template {
        Some(path) => template(path)?,
        None => default.template.clone(),
    };
    let config = Config {
        template,
        default_budget: args.default_budget.unwrap_or(default_budget),
        awaited_models: args.await_models.clone(),
        hedge_budget: args.hedge_budget,
        queue_limit: args.queue_limit,
        queue_bytes: args.queue_mib.saturating_mul(1 << 20),
        tenants: crate::tenants::tenants(tenants)?,
        idempotency_bytes: args.replay_mib.saturating_mul(1 << 20),
        ..default
    };
    config.validate().or_exit(Exit::Usage)?;
    Ok(config)
}

/// The prompt template in a file.
pub fn template(path: &std::path::Path) -> Result<Template, Failed> {
    let name = path.display().to_string();
    let source = std::fs::read_to_string(path)
        .with_context(|| format!("--template: {name}"))
        .or_exit(Exit::NoInput)?;
    Template::parse(&name, &source).context("--template").or_exit(Exit::Usage)
}

/// The directory in etcd. Must be called inside the runtime.
pub fn etcd(args: &EtcdArgs) -> Result<Etcd, Failed> {
    let config = EtcdConfig {
        tls: etcd_tls(args)?,
        user: etcd_user(&args.access)?,
        ..EtcdConfig::new(args.etcd.clone(), args.cluster.clone())
    };
    Etcd::new(&config).context("--etcd").or_exit(Exit::Usage)
}

fn etcd_user(args: &EtcdAccessArgs) -> Result<Option<EtcdUser>, Failed> {
    let refused = |flag: &str, problem: &str| Err(Refused::new(flag, problem)).or_exit(Exit::Usage);
    let password = match (&args.etcd_password, &args.etcd_password_file) {
        (Some(_), Some(_)) => {
            return refused("--etcd-password-file", "cannot be used together with --etcd-password");
        }
        (Some(password), None) => Some(password.clone()),
        (None, Some(path)) => {
            Some(read_secret(path).context("--etcd-password-file").or_exit(Exit::NoInput)?)
        }
        (None, None) => None,
    };
    match (args.etcd_user.clone(), password) {
        (None, None) => Ok(None),
        (Some(name), Some(password)) => Ok(Some(EtcdUser { name, password })),
        (Some(_), None) => refused(
            "--etcd-user",
            "needs a password: set JURY_ETCD_PASSWORD or --etcd-password-file",
        ),
        (None, Some(_)) => refused("--etcd-password", "needs a user: set --etcd-user"),
    }
}
