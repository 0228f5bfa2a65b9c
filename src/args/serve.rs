//! `jury up`, `jury coordinator`, `jury worker`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;
use jury_fabric::transport::ListenAddress;
use jury_grm::domain::limits;
use jury_terminal::model::ModelArgs;
use jury_terminal::number;

use super::kubernetes::KubernetesArgs;
use super::tenants::TenantsFileArgs;
use super::tls::{ConnectionArgs, EtcdAccessArgs, ServeTlsArgs, TrustArgs};
use super::upstream::UpstreamArgs;

/// Options of every command that serves.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Serve Prometheus metrics at http://ADDRESS/metrics (https:// if --tls-cert is given); port 0 picks a free port
    #[arg(long, env = "JURY_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<ListenAddress>,
    /// How long running requests may take to finish after SIGTERM or Ctrl-C
    #[arg(
        long,
        env = "JURY_GRACE",
        value_name = "TIME",
        default_value = "30s",
        value_parser = jury_terminal::number::time,
    )]
    pub grace: Duration,
    /// Stop when stdin closes, as on SIGTERM, so that this process does not outlive the program that started it
    #[arg(long)]
    pub stop_with_stdin: bool,
    #[command(flatten)]
    pub tls: ServeTlsArgs,
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// Where spans go.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Export trace spans to this OTLP/gRPC collector [default: OTEL_EXPORTER_OTLP_ENDPOINT; if unset, spans are not
    /// exported]
    #[arg(long, env = "JURY_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// The HTTP server, for clients that cannot use gRPC.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct HttpArgs {
    /// Also serve HTTP and JSON: POST http://ADDRESS/v1/score; GET /openapi.json describes the rest. Without --tenants,
    /// anyone who can reach the address can use it. Port 0 picks a free port
    #[arg(long, env = "JURY_HTTP", value_name = "ADDRESS")]
    pub http: Option<ListenAddress>,
}

/// The web console.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Console")]
pub struct ConsoleArgs {
    /// Serve a web console at http://ADDRESS/: the fleet, requests in flight with their samples, and recent verdicts.
    /// Without --tenants, anyone who can reach it sees every request: keep it on a loopback address and forward the
    /// port. Port 0 picks a free port
    #[arg(long, env = "JURY_CONSOLE_LISTEN", value_name = "ADDRESS")]
    pub console_listen: Option<ListenAddress>,
    /// Keep the texts of each tenant's last N verdicts in memory (at most 64 MiB per tenant), so that the console can
    /// show their responses and every sample's critique; 0 keeps none
    #[arg(long, env = "JURY_KEEP_VERDICTS", value_name = "N", default_value_t = 0)]
    pub keep_verdicts: usize,
}

/// The queue has room for the largest item.
const LARGEST_ITEM_MIB: usize = limits::MAX_ITEM_BYTES >> 20;

/// How a coordinator handles requests.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgingArgs {
    /// Prompt template to use instead of the built-in one
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Budget of requests that set neither a budget nor a deadline, 1ms to 24h [default: 60s; 5m in `jury up`]
    #[arg(long, env = "JURY_DEFAULT_BUDGET", value_name = "TIME", value_parser = number::budget)]
    pub default_budget: Option<Duration>,
    /// A model that may be scaled to zero: its requests wait for a worker until their budgets end, and count in
    /// jury_queued_samples meanwhile. Requests for other models wait at most 5s for a worker. May be repeated
    #[arg(
        long = "await-model",
        env = "JURY_AWAIT_MODELS",
        value_name = "MODEL",
        value_delimiter = ','
    )]
    pub await_models: Vec<String>,
    /// Most requests per model that may wait for admission, 1 to 1000000; further ones are rejected with
    /// RESOURCE_EXHAUSTED
    #[arg(
        long,
        env = "JURY_QUEUE_LIMIT",
        value_name = "N",
        default_value_t = 1024,
        value_parser = number::whole(1..=1_000_000_usize, "--queue-limit 1024"),
    )]
    pub queue_limit: usize,
    /// Hedging: most second attempts at samples that lag behind on a slow worker, as a share of all samples, 0 (off) to
    /// 1
    #[arg(
        long,
        env = "JURY_HEDGE_BUDGET",
        value_name = "SHARE",
        default_value_t = 0.05,
        allow_negative_numbers = true,
        value_parser = number::real(|share| (0.0..=1.0).contains(&share), "from 0 (off) to 1", "--hedge-budget 0.05"),
    )]
    pub hedge_budget: f64,
    /// Most text of all waiting requests together, in MiB, 4 to 1048576; further requests are rejected with
    /// RESOURCE_EXHAUSTED
    #[arg(
        long,
        env = "JURY_QUEUE_MIB",
        value_name = "MIB",
        default_value_t = 256,
        value_parser = number::whole(LARGEST_ITEM_MIB..=1 << 20, "--queue-mib 256"),
    )]
    pub queue_mib: usize,
    /// Size of the cache of verdicts for repeated request ids, in MiB as sent; the oldest are dropped first
    #[arg(long, env = "JURY_REPLAY_MIB", value_name = "MIB", default_value_t = 64)]
    pub replay_mib: usize,
}

/// Heads that rank samples as they are drawn.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct HeadArgs {
    /// A head that ranks samples; requests ask for it with --meta, by the name stored in the file. A head that was
    /// trained on another model's states is rejected. May be repeated
    #[arg(long = "head", env = "JURY_HEADS", value_name = "FILE", value_delimiter = ',')]
    pub files: Vec<PathBuf>,
}

