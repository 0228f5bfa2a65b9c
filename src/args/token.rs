//! The token that identifies a caller to a coordinator.

use std::path::PathBuf;

use jury_client::Token;
use jury_fabric::secret::{SecretString, read_secret};
use jury_terminal::Refused;

/// On whose behalf a coordinator is called.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tenants")]
pub struct TokenArgs {
    /// Your tenant's token, if the coordinator at --endpoint requires one. Other users of the machine can see command
    /// lines: prefer the environment variable or --token-file
    #[arg(long, env = "JURY_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// File with the token as its only line
    #[arg(long, env = "JURY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Allow sending the token to other machines over plain http://; only for networks where nobody can eavesdrop
    #[arg(long, env = "JURY_ALLOW_TOKEN_WITHOUT_TLS")]
    pub allow_token_without_tls: bool,
}

// === impl TokenArgs ===

impl TokenArgs {
    /// The token to present to `endpoint`.
    ///
    /// # Errors
    /// When the file has no token, or the connection is not encrypted and that is not allowed.
    pub fn for_endpoint(&self, endpoint: &str) -> Result<Option<Token>, Refused> {
        let (flag, secret) = match (&self.token, &self.token_file) {
            (Some(token), _) => ("--token", token.clone()),
            (None, Some(file)) => {
                let flag = "--token-file";
                (flag, read_secret(file).map_err(|error| Refused::file(flag, error))?)
            }
            (None, None) => return Ok(None),
        };
        let token = Token::new(&secret).map_err(|error| Refused::file(flag, error))?;
        if !self.allow_token_without_tls {
            Token::check_way(endpoint).map_err(|error| Refused::file(flag, error))?;
        }
        Ok(Some(token))
    }
}
