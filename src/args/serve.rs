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

/// What every serving part shares.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Serve Prometheus metrics at http://ADDRESS/metrics, https:// with a certificate; port 0 takes a free one
    #[arg(long, env = "JURY_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<ListenAddress>,
    /// How long running work may go on after SIGTERM or Ctrl-C
    #[arg(
        long,
        env = "JURY_GRACE",
        value_name = "TIME",
        default_value = "30s",
        value_parser = jury_terminal::number::time,
    )]
    pub grace: Duration,
    /// Stop, as after SIGTERM, when stdin ends: for a program that starts this one and must not leave it behind
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
    /// Export spans to this collector, over OTLP/gRPC [default: OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere]
    #[arg(long, env = "JURY_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// The door for those who cannot use gRPC.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Serving")]
pub struct HttpArgs {
    /// Serve HTTP and JSON as well: POST http://ADDRESS/v1/score, and GET /openapi.json for the
    /// rest. Without --tenants, whoever reaches the address may ask; port 0 takes a free one
    #[arg(long, env = "JURY_HTTP", value_name = "ADDRESS")]
    pub http: Option<ListenAddress>,
}

/// A page for people.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Console")]
pub struct ConsoleArgs {
    /// Serve a page at http://ADDRESS/: the fleet, requests in flight with their samples, recent verdicts. Port 0 takes
    /// a free one. Without tenants, whoever reaches it sees every request: keep it on a loopback address, and forward
    /// the port
    #[arg(long, env = "JURY_CONSOLE_LISTEN", value_name = "ADDRESS")]
    pub console_listen: Option<ListenAddress>,
    /// Keep the texts of the last N verdicts in memory, for each tenant and at most 64 MiB each, so that the page can open
    /// them: responses, and every sample's critique; 0 keeps none
    #[arg(long, env = "JURY_KEEP_VERDICTS", value_name = "N", default_value_t = 0)]
    pub keep_verdicts: usize,
}

/// The queue has room for the largest item.
const LARGEST_ITEM_MIB: usize = limits::MAX_ITEM_BYTES >> 20;

/// How a coordinator judges.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgingArgs {
    /// A prompt template that takes the place of the built-in one
    #[arg(long, env = "JURY_TEMPLATE", value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Budget of a request that brings none [default: 60s, `jury up` 5m]
    #[arg(long, env = "JURY_DEFAULT_BUDGET", value_name = "TIME", value_parser = number::budget)]
    pub default_budget: Option<Duration>,
    /// A model whose workers may all be away, as an autoscaler leaves it: its requests wait for a worker until their
    /// budgets end, and count in jury_queued_samples meanwhile; once for each. Of other models a request waits 5s
    #[arg(
        long = "await-model",
        env = "JURY_AWAIT_MODELS",
        value_name = "MODEL",
        value_delimiter = ','
    )]
    pub await_models: Vec<String>,
    /// Requests that may wait for admission
    #[arg(
        long,
        env = "JURY_QUEUE_LIMIT",
        value_name = "N",
        default_value_t = 1024,
        value_parser = number::whole(1..=1_000_000_usize, "--queue-limit 1024"),
    )]
    pub queue_limit: usize,
    /// Second attempts at samples that lag behind on a slow worker, as a share of all samples; 0 turns them off
    #[arg(
        long,
        env = "JURY_HEDGE_BUDGET",
        value_name = "SHARE",
        default_value_t = 0.05,
        allow_negative_numbers = true,
        value_parser = number::real(|share| (0.0..=1.0).contains(&share), "from 0 (off) to 1", "--hedge-budget 0.05"),
    )]
    pub hedge_budget: f64,
    /// Most text of all waiting requests together, in MiB; more is refused with RESOURCE_EXHAUSTED
    #[arg(
        long,
        env = "JURY_QUEUE_MIB",
        value_name = "MIB",
        default_value_t = 256,
        value_parser = number::whole(LARGEST_ITEM_MIB..=1 << 20, "--queue-mib 256"),
    )]
    pub queue_mib: usize,
    /// Most verdicts kept for repeated request ids, in MiB as sent; the oldest go first
    #[arg(long, env = "JURY_REPLAY_MIB", value_name = "MIB", default_value_t = 64)]
    pub replay_mib: usize,
}

