//! `jury bench`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use jury_grm::domain::limits;

use jury_engine::DeviceKind;
use jury_terminal::model::{CacheArgs, device};
use jury_terminal::number::{real, whole};

/// Most of whatever sizes a measurement, so that products of sizes cannot overflow.
const LARGEST: usize = 1 << 20;
const MOST_ROUNDS: usize = 1_000;
const MOST_THREADS: usize = 4_096;
/// llama-server has k slots for each item that is judged at once.
const MOST_AT_ONCE: usize = 16;

const VERDICTS_EXAMPLES: &str = "\
Examples:
  jury bench verdicts --items examples/items.jsonl --quick          see that it works
  jury bench verdicts --items examples/items.jsonl --markdown results.md
  jury bench verdicts --items examples/items.jsonl --no-peer --limit 4
  jury bench verdicts --items examples/items.jsonl --no-peer -k 1 --drafts both   what drafts gain";

const ENGINE_EXAMPLES: &str = "\
Examples:
  jury bench engine --quick                               a minute: see that it works
  jury bench engine --markdown results.md                 everything, which takes hours
  jury bench engine --models qwen2.5-coder-0.5b --k 8 --prompt 512 --generated 64";

const CLUSTER_EXAMPLES: &str = "\
Examples:
  jury bench cluster --quick                              half a minute: see that it works
  jury bench cluster --quick --json | jq .cpu_us_per_sample
  jury bench cluster --workers 1,64 --failures 0.01 --jitter 0.5";

const UPSTREAM_EXAMPLES: &str = "\
Examples:
  llama-server -m judge.gguf --alias judge --parallel 8 --metrics &
  jury bench upstream --url http://127.0.0.1:8080 --model judge --tokenizer judge.gguf --quick
  jury bench upstream --url http://127.0.0.1:8080 --model judge --tokenizer judge.gguf -k 8 --markdown results.md";

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
    #[command(after_help = ENGINE_EXAMPLES)]
    Engine(BenchEngineArgs),
    /// Measure verdicts a minute, from items to rewards, ours and over llama-server alternately
    #[command(after_help = VERDICTS_EXAMPLES)]
    Verdicts(Box<BenchVerdictsArgs>),
    /// Measure time against samples, prompt length and requests in flight, and plot it
    #[command(after_help = "Example:\n  jury bench scaling --quick --svg scaling.svg")]
    Scaling(BenchScalingArgs),
    /// Measure the coordinator over simulated GPU workers: its CPU time a sample, samples a second, latency, efficiency
    #[command(after_help = CLUSTER_EXAMPLES)]
    Cluster(BenchClusterArgs),
    /// Simulated workers for `jury bench cluster --processes`
    #[command(hide = true, after_help = "Example:\n  jury bench cluster --quick --processes 4")]
    Nodes(BenchNodesArgs),
    /// Simulate the autoscaling of the Helm chart over bursts, a step, and a rise and fall, with long samples, too: whether it oscillates
    #[command(
        after_help = "Example:\n  jury bench autoscale --start-seconds 180 --svg autoscale.svg"
    )]
    Autoscale(BenchAutoscaleArgs),
    /// Measure our worker in front of a server beside the server's own n = k call, alternately
    #[command(after_help = UPSTREAM_EXAMPLES)]
    Upstream(BenchUpstreamArgs),
}

