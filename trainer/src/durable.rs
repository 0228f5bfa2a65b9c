//! Files of the trainer, written completely or not at all ([`jury_eval::whole_file`]), with errors that name them.

use std::fs::File;
use std::io;
use std::path::Path;

use jury_eval::whole_file;

use crate::error::TuneError;

/// Replaces the file at `path` with `bytes`. After an error the old file is unchanged.
///
/// # Errors
/// [`TuneError::Write`] with the file that could not be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), TuneError> {
    whole_file::write(path, bytes).map_err(|source| TuneError::write(path, source))
}

/// Same, with the content that `writer` writes into the file passed to it.
///
/// # Errors
/// As [`replace`].
pub fn replace_by(
    path: &Path,
    writer: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), TuneError> {
    whole_file::write_by(path, writer).map_err(|source| TuneError::write(path, source))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_that_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        replace(&path, b"one").unwrap();
        // Everything written to /dev/full fails as on a full disk.
        std::os::unix::fs::symlink("/dev/full", folder.path().join("checkpoint.partial")).unwrap();
        let error = replace(&path, b"two").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
