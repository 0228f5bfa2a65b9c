//! Bearer tokens; only their digests are stored.
//!
//! A token is looked up by its SHA-256: the timing of the look-up reveals only a digest that the caller cannot steer,
//! and reading the tenants file reveals no token.

use std::fmt;

use jury_fabric::secret::SecretString;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// Prefix of a digest in a file.
pub const DIGEST_PREFIX: &str = "sha256:";
/// Prefix of a token, so that people and scanners for leaked secrets recognise it.
const TOKEN_PREFIX: &str = "jury_";
/// Random bytes in a token: far beyond guessing.
const TOKEN_BYTES: usize = 32;

/// Words that people put in place of a token. The digests of some were in an example of our documentation.
const GUESSABLE: [&str; 16] = [
    "123456",
    "12345678",
    "admin",
    "change-me",
    "changeme",
    "default",
    "example",
    "judge",
    "jury",
    "pass",
    "password",
    "password1",
    "password2",
    "secret",
    "test",
    "token",
];

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// The system provided no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(String);

/// Creates a random token.
///
/// # Errors
/// [`NoRandomness`] if the system provides no random numbers.
pub fn new_token() -> Result<SecretString, NoRandomness> {
    let mut bytes = [0; TOKEN_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(SecretString::from(format!("{TOKEN_PREFIX}{}", hex(&bytes))))
}

// === impl TokenDigest ===

impl TokenDigest {
    /// The digest of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether this is the digest of a word that anyone would try.
    pub(super) fn is_guessable(&self) -> bool {
        GUESSABLE.iter().any(|word| *self == Self::of(word))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `sha256:` and 64 hex digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(DIGEST_PREFIX)?.as_bytes();
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for TokenDigest {
    /// Enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_PREFIX}{}..", hex(&self.0[..4]))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use jury_fabric::secret::ExposeSecret;

    use super::*;

    #[test]
    fn a_new_token_is_like_no_other_and_never_shown() {
        let (first, second) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(first.expose_secret(), second.expose_secret());
        assert_eq!(first.expose_secret().len(), TOKEN_PREFIX.len() + 64);
        assert!(!format!("{first:?}").contains(first.expose_secret()));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_as_sha256sum_gives_it() {
        let digest = TokenDigest::of("abc");
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), known);
        assert_eq!(TokenDigest::parse(known), Some(digest));
        for wrong in ["", "sha256:", "abc", &known[..70], &known.replace('b', "g"), "sha256:äö"] {
            assert_eq!(TokenDigest::parse(wrong), None, "{wrong}");
        }
    }
}
