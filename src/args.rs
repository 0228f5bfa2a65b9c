//! The command line: every option, its environment variable and its help. What options mean together is decided only
//! where they become a config (`TryFrom`).

mod doctor;
mod draw;
mod eval;
mod judge;
mod kubernetes;
mod models;
mod parse;
mod plan;
mod score;
mod serve;
mod tenants;
mod tls;
mod token;
mod train;
mod upstream;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jury_bench::BenchArgs;
use jury_terminal::exit;

pub use self::doctor::DoctorArgs;
pub use self::draw::DrawArgs;
pub use self::eval::{
    ChoiceArgs, CompareArgs, DrawnReadout, EvalArgs, EvalCommand, EvalRunArgs, PartArg,
    WeaknessArgs,
};
pub use self::judge::JudgeArgs;
pub use self::kubernetes::DirectoryArg;
pub use self::models::{ModelsArgs, ModelsCommand};
pub use self::parse::parse;
pub use self::plan::PlanArgs;
pub use self::score::ScoreArgs;
pub use self::serve::{
    ConsoleArgs, CoordinatorArgs, EtcdArgs, HeadArgs, HttpArgs, JudgingArgs, RoleArg, ServeArgs,
    TraceArgs, UpArgs, WorkerArgs,
};
pub use self::tenants::{TenantsArgs, TenantsCommand, TenantsFileArgs};
pub use self::tls::{
    ClientTlsArgs, ConnectionArgs, EtcdAccessArgs, MetricsTlsArg, ServeTlsArgs, TrustArgs,
};
pub use self::token::TokenArgs;
pub use self::train::{
    DtypeArg, TrainArgs, TrainCommand, TrainExportArgs, TrainMergeArgs, TrainMetaArgs,
    TrainRftArgs, TrainRlArgs, TrainerArg, TuningArgs,
};
pub use self::upstream::{BackendArg, UpstreamArgs};
pub use jury_terminal::Refused;
pub use jury_terminal::model::{CacheArgs, CardArgs, DEFAULT_MODEL, ModelArgs};

/// Rewards from a generative judge: k critiques in parallel, one vote
#[derive(Debug, Parser)]
#[command(name = "jury", version, after_help = exit::TABLE, max_term_width = 100)]
#[command(propagate_version = true, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub logs: LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// What is logged, to stderr.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// What to log: a level, or a filter like `info,jury_worker=debug` [default: info for up, coordinator and worker;
    /// warn for other commands]
    #[arg(long, global = true, env = "JURY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log format
    #[arg(long, global = true, env = "JURY_LOG_FORMAT", value_enum, default_value_t = LogFormatArg::Text)]
    pub log_format: LogFormatArg,
}

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// Human-readable text
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge the responses of one item or of a batch, and print the rewards
    Score(Box<ScoreArgs>),
    /// Evaluate a judge on items whose best response is known: how accuracy grows with k
    Eval(Box<EvalArgs>),
    /// Train a judge, or a Meta RM that ranks a judge's samples
    Train(TrainArgs),
    /// Run a coordinator and a worker in one process
    Up(UpArgs),
    /// Run a coordinator, which distributes samples over workers
    Coordinator(CoordinatorArgs),
    /// Run a worker, which draws a model's samples for coordinators
    Worker(WorkerArgs),
    /// List, fetch and inspect models
    Models(ModelsArgs),
    /// Show a coordinator's fleet and load
    Status(StatusArgs),
    /// Create tokens and check a tenants file
    Tenants(TenantsArgs),
    /// Check whether a coordinator or worker accepts work (for container health checks)
    Health(HealthArgs),
    /// Calculate how many workers a training step needs
    Plan(PlanArgs),
    /// Check this machine's CPU, GPUs, memory and tools, and warn about likely problems
    Doctor(DoctorArgs),
    /// Benchmark Jury against the hardware's limits and against other servers
    Bench(BenchArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jury health\n  # a worker\n  jury health --endpoint http://127.0.0.1:7481"
)]
pub struct HealthArgs {
    /// Address of the coordinator or worker to check
    #[arg(
        long,
        env = "JURY_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7480"
    )]
    pub endpoint: String,
    /// How long to wait for an answer, like 4s or 500ms
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = jury_terminal::number::time)]
    pub timeout: std::time::Duration,
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jury status --endpoint http://127.0.0.1:7480\n  jury status --endpoint https://judge:7480 --tls-ca ca.pem"
)]
pub struct StatusArgs {
    /// Address of the coordinator, http:// or https://
    #[arg(
        long,
        env = "JURY_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7480"
    )]
    pub endpoint: String,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub tls: ClientTlsArgs,
    #[command(flatten)]
    pub token: TokenArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jury completions bash > ~/.local/share/bash-completion/completions/jury"
)]
pub struct CompletionsArgs {
    /// The shell to complete for
    pub shell: Shell,
}

/// Clap's error in the style of our other messages, without its usage line, which lists options as required even if an
/// environment variable has set them.
pub fn refusal(error: &clap::Error) -> String {
    let said = error.render().to_string();
    let problem = said.split("\n\nUsage:").next().unwrap_or_default();
    let problem = problem.strip_prefix("error: ").unwrap_or(problem).trim_end();
    let problem = problem.split("\n\nFor more information").next().unwrap_or_default();
    format!("jury: {problem}\nFor more information, try '--help'.")
}

// === impl Command ===

impl Command {
    /// The default of --log: more for commands that run until they are stopped.
    pub fn default_log(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Coordinator(_) | Self::Worker(_) => "info",
            // Simulated workers leave while they are drawing samples.
            Self::Bench(_) => "warn,jury_worker::run=error",
            _ => "warn",
        }
    }

    /// Where the command's spans go, and its service name there; `None` if it exports none.
    pub fn traces(&self) -> Option<(&TraceArgs, &'static str)> {
        match self {
            Self::Score(args) => Some((&args.traces, "jury-score")),
            Self::Up(args) => Some((&args.serve.traces, "jury-up")),
            Self::Coordinator(args) => Some((&args.serve.traces, "jury-coordinator")),
            Self::Worker(args) => Some((&args.serve.traces, "jury-worker")),
            _ => None,
        }
    }
}

#[cfg(test)]
pub mod tests;
