//! Files that are written completely or not at all: a reader never sees half of one, whenever the writer stops.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`. An existing file is replaced once the new one is on the disk.
///
/// # Errors
/// The system's error; an existing file is unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, |file| file.write_all(bytes))
}

/// Same, with the content that `writer` writes into the file passed to it.
///
/// # Errors
/// Errors of `writer`, and the system's.
pub fn write_by<E: From<io::Error>>(
    path: &Path,
    writer: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let partial = partial(path);
    let mut file = File::create(&partial)?;
    let written = writer(&mut file).and_then(|()| Ok(file.sync_all()?));
    let replaced = written.and_then(|()| Ok(fs::rename(&partial, path)?));
    if replaced.is_err() {
        // If it cannot be removed either, it is overwritten the next time.
        drop(fs::remove_file(&partial));
    }
    replaced
}

/// Next to the file, so that it can be renamed.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_fails_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write(&path, b"first").unwrap();
        let failed = write_by(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert!(write(&folder.path().join("none/report.json"), b"").is_err());
    }
}