/// What all measurements share.
#[derive(Debug, Clone, clap::Args)]
pub struct MeasuringArgs {
    /// Threads, ours and the peer's [default: what this machine lets us use]
    #[arg(long, env = "JURY_THREADS", value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_THREADS, "--threads 2"))]
    pub threads: Option<usize>,
    /// Where ours computes: auto (the first NVIDIA card, else the CPU), cpu, cuda:N, or metal:N where jury was built with it.
    /// On a GPU ours is measured alone, unless --peer names a program
    #[arg(long, env = "JURY_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: DeviceKind,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchEngineArgs {
    /// Models, comma-separated: of the catalogue, GGUF files, hub:OWNER/REPO/FILE, or a file that
    /// scripts/llama-cpp makes [default: smollm2-135m-q8_0,smollm2-135m-q4_0,qwen2.5-coder-0.5b,
    /// qwen2.5-coder-1.5b]
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Numbers of samples of one prompt [default: 1,8,32]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Lengths of the prompt, in tokens [default: 512,1500]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--prompt 512,1500"))]
    pub prompt: Vec<usize>,
    /// Tokens that each sample generates, at least 2: the first comes out of the prompt [default:
    /// 64,250]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(2..=LARGEST, "--generated 64,250"))]
    pub generated: Vec<usize>,
    /// Prompts at once, 1 to 256, each with its --k samples, all of which decode together; more than one is measured of ours alone
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--groups 8"))]
    pub groups: usize,
    /// Whether attention on a card reads a prompt once for all its samples, or once for each, to see what that gains
    #[arg(long, value_enum, default_value_t = SharingArg::On)]
    pub sharing: SharingArg,
    /// Rounds, 1 to 1000, each ours and the peer's [default: 4]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 4"))]
    pub rounds: Option<usize>,
    /// llama.cpp's llama-batched-bench [default: what scripts/llama-cpp installed, else the one in
    /// PATH]
    #[arg(long, env = "JURY_LLAMA_BATCHED_BENCH", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. The same as --models smollm2-135m
    /// --k 1,4 --prompt 128 --generated 8 --rounds 1 where these are not given
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchVerdictsArgs {
    /// A file with one item as JSON a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub items: PathBuf,
    /// A model of the catalogue (`jury models list`), a GGUF file, hub:OWNER/REPO/FILE, or a file
    /// that scripts/llama-cpp makes
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Samples of an item, 1 to 256
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8,
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Judge only the first items of the file [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--limit 4"))]
    pub limit: Option<usize>,
    /// Items judged at once, 1 to 16, on both sides
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
        value_parser = whole(1..=MOST_AT_ONCE, "--at-once 2"))]
    pub at_once: usize,
    /// Rounds, 1 to 1000, each ours and the peer's [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Softmax temperature, 0 (greedy) to 2 [default: 0.5]
    #[arg(long, env = "JURY_TEMPERATURE", value_name = "T", allow_negative_numbers = true,
        value_parser = real(|t| (0.0..=2.0).contains(&t), "from 0 to 2", "--temperature 0.5"))]
    pub temperature: Option<f64>,
    /// Nucleus mass, above 0 and at most 1 [default: 1]
    #[arg(long, env = "JURY_TOP_P", value_name = "P", allow_negative_numbers = true,
        value_parser = real(|p| p > 0.0 && p <= 1.0, "above 0 and at most 1", "--top-p 0.9"))]
    pub top_p: Option<f64>,
    /// Most tokens of a sample, 1 to 16384 [default: 512]
    #[arg(long, visible_alias = "max-tokens", env = "JURY_MAX_CRITIQUE_TOKENS", value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-tokens 200"))]
    pub max_critique_tokens: Option<u32>,
    /// Whether our engine drafts the next tokens of few samples; what they say stays the same
    #[arg(long, value_enum, default_value_t = DraftsArg::On)]
    pub drafts: DraftsArg,
    /// llama.cpp's llama-server [default: what scripts/llama-cpp installed, else the one in PATH]
    #[arg(long, env = "JURY_LLAMA_SERVER", value_name = "PROGRAM")]
    pub peer: Option<PathBuf>,
    /// Measure ours alone
    #[arg(long, conflicts_with = "peer")]
    pub no_peer: bool,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. The same as --limit 1
    /// --max-tokens 16 --rounds 1 where these are not given; -k stays as it is, and llama-server
    /// has one setting, where others would be tried
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

/// Whether samples of a prompt share what is read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SharingArg {
    /// As everywhere else
    On,
    /// Never
    Off,
    /// Both ways, one after the other
    Both,
}

