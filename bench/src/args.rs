//! `jury bench`, a file a command.

mod autoscale;
mod cluster;
mod engine;
mod scaling;
mod upstream;
mod verdicts;

use clap::Subcommand;
use jury_engine::DeviceKind;
use jury_terminal::model::{CacheArgs, device};
use jury_terminal::number::threads;

pub use self::autoscale::BenchAutoscaleArgs;
pub use self::cluster::{BenchClusterArgs, BenchNodesArgs};
pub use self::engine::{BenchEngineArgs, SharingArg};
pub use self::scaling::BenchScalingArgs;
pub use self::upstream::BenchUpstreamArgs;
pub use self::verdicts::{BenchVerdictsArgs, DraftsArg};

/// Most of whatever sizes a measurement, so that products of sizes cannot overflow.
const LARGEST: usize = 1 << 20;
/// Most rounds of a measurement.
const MOST_ROUNDS: usize = 1_000;

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jury bench engine --quick")]
pub struct BenchArgs {
    /// One measurement.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// One measurement.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the engine and llama.cpp alternately: prefill and decoding, tokens a second
    Engine(BenchEngineArgs),
    /// Measure verdicts a minute, from items to rewards, ours and over llama-server alternately
    Verdicts(Box<BenchVerdictsArgs>),
    /// Measure time against samples, prompt length and requests in flight, and plot it
    Scaling(BenchScalingArgs),
    /// Measure the coordinator over simulated GPU workers: its CPU time a sample, samples a second, latency, efficiency
    Cluster(BenchClusterArgs),
    /// Simulated workers for `jury bench cluster --processes`
    #[command(hide = true)]
    Nodes(BenchNodesArgs),
    /// Simulate the autoscaling of the Helm chart over bursts, a step, and a rise and fall, with long samples, too: whether it oscillates
    Autoscale(BenchAutoscaleArgs),
    /// Measure our worker in front of a server beside the server's own n = k call, alternately
    Upstream(BenchUpstreamArgs),
}

/// What all measurements share.
#[derive(Debug, Clone, clap::Args)]
pub struct MeasuringArgs {
    /// Threads [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true,
        value_parser = threads)]
    pub threads: Option<usize>,
    /// Where the engine computes: auto (the first NVIDIA card, else the CPU), cpu, cuda:N, or metal:N where jury was built with it
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: DeviceKind,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArgs,
}

#[cfg(test)]
pub mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// `bench` as a program of its own.
    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArgs,
    }

    /// What stands after `jury` on a command line that is right.
    pub fn command(line: &str) -> BenchCommand {
        let words = line.split_whitespace().skip_while(|word| *word != "bench");
        Program::try_parse_from(words).unwrap().bench.command
    }

    /// What `--quick` of a benchmark says that it is the same as.
    pub fn quick_as_typed(name: &str) -> String {
        let program = Program::command();
        let bench = program.find_subcommand(name).unwrap();
        let quick = bench.get_arguments().find(|argument| argument.get_id() == "quick").unwrap();
        let help = quick.get_help().unwrap().to_string();
        let same = help.split("same as ").nth(1).unwrap();
        same.split(" where").next().unwrap().to_owned()
    }
}
