//! `jury train merge`.

use std::path::PathBuf;

use crate::args::CacheArgs;

const EXAMPLES: &str = "\
A folder of safetensors is merged into a new folder, with the tokenizer and all other files; a GGUF file is merged into a \
GGUF file with its adapted matrices in Q8_0. transformers, vLLM and llama.cpp load the result like any model. \
docs/adapters.md explains when to merge, and when to serve with --adapter instead.

Examples:
  jury train merge --model ./Qwen2.5-0.5B-Instruct --adapter rft/ --out judge/
  jury train merge --model qwen2.5-coder-0.5b --adapter rft/ --out judge.gguf";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainMergeArgs {
    /// Model that the adapter was trained on: a model of the catalogue, a GGUF file, a folder of safetensors, or
    /// hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: String,
    /// The adapter: a PEFT folder, the --out folder of `jury train rft` or `rl`, or a GGUF adapter
    #[arg(long, env = "JURY_ADAPTER", value_name = "PATH")]
    pub adapter: PathBuf,
    /// Where to write the merged model: a new folder, or a file that ends in .gguf
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub out: PathBuf,
    /// Data type of a merged folder's matrices [default: the model's own]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub dtype: Option<DtypeArg>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Do not print progress on stderr
    #[arg(short, long)]
    pub quiet: bool,
}

/// Type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DtypeArg {
    /// 16-bit bfloat16, with the range of f32
    Bf16,
    /// 32-bit floats
    F32,
}