/// Whether few samples of ours draft their next tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DraftsArg {
    /// As everywhere else
    On,
    /// Never
    Off,
    /// Both ways in every round, in turns, with their ratio
    Both,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchUpstreamArgs {
    /// Address of the server, with or without /v1; it must tell its metrics at /metrics (llama-server: --metrics)
    #[arg(long, env = "JURY_UPSTREAM_URL", value_name = "URL")]
    pub url: String,
    /// The model's name at the server
    #[arg(long, env = "JURY_MODEL", value_name = "NAME")]
    pub model: String,
    /// A GGUF file, or a folder as Hugging Face publishes it, with the tokenizer of the server's model
    #[arg(long, env = "JURY_UPSTREAM_TOKENIZER", value_name = "PATH")]
    pub tokenizer: PathBuf,
    /// Samples of a prompt, 1 to 256; llama-server needs as many slots
    #[arg(short, long, env = "JURY_K", value_name = "N", default_value_t = 8,
        allow_negative_numbers = true, value_parser = whole(1..=limits::MAX_K, "-k 8"))]
    pub k: u32,
    /// Most tokens of a sample, 1 to 16384 [default: 128]
    #[arg(long, visible_alias = "max-tokens", value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--max-tokens 128"))]
    pub max_critique_tokens: Option<u32>,
    /// Rounds, 1 to 1000, each both ways, with prompts that the server has not seen [default: 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 5"))]
    pub rounds: Option<usize>,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// See that it works; the figures mean little. The same as --max-tokens 16 --rounds 1 where these are not given
    #[arg(long)]
    pub quick: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchScalingArgs {
    /// A model of the catalogue (`jury models list`), a GGUF file, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL", default_value = "smollm2-135m")]
    pub model: String,
    /// Write the plot here
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// See that it works, within a minute; the figures mean little. 1, 2 and 4 samples, prompts of
    /// 32, 64 and 128 tokens and 1, 2 and 4 requests instead of up to 64, 4096 and 32; 4 tokens
    /// generated instead of 64, else k 2 instead of 8 (of requests 1 instead of 2) and prompts of 64
    /// instead of 512. A point is one measurement either way
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub measuring: MeasuringArgs,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchClusterArgs {
    /// Numbers of GPU-like workers whose efficiency is measured, 1 to 256 [default: 1,4,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=256usize, "--workers 1,64"))]
    pub workers: Vec<usize>,
    /// Numbers of samples of a request, 1 to 256 [default: 1,8,32,128,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_K as usize, "--k 1,8,32"))]
    pub k: Vec<usize>,
    /// Numbers of requests under way at once, 1 to 1024 [default: 1,16,64,256]
    #[arg(long, value_name = "N,..", value_delimiter = ',', allow_negative_numbers = true,
        value_parser = whole(1..=1024usize, "--in-flight 1,64"))]
    pub in_flight: Vec<usize>,
    /// Seconds that count of each measurement [default: 5]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
        value_parser = real(|s| (0.1..=600.0).contains(&s), "from 0.1 to 600", "--seconds 5"))]
    pub seconds: Option<f64>,
    /// Rounds, 1 to 1000, each over all measurements [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=MOST_ROUNDS, "--rounds 3"))]
    pub rounds: Option<usize>,
    /// Responses of an item, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_RESPONSES, "--responses 2"))]
    pub responses: usize,
    /// Bytes of a response
    #[arg(long, value_name = "BYTES", default_value_t = 800, allow_negative_numbers = true,
        value_parser = whole(1..=LARGEST, "--response-bytes 800"))]
    pub response_bytes: usize,
    /// Samples that a GPU-like worker decodes at once
    #[arg(long, value_name = "N", default_value_t = 32, allow_negative_numbers = true,
        value_parser = whole(1..=4096u32, "--capacity 32"))]
    pub capacity: u32,
    /// Prompt tokens a second that a GPU-like worker prefills
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--prefill-rate 20000"))]
    pub prefill_rate: f64,
    /// Tokens a second that each sample of a GPU-like worker generates
    #[arg(long, value_name = "RATE", default_value_t = 100.0, allow_negative_numbers = true,
        value_parser = real(|r| r > 0.0 && r <= 1e9, "above 0", "--decode-rate 100"))]
    pub decode_rate: f64,
    /// Tokens of a sample, in the mean [default: 300]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = whole(1..=limits::MAX_CRITIQUE_TOKENS, "--tokens 300"))]
    pub tokens: Option<u32>,
    /// Share by which lengths vary to both sides on GPU-like workers, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, allow_negative_numbers = true,
        value_parser = real(|s| (0.0..=1.0).contains(&s), "from 0 to 1", "--jitter 0.2"))]
    pub jitter: f64,
    /// Share of samples that GPU-like workers fail, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true,
        value_parser = real(|s| (0.0..=1.0).contains(&s), "from 0 to 1", "--failures 0.01"))]
    pub failures: f64,
    /// Processes over which the simulated workers are spread, 0 to 64; 0: they run in this one, beside the load
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true,
        value_parser = whole(0..=64usize, "--processes 4"))]
    pub processes: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Write the table as Markdown too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// See that it works, within a minute. The same as --workers 1,8,64 --k 1,32,256 --in-flight 1,256
    /// --seconds 1 --tokens 100 --rounds 1 where these are not given
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// The simulated workers of one process of `jury bench cluster --processes`.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchNodesArgs {
    /// Number of the first
    #[arg(long, value_name = "N")]
    pub first: usize,
    /// How many
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// Seed of lengths and failures
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// How fast they are, as JSON
    #[arg(long, value_name = "JSON")]
    pub pace: String,
}

#[derive(Debug, Clone, clap::Args)]
pub struct BenchAutoscaleArgs {
    /// Samples that a worker draws at once
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true,
        value_parser = whole(1..=4096u32, "--capacity 24"))]
    pub capacity: u32,
    /// Seconds that a sample takes
    #[arg(long, value_name = "SECONDS", default_value_t = 20, allow_negative_numbers = true,
        value_parser = whole(1..=3600u32, "--sample-seconds 20"))]
    pub sample_seconds: u32,
    /// Seconds that a worker takes to start
    #[arg(long, value_name = "SECONDS", default_value_t = 180, allow_negative_numbers = true,
        value_parser = whole(0..=3600u32, "--start-seconds 180"))]
    pub start_seconds: u32,
    /// Samples, waiting and running, that one worker is there for, as in the chart
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true,
        value_parser = whole(1..=100_000u32, "--samples-per-worker 24"))]
    pub samples_per_worker: u32,
    /// Seconds that a request shall wait at most, where samples take long, as in the chart
    #[arg(long, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true,
        value_parser = whole(1..=3600u32, "--backlog-seconds 30"))]
    pub backlog_seconds: u32,
    /// Workers leave when fewer were wanted for so many seconds, as in the chart
    #[arg(long, value_name = "SECONDS", default_value_t = 300, allow_negative_numbers = true,
        value_parser = whole(0..=3600u32, "--scale-in-seconds 300"))]
    pub scale_in_seconds: u32,
    /// Most workers
    #[arg(long, value_name = "N", default_value_t = 64, allow_negative_numbers = true,
        value_parser = whole(1..=10_000u32, "--most-workers 64"))]
    pub most_workers: u32,
    /// Write the plot here
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
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
