//! `jury train merge`.

use std::path::PathBuf;

use crate::args::CacheArgs;

const EXAMPLES: &str = "\
A folder of safetensors becomes a folder, with the tokenizer and whatever else lies in it; a GGUF file becomes a GGUF \
file, whose adapted matrices are Q8_0. transformers, vLLM and llama.cpp load them as any model. docs/adapters.md says when \
to merge, and when to serve with --adapter instead.

Examples:
  jury train merge --model ./Qwen2.5-0.5B-Instruct --adapter rft/ --out judge/
  jury train merge --model qwen2.5-coder-0.5b --adapter rft/ --out judge.gguf";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainMergeArgs {
    /// The model that the adapter was trained on: a model of the catalogue, a GGUF file, a folder of
    /// safetensors, or hub:OWNER/REPO/FILE
    #[arg(long, env = "JURY_MODEL", value_name = "MODEL")]
    pub model: String,
    /// The adapter: a folder as PEFT writes it, that of `jury train rft` or `rl`, or a GGUF adapter
    #[arg(long, env = "JURY_ADAPTER", value_name = "PATH")]
    pub adapter: PathBuf,
    /// Where the merged model goes: a new folder, or a file that ends in .gguf
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub out: PathBuf,
    /// Type of a folder's matrices [default: the model's own]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub dtype: Option<DtypeArg>,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Print JSON instead of a sentence
    #[arg(long)]
    pub json: bool,
    /// No progress on stderr
    #[arg(short, long)]
    pub quiet: bool,
}

/// Type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DtypeArg {
    /// 16 bits with the range of floats
    Bf16,
    /// 32 bits
    F32,
}
