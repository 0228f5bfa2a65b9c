//! The command line. Every option, its environment variable and its help; what they mean together
//! is decided where they become a config (`TryFrom`), and nowhere else.

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

/// Rewards from a generative judge: k critiques in parallel, one vote.
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
    /// What to log: a level, or a filter like `info,jury_worker=debug` [default: info for up,
    /// coordinator and worker, else warn]
    #[arg(long, global = true, env = "JURY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How a line of log looks
    #[arg(long, global = true, env = "JURY_LOG_FORMAT", value_enum, default_value_t = LogFormatArg::Text)]
    pub log_format: LogFormatArg,
}

/// How a line of log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge the responses of an item, or of many, and print the rewards
    Score(Box<ScoreArgs>),
    /// Measure a judge on items whose best response is known: how accuracy grows with k
    Eval(Box<EvalArgs>),
    /// Train a judge, or a Meta RM that ranks its samples
    Train(TrainArgs),
    /// Serve coordinator and worker in one process
    Up(UpArgs),
    /// Serve a coordinator that spreads samples over workers
    Coordinator(CoordinatorArgs),
    /// Serve a model's samples to coordinators
    Worker(WorkerArgs),
    /// List, fetch and inspect models
    Models(ModelsArgs),
    /// Show a coordinator's fleet and load
    Status(StatusArgs),
    /// Make tokens, and check a file of tenants
    Tenants(TenantsArgs),
    /// Ask whether a coordinator or a worker takes work: for health checks of containers
    Health(HealthArgs),
    /// Calculate how many workers a training step needs
    Plan(PlanArgs),
    /// Tell what this machine offers, and what would bite
    Doctor(DoctorArgs),
    /// Measure the engine, against its limits and its peer
    Bench(BenchArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jury health\n  # a worker\n  jury health --endpoint http://127.0.0.1:7481"
)]
pub struct HealthArgs {
    /// The coordinator or worker to ask
    #[arg(
        long,
        env = "JURY_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:7480"
    )]
    pub endpoint: String,
    /// How long an answer may take
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
    /// The coordinator to ask
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
    /// The shell
    pub shell: Shell,
}

/// What clap found wrong, in the way in which we say everything else. Its usage line is left out:
/// it shows options as required that an environment variable has set.
pub fn refusal(error: &clap::Error) -> String {
    let said = error.render().to_string();
    let problem = said.split("\n\nUsage:").next().unwrap_or_default();
    let problem = problem.strip_prefix("error: ").unwrap_or(problem).trim_end();
    let problem = problem.split("\n\nFor more information").next().unwrap_or_default();
    format!("jury: {problem}\nFor more information, try '--help'.")
}

// === impl Command ===

impl Command {
    /// What is logged unless --log says so: more of what runs until it is told to stop.
    pub fn default_log(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Coordinator(_) | Self::Worker(_) => "info",
            // Simulated workers leave in the middle of what they draw.
            Self::Bench(_) => "warn,jury_worker::run=error",
            _ => "warn",
        }
    }

    /// Where the command's spans go, and what its service is called there; `None` where it has none.
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
