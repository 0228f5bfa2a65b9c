//! The token by which a coordinator knows who calls.

use std::path::PathBuf;

use jury_client::Token;
use jury_fabric::secret::{SecretString, read_secret};
use jury_terminal::Refused;

/// On whose behalf a coordinator is called.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Tenants")]
pub struct TokenArgs {
    /// The token of your tenant, where the coordinator at --endpoint has tenants. Everybody on a machine sees its
    /// command lines: use the variable, or a file
    #[arg(long, env = "JURY_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// A file whose one line is the token
    #[arg(long, env = "JURY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Send the token over plain http to other machines, too: for networks that nobody else can read
    #[arg(long, env = "JURY_ALLOW_TOKEN_WITHOUT_TLS")]
    pub allow_token_without_tls: bool,
}

// === impl TokenArgs ===

impl TokenArgs {
    /// The token to show to `endpoint`.
    ///
    /// # Errors
    /// When the file holds none, or the way there is open and that is not allowed.
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
