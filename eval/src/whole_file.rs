//! Files that are written completely or not at all: a reader never sees half of one, whenever the writer stops.
//!
//! Links are followed, so the file lands on the intended disk. What is not a regular file (a device, a pipe, the stdout of
//! this process) cannot be replaced and is written to directly.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most links in one path; the system stops at the same number.
const MOST_LINKS: usize = 40;

/// Writes `bytes` to `path`. An existing file is replaced once the new one is on the disk.
///
/// # Errors
/// The system's error; an existing file is unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, |file| file.write_all(bytes))
}

/// Same, with the content that `writer` writes into the file passed to it, from start to end.
///
/// # Errors
/// Errors of `writer`, and the system's; also if another process is writing the same file.
pub fn write_by<E: From<io::Error>>(
    path: &Path,
    writer: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let Some(path) = replaceable(path)? else {
        return writer(&mut OpenOptions::new().append(true).open(path)?);
    };
    let partial = partial(&path);
    let mut file = create(&partial)?;
    let written = writer(&mut file).and_then(|()| Ok(file.sync_all()?));
    let replaced = written.and_then(|()| Ok(fs::rename(&partial, path)?));
    if replaced.is_err() {
        // If it cannot be removed either, it is overwritten the next time.
        drop(fs::remove_file(&partial));
    }
    replaced
}

/// The file that `path` leads to, which may not exist yet; `None` if it cannot be replaced.
fn replaceable(path: &Path) -> io::Result<Option<PathBuf>> {
    match path.metadata() {
        Ok(found) if !found.is_file() && !found.is_dir() => return Ok(None),
        _ => {}
    }
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        // An open file of a process, such as /dev/stdout.
        if path.starts_with("/proc") || path.starts_with("/dev/fd") {
            return Ok(None);
        }
        match path.read_link() {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(Some(path)),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Creates or empties the file, and locks it until it is closed.
fn create(partial: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(partial)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let problem = "another process is writing it";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
            }
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let (opened, found) = (file.metadata()?, fs::metadata(partial));
        // Another process may have renamed it between the two calls; then it is a finished file.
        if found.is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino())) {
            if opened.len() > 0 {
                file.set_len(0)?;
            }
            return Ok(file);
        }
    }
}

/// Next to the file, so that it can be renamed.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

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

    #[test]
    fn a_link_stays_and_its_target_is_written_be_it_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let [big_disk, link] = ["big-disk", "link"].map(|name| folder.path().join(name));
        fs::create_dir(&big_disk).unwrap();
        symlink("big-disk/checkpoint", &link).unwrap();
        for bytes in [b"one", b"two"] {
            write(&link, bytes).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read(big_disk.join("checkpoint")).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(&big_disk).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, b"{}").unwrap();
        assert_eq!(read.join().unwrap(), "{}");
        assert!(pipe.metadata().unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_open_file_of_a_process_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut opened = File::create(&path).unwrap();
        opened.write_all(b"before ").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&opened);
        write(Path::new(&format!("/dev/fd/{fd}")), b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before after");
    }

    #[test]
    fn a_file_that_is_being_written_is_not_written_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write_by(&path, |file| {
            file.write_all(b"first")?;
            let second = write(&path, b"second").unwrap_err();
            assert_eq!(second.to_string(), "another process is writing it");
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }
}