/// What ranks samples as they are drawn.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct HeadArgs {
    /// A head that ranks samples, as `--meta` of a request asks for it by the name that is in the
    /// file; once for each. One that was trained on another model's states is refused
    #[arg(long = "head", env = "JURY_HEADS", value_name = "FILE", value_delimiter = ',')]
    pub files: Vec<PathBuf>,
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
    #[command(flatten)]
    pub access: EtcdAccessArgs,
}

const UP_EXAMPLES: &str = "\
Examples:
  jury up --model qwen2.5-coder-1.5b &
  jury score examples/capital.json --endpoint http://127.0.0.1:7480
  # a page for people, at http://127.0.0.1:7495/
  jury up --console-listen 127.0.0.1:7495 --keep-verdicts 50
  # HTTP and JSON
  jury up --http 127.0.0.1:7490 &
  curl http://127.0.0.1:7490/v1/score -H 'Content-Type: application/json' \\
    -d '{\"item\": {\"query\": \"2 + 2?\", \"responses\": [\"4\", \"5\"]}}'";

#[derive(Debug, clap::Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArgs {
    /// Where to serve gRPC, at every address of a name like localhost; port 0 takes a free one
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
  # as a pod: the ready pods of a headless service
  jury coordinator --kubernetes-service jury-workers
  # for trainers that speak HTTP
  jury coordinator --etcd http://127.0.0.1:2379 --http 0.0.0.0:7490
  # over TLS, and for those with a certificate alone
  jury coordinator --worker https://10.0.0.5:7481 --tls-ca ca.pem \\
    --tls-cert c.pem --tls-key c.key --tls-client-ca ca.pem";

#[derive(Debug, clap::Args)]
#[command(after_help = COORDINATOR_EXAMPLES)]
#[command(group(ArgGroup::new("fleet").required(true).multiple(true).args(["etcd", "worker", "kubernetes_service"])))]
pub struct CoordinatorArgs {
    /// Where to serve gRPC, at every address of a name like localhost; port 0 takes a free one
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    pub listen: ListenAddress,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// Address of a worker, http:// or https:// over TLS, once for each; takes the place of etcd
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
  # one behind vLLM
  jury worker --role meta --backend openai --url http://127.0.0.1:8001 \\
    --model metarm --tokenizer ./MetaRM
  # for coordinators with a certificate alone
  jury worker --tls-cert w.pem --tls-key w.key --tls-client-ca ca.pem";

#[derive(Debug, clap::Args)]
#[command(after_help = WORKER_EXAMPLES)]
pub struct WorkerArgs {
    /// Where to serve gRPC, at every address of a name like localhost; port 0 takes a free one
    #[arg(long, env = "JURY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7481")]
    pub listen: ListenAddress,
    /// The address that coordinators are told to call [default: the one listened on]
    #[arg(long, env = "JURY_ADVERTISE", value_name = "URL", help_heading = "Fleet")]
    pub advertise: Option<String>,
    /// This worker's id, unique in its cluster [default: made up]
    #[arg(long, env = "JURY_WORKER_ID", value_name = "ID", help_heading = "Fleet")]
    pub id: Option<String>,
    /// What it is used for
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
    /// It draws samples
    Grm,
    /// It ranks them (a Meta RM): the model is a folder of a scalar reward model (*ForSequenceClassification
    /// with one label), or any model with a --head that was trained on it; with --backend openai, a reward model behind vLLM
    /// (--runner pooling) or SGLang (--is-embedding)
    Meta,
}
