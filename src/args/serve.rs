//! `jury up`, `jury coordinator`, `jury worker`.

use jury_engine::DeviceKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;

/// What every serving part shares.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Serve Prometheus metrics at http://ADDRESS/metrics; port 0 takes a free one
    #[arg(long, env = "JURY_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// How long running work may go on after SIGTERM or Ctrl-C
    #[arg(long, env = "JURY_GRACE", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

/// Which model, and how it runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = super::DEFAULT_MODEL)]
    pub model: String,
    /// Threads of the engine [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Where to compute: cpu, cuda:N or metal:N (built with the cargo feature of that name)
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceKind,
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Where model files are kept.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct CacheArgs {
    /// The folder of model files [default: jury/models in the user's cache folder]
    #[arg(long, global = true, env = "JURY_MODEL_CACHE", value_name = "FOLDER")]
    pub model_cache: Option<PathBuf>,
}

/// How a coordinator judges.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgingArgs {
    /// A prompt template that takes the place of the built-in one
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Budget of a request that brings none [default: 60s, `jury up` 5m]
    #[arg(long, env = "JURY_DEFAULT_BUDGET", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub default_budget: Option<Duration>,
    /// Requests that may wait for admission
    #[arg(long, env = "JURY_QUEUE_LIMIT", value_name = "N", default_value_t = 1024)]
    pub queue_limit: usize,
}

/// Where etcd is, and under which name the fleet stands in it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct EtcdArgs {
    /// Addresses of etcd, comma-separated
    #[arg(long, env = "JURY_ETCD_ENDPOINTS", value_name = "URLS", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Name of the cluster in etcd
    #[arg(long, env = "JURY_CLUSTER", value_name = "NAME", default_value = "default")]
    pub cluster: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jury up --model qwen2.5-coder-1.5b &\n  jury score examples/capital.json --endpoint http://127.0.0.1:7480"
)]
pub struct UpArgs {
    /// Where to serve gRPC; port 0 takes a free one
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub judging: JudgingArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jury coordinator --etcd http://127.0.0.1:2379\n  jury coordinator --worker http://10.0.0.5:7481 --worker http://10.0.0.6:7481"
)]
#[command(group(ArgGroup::new("fleet").required(true).args(["etcd", "worker"])))]
pub struct CoordinatorArgs {
    /// Where to serve gRPC; port 0 takes a free one
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// Address of a worker, once for each; takes the place of etcd
    #[arg(
        long,
        env = "JURY_WORKERS",
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Fleet"
    )]
    pub worker: Vec<String>,
    #[command(flatten)]
    pub judging: JudgingArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jury worker --etcd http://127.0.0.1:2379 --listen 0.0.0.0:7481 --advertise http://10.0.0.5:7481\n  jury worker --listen 127.0.0.1:7481      for a coordinator with --worker http://127.0.0.1:7481"
)]
pub struct WorkerArgs {
    /// Where to serve gRPC; port 0 takes a free one
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7481")]
    pub listen: SocketAddr,
    /// The address that coordinators are told to call [default: the one listened on]
    #[arg(long, env = "JURY_ADVERTISE", value_name = "URL", help_heading = "Fleet")]
    pub advertise: Option<String>,
    /// This worker's id, unique in its cluster [default: made up]
    #[arg(long, env = "JURY_WORKER_ID", value_name = "ID", help_heading = "Fleet")]
    pub id: Option<String>,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Reads a device: its name, and for a GPU its ordinal (0 when left out).
fn device(text: &str) -> Result<DeviceKind, String> {
    let (name, ordinal) = text.split_once(':').unwrap_or((text, "0"));
    let unknown = || "must be cpu, cuda:N or metal:N".to_owned();
    let ordinal: usize = ordinal.parse().map_err(|_| unknown())?;
    match name {
        "cpu" => Ok(DeviceKind::Cpu),
        "cuda" => Ok(DeviceKind::Cuda(ordinal)),
        "metal" => Ok(DeviceKind::Metal(ordinal)),
        _ => Err(unknown()),
    }
}
