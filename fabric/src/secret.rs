//! Secrets: texts that must not reach a log, a core dump or an error message.
//!
//! A [`SecretString`] has a redacted `Debug`, no `Display` and no `Serialize`, and is overwritten when dropped.
//! Reading it takes [`ExposeSecret::expose_secret`], so that a text search finds every place that does.
//!
//! An option that takes a secret needs `hide_env_values = true`: otherwise clap's help shows the variable's value.

use std::io;
use std::path::{Path, PathBuf};

pub use secrecy::{ExposeSecret, SecretString};

/// Largest secret file, in bytes. Tokens and passwords are far smaller; a larger file is the wrong file.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Why a file does not hold a usable secret. Never reveals the contents.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum SecretError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is empty; it must hold the secret on its first line", .0.display())]
    Empty(PathBuf),
    #[error("{} has more than one line; it must hold the secret alone", .0.display())]
    SeveralLines(PathBuf),
    #[error("{} is {bytes} bytes; a secret is at most {MAX_SECRET_BYTES}", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{} is no UTF-8 text", .0.display())]
    NotText(PathBuf),
}

/// Reads a secret from a file of one line, without the line ending.
///
/// # Errors
/// [`SecretError`], which names the file but not its contents.
pub fn read_secret(path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_SECRET_BYTES {
        return Err(SecretError::TooLarge { path: path.to_owned(), bytes });
    }
    let text = SecretString::from(std::fs::read_to_string(path).map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidData {
            SecretError::NotText(path.to_owned())
        } else {
            unreadable(error)
        }
    })?);
    let line = text.expose_secret().trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(SecretError::Empty(path.to_owned()));
    }
    if line.contains(['\r', '\n']) {
        return Err(SecretError::SeveralLines(path.to_owned()));
    }
    Ok(SecretString::from(line))
}

/// `address` for a message: what stands before the host's `@`, a user and perhaps a password, is replaced by `***`.
pub fn without_user(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + "://".len());
    match address[start..].rfind('@') {
        Some(at) => format!("{}***{}", &address[..start], &address[start + at..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = SecretString::from("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.expose_secret(), "hunter2");
    }

    #[test]
    fn a_file_gives_its_one_line_and_no_error_tells_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            read_secret(&path).map(|secret| secret.expose_secret().to_owned())
        };
        assert_eq!(read(b"two words\r\n").unwrap(), "two words");
        assert_eq!(read(b"bare").unwrap(), "bare");
        assert!(matches!(read(b"\n"), Err(SecretError::Empty(_))));
        assert!(matches!(read(b"\xff\xfe"), Err(SecretError::NotText(_))));
        let large = vec![b'x'; 65 << 10];
        assert!(matches!(read(&large), Err(SecretError::TooLarge { .. })));
        let told = read(b"hunter2\nhunter3\n").unwrap_err();
        assert!(matches!(told, SecretError::SeveralLines(_)));
        assert!(!format!("{told} {told:?}").contains("hunter"), "{told}");
        let missing = read_secret(&folder.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
    }
}
