//! Who may call a coordinator, and `jury tenants`.

use std::path::PathBuf;

use clap::Subcommand;

/// Who may call.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tenants")]
pub struct TenantsFileArgs {
    /// Ask every caller for a token, and share the fleet between the tenants of this file (TOML; see `jury tenants`).
    /// A change of the file is in force within a second or two; a broken one is logged, and the last good one stays.
    /// Without it nobody needs a token
    #[arg(long = "tenants", env = "JURY_TENANTS", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file of tenants has a table for each; docs/security.md has every key.

Examples:
  # a token for somebody, and its digest for the file
  jury tenants new-token
  # what the file says, or what is wrong with it
  jury tenants check tenants.toml
  jury coordinator --tenants tenants.toml --etcd http://127.0.0.1:2379

A file of tenants:
  [[tenant]]
  name = \"search\"
  # of one token or more: the file holds no token
  token_digests = [\"sha256:...\"]
  # its share of tokens while others wait, too
  weight = 2
  # also requests_per_minute, tokens_per_minute
  samples_per_minute = 5000")]
pub struct TenantsArgs {
    #[command(subcommand)]
    pub command: TenantsCommand,
}

#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// Make a token, and the digest of it that belongs into the file of tenants
    #[command(after_help = "Example:\n  jury tenants new-token --json")]
    NewToken {
        /// Print one JSON object instead of two lines
        #[arg(long)]
        json: bool,
    },
    /// Read a file of tenants as a coordinator would, and print what it says
    #[command(after_help = "Example:\n  jury tenants check tenants.toml")]
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
}
