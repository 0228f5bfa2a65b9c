//! `jury bench`, one file per command.

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

/// Upper limit of every size of a measurement, so that products of sizes cannot overflow.
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
    /// Measure the engine and llama.cpp alternately: prefill and decoding, in tokens per second
    Engine(BenchEngineArgs),
    /// Measure verdicts per minute, from items to rewards, with Jury's engine and with llama-server alternately
    Verdicts(Box<BenchVerdictsArgs>),
    /// Measure and plot time against samples, prompt length and requests in flight
    Scaling(BenchScalingArgs),
    /// Measure the coordinator with simulated GPU workers: CPU time per sample, samples per second, latency, efficiency
    Cluster(BenchClusterArgs),
    /// Simulated workers for `jury bench cluster --processes`
    #[command(hide = true)]
    Nodes(BenchNodesArgs),
    /// Simulate the Helm chart's autoscaling under bursts, a step, and a rise and fall, also with long samples, to see
    /// whether it oscillates
    Autoscale(BenchAutoscaleArgs),
    /// Measure a Jury worker in front of a server, and the server's own n = k call, alternately
    Upstream(BenchUpstreamArgs),
}

/// What all measurements share.
#[derive(Debug, Clone, clap::Args)]
pub struct MeasuringArgs {
    /// Threads, 1 to 4096 [default: all CPUs available to this process]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true,
        value_parser = threads)]
    pub threads: Option<usize>,
    /// Device of the engine: auto (the first NVIDIA GPU, else the CPU), cpu, cuda:N, or metal:N if jury was built with
    /// Metal
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

    /// What follows `jury` on a valid command line.
    pub fn command(line: &str) -> BenchCommand {
        let words = line.split_whitespace().skip_while(|word| *word != "bench");
        Program::try_parse_from(words).unwrap().bench.command
    }

    /// The options that `--quick` of a benchmark claims to be the same as.
    pub fn quick_as_typed(name: &str) -> String {
        let program = Program::command();
        let bench = program.find_subcommand(name).unwrap();
        let quick = bench.get_arguments().find(|argument| argument.get_id() == "quick").unwrap();
        let help = quick.get_help().unwrap().to_string();
        let same = help.split("Same as ").nth(1).unwrap();
        same.split(" unless").next().unwrap().to_owned()
    }
}
