//! Who may call a coordinator, and `jury tenants`.

use std::path::PathBuf;

use clap::Subcommand;

/// Who may call.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tenants")]
pub struct TenantsFileArgs {
    /// Require a token from every caller, and share the fleet between the tenants of this file (TOML; see `jury
    /// tenants`). Changes to the file take effect within two seconds; a malformed file is logged, and the last valid
    /// one stays in effect. Without this option no token is needed
    #[arg(long = "tenants", env = "JURY_TENANTS", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A tenants file has one table per tenant; docs/security.md describes every key.

Examples:
  # a token for a caller, and its digest for the file
  jury tenants new-token
  # validate the file and show what it says
  jury tenants check tenants.toml
  jury coordinator --tenants tenants.toml --etcd http://127.0.0.1:2379

A tenants file:
  [[tenant]]
  name = \"search\"
  # one or more; the file never contains a token
  token_digests = [\"sha256:...\"]
  # its share of tokens while other tenants are waiting
  weight = 2
  # also requests_per_minute, tokens_per_minute
  samples_per_minute = 5000")]
pub struct TenantsArgs {
    #[command(subcommand)]
    pub command: TenantsCommand,
}

#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// Create a token, and print it with its digest for the tenants file
    #[command(after_help = "Example:\n  jury tenants new-token --json")]
    NewToken {
        /// Print one JSON object instead of two lines
        #[arg(long)]
        json: bool,
    },
    /// Validate a tenants file as a coordinator would, and print what it says
    #[command(after_help = "Example:\n  jury tenants check tenants.toml")]
    Check {
        /// The tenants file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
}