/// Where etcd is, and the name of the fleet in it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Fleet")]
pub struct EtcdArgs {
    /// Addresses of etcd's members, comma-separated
    #[arg(long, env = "JURY_ETCD_ENDPOINTS", value_name = "URLS", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Name of the cluster in etcd
    #[arg(long, env = "JURY_CLUSTER", value_name = "NAME", default_value = "default")]
    pub cluster: String,
    #[command(flatten)]
    pub access: EtcdAccessArgs,
}

const UP_EXAMPLES: &str = "\
Examples:
  jury up --model qwen2.5-coder-1.5b &
  jury score examples/capital.json --endpoint http://127.0.0.1:7480
  # with a web console at http://127.0.0.1:7495/
  jury up --console-listen 127.0.0.1:7495 --keep-verdicts 50
  # with an HTTP API
  jury up --http 127.0.0.1:7490 &
  curl http://127.0.0.1:7490/v1/score -H 'Content-Type: application/json' \\
    -d '{\"item\": {\"query\": \"2 + 2?\", \"responses\": [\"4\", \"5\"]}}'";

#[derive(Debug, clap::Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArgs {
    /// Address to serve gRPC on; a host name is bound at each of its addresses, and port 0 picks a free port
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    pub listen: ListenAddress,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub heads: HeadArgs,
    #[command(flatten)]
    pub judging: JudgingArgs,
    #[command(flatten)]
    pub tenants: TenantsFileArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
    #[command(flatten)]
    pub connections: ConnectionArgs,
}

const COORDINATOR_EXAMPLES: &str = "\
Examples:
  jury coordinator --etcd http://127.0.0.1:2379
  jury coordinator --worker http://10.0.0.5:7481 --worker http://10.0.0.6:7481
  # inside Kubernetes: the ready pods of a headless service
  jury coordinator --kubernetes-service jury-workers
  # for trainers that speak HTTP
  jury coordinator --etcd http://127.0.0.1:2379 --http 0.0.0.0:7490
  # with mutual TLS: only clients with a certificate may connect
  jury coordinator --worker https://10.0.0.5:7481 --tls-ca ca.pem \\
    --tls-cert c.pem --tls-key c.key --tls-client-ca ca.pem";

#[derive(Debug, clap::Args)]
#[command(after_help = COORDINATOR_EXAMPLES)]
#[command(group(ArgGroup::new("fleet").required(true).multiple(true).args(["etcd", "worker", "kubernetes_service"])))]
pub struct CoordinatorArgs {
    /// Address to serve gRPC on; a host name is bound at each of its addresses, and port 0 picks a free port
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    pub listen: ListenAddress,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// Address of a worker, http:// or https://, instead of etcd. May be repeated
    #[arg(
        long,
        env = "JURY_WORKERS",
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Fleet"
    )]
    pub worker: Vec<String>,
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    #[command(flatten)]
    pub judging: JudgingArgs,
    #[command(flatten)]
    pub tenants: TenantsFileArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub connections: ConnectionArgs,
}

const WORKER_EXAMPLES: &str = "\
Examples:
  jury worker --etcd http://127.0.0.1:2379 \\
    --listen 0.0.0.0:7481 --advertise http://10.0.0.5:7481
  # for a coordinator with --worker http://127.0.0.1:7481
  jury worker --listen 127.0.0.1:7481
  # in front of vLLM
  jury worker --backend openai --url http://127.0.0.1:8000 \\
    --model judge --tokenizer ./judge
  # a Meta RM, which ranks samples
  jury worker --role meta --model ./MetaRM --listen 127.0.0.1:7482
  # a Meta RM behind vLLM
  jury worker --role meta --backend openai --url http://127.0.0.1:8001 \\
    --model metarm --tokenizer ./MetaRM
  # with mutual TLS: only coordinators with a certificate may connect
  jury worker --tls-cert w.pem --tls-key w.key --tls-client-ca ca.pem";

#[derive(Debug, clap::Args)]
#[command(after_help = WORKER_EXAMPLES)]
pub struct WorkerArgs {
    /// Address to serve gRPC on; a host name is bound at each of its addresses, and port 0 picks a free port
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7481")]
    pub listen: ListenAddress,
    /// Address at which coordinators call this worker [default: the --listen address]
    #[arg(long, env = "JURY_ADVERTISE", value_name = "URL", help_heading = "Fleet")]
    pub advertise: Option<String>,
    /// This worker's id, unique in its cluster [default: random]
    #[arg(long, env = "JURY_WORKER_ID", value_name = "ID", help_heading = "Fleet")]
    pub id: Option<String>,
    /// What the worker is used for
    #[arg(
        long,
        env = "JURY_ROLE",
        value_name = "ROLE",
        default_value = "grm",
        help_heading = "Fleet"
    )]
    pub role: RoleArg,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub heads: HeadArgs,
    #[command(flatten)]
    pub upstream: UpstreamArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What a worker is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleArg {
    /// Draws samples
    Grm,
    /// Ranks samples (a Meta RM): the model is the folder of a scalar reward model (*ForSequenceClassification with one
    /// label), or any model with a --head that was trained on it; with --backend openai, a reward model behind vLLM
    /// (--runner pooling) or SGLang (--is-embedding)
    Meta,
}
