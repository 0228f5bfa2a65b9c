//! `jury models`.

use clap::Subcommand;

use super::CacheArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jury models list", mut_arg("model_cache", |cache| cache.global(true)))]
pub struct ModelsArgs {
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of the catalogue, and which of them are in the local cache
    #[command(after_help = "Example:\n  jury models list --json")]
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Download a model into the cache, verify its SHA-256, and print its path
    #[command(after_help = "Example:\n  jury models fetch smollm2-135m")]
    Fetch {
        /// A model of the catalogue, or hub:OWNER/REPO/FILE; for a local file or folder, only the path is printed
        #[arg(value_name = "MODEL")]
        model: String,
        /// Print JSON instead of the path
        #[arg(long)]
        json: bool,
    },
    /// Show a model's architecture, size, digest and context length, or what an adapter changes
    #[command(after_help = "Example:\n  jury models inspect qwen2.5-coder-1.5b --json")]
    Inspect {
        /// A model of the catalogue, a GGUF file, a folder of safetensors, hub:OWNER/REPO/FILE, or an adapter: a GGUF
        /// file or a PEFT folder
        #[arg(value_name = "MODEL")]
        model: String,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}
