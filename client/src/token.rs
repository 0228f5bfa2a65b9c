//! The token by which a coordinator knows on whose behalf a client calls.

use jury_fabric::secret::{ExposeSecret, SecretString};
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;

/// A bearer token. Its `Debug` shows nothing of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token(MetadataValue<Ascii>);

/// Puts the token, if there is one, beside every call.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(pub(crate) Option<Token>);

/// Why a token cannot be used. Never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum TokenError {
    #[error("is empty, or has other characters than visible ASCII")]
    Malformed,
    #[error(
        "would cross the network readable to everybody on the way to {0}; use an https:// address, or allow it with \
         --allow-token-without-tls (JURY_ALLOW_TOKEN_WITHOUT_TLS) where the network itself is trusted"
    )]
    WithoutTls(String),
}

// === impl Token ===

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for what no header can hold.
    pub fn new(secret: &SecretString) -> Result<Self, TokenError> {
        let text = secret.expose_secret();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed);
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {text}").parse().map_err(|_| TokenError::Malformed)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Checks that nobody on the way to `address` can read the token: it is called over TLS, or on this machine.
    ///
    /// # Errors
    /// [`TokenError::WithoutTls`].
    pub fn check_way(address: &str) -> Result<(), TokenError> {
        let address = address.trim();
        let is_safe = match address.split_once("://") {
            Some(("https", _)) => true,
            Some((_, rest)) => is_loopback(rest),
            None => address.starts_with("in-process:") || is_loopback(address),
        };
        if is_safe { Ok(()) } else { Err(TokenError::WithoutTls(address.to_owned())) }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(Token(value)) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn is_loopback(host_and_port: &str) -> bool {
    let host_and_port = host_and_port.trim_end_matches('/');
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _port)| host);
    let host = host.trim_matches(['[', ']']);
    let is_ip = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_ip || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new(&SecretString::from("hunter2")).unwrap();
        assert!(!format!("{token:?} {:?}", Bearer(Some(token.clone()))).contains("hunter2"));
        for wrong in ["", "two words", "ümlaut", "line\n"] {
            let error = Token::new(&SecretString::from(wrong)).unwrap_err();
            assert_eq!(error, TokenError::Malformed);
        }
    }

    #[test]
    fn a_token_crosses_a_network_over_tls_alone() {
        for safe in [
            "https://judge:7480",
            "http://127.0.0.1:7480",
            "127.8.8.8:7480",
            "http://localhost:7480/",
            "http://[::1]:7480",
            "in-process:coordinator",
        ] {
            assert_eq!(Token::check_way(safe), Ok(()), "{safe}");
        }
        for open in [
            "http://judge:7480",
            "judge:7480",
            "http://10.0.0.1:7480",
            "http://[fd00::1]:7480",
            "http://localhost.example.com:7480",
            "http://127.0.0.1.example.com:7480",
        ] {
            assert!(Token::check_way(open).is_err(), "{open}");
        }
    }
}
