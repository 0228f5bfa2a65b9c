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
    /// List the models of the catalogue, and which of them are here
    #[command(after_help = "Example:\n  jury models list --json")]
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model into the cache, checked against its sha256, and print its path
    #[command(after_help = "Example:\n  jury models fetch smollm2-135m")]
    Fetch {
        /// A model of the catalogue, or hub:OWNER/REPO/FILE; of a file or folder of your own the path is printed
        #[arg(value_name = "MODEL")]
        model: String,
        /// Print JSON instead of the path
        #[arg(long)]
        json: bool,
    },
    /// Tell a model's architecture, size, digest and context; or what an adapter changes
    #[command(after_help = "Example:\n  jury models inspect qwen2.5-coder-1.5b --json")]
    Inspect {
        /// A model of the catalogue, a GGUF file, a folder of safetensors, hub:OWNER/REPO/FILE, or an
        /// adapter: a GGUF file or a folder as PEFT writes it
        #[arg(value_name = "MODEL")]
        model: String,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}
