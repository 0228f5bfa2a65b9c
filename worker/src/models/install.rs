//! A file gets its final name only when it is complete and correct, and only one process at a time works on it.
//!
//! ```text
//! <folder>/.fetch/<file>.lock     held while a process fetches; the system releases it when the process dies
//! <folder>/.fetch/<file>/         partial downloads, from which an interrupted fetch continues
//! <folder>/.fetch/<file>.part     being written
//! <folder>/<file>                 complete, verified, renamed
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::digest::hex;
use super::{ModelError, Phase, Progress};

/// The exclusive right to fetch one file.
#[derive(Debug)]
pub(super) struct FetchLock {
    target: PathBuf,
    staging: PathBuf,
    part: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

/// A file being written and hashed. If it is dropped before [`PartFile::install`], nothing is left of it.
#[derive(Debug)]
pub(super) struct PartFile<'a> {
    lock: &'a FetchLock,
    file: File,
    hasher: Sha256,
    written_bytes: u64,
}

// === impl FetchLock ===

impl FetchLock {
    /// Waits until no other process fetches `target`.
    pub(super) fn take(target: &Path, progress: &dyn Progress) -> Result<Self, ModelError> {
        let folder = target.parent().unwrap_or(Path::new("."));
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let fetches = folder.join(".fetch");
        let lock_path = fetches.join(format!("{name}.lock"));
        let failed = |error| ModelError::io(&lock_path)(error);
        fs::create_dir_all(&fetches).map_err(failed)?;
        let options = File::options().create(true).truncate(false).write(true).clone();
        let lock = options.open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.phase(Phase::Waiting);
                lock.lock().map_err(failed)?;
            }
            // Some file systems have no locks. What two processes fetch at once is still checked against its digest.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(file = %lock_path.display(), %error, "not locked");
            }
        }
        Ok(Self {
            target: target.to_owned(),
            staging: fetches.join(&*name),
            part: fetches.join(format!("{name}.part")),
            _lock: lock,
        })
    }

    /// The file that is being fetched.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// A folder for partial downloads, which survives interruptions.
    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    /// Starts writing the file.
    pub(super) fn create(&self) -> io::Result<PartFile<'_>> {
        let file = File::create(&self.part)?;
        Ok(PartFile { lock: self, file, hasher: Sha256::new(), written_bytes: 0 })
    }

    /// Gives a complete and correct file its final name.
    pub(super) fn adopt(&self, whole: &Path) -> io::Result<()> {
        File::open(whole)?.sync_all()?;
        fs::rename(whole, &self.target)
    }

    /// Removes what the fetch left behind. Whatever cannot be removed only costs space.
    pub(super) fn clear(self) {
        if let Err(error) = fs::remove_dir_all(&self.staging)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.staging.display(), %error, "downloads not removed");
        }
    }
}

// === impl PartFile ===

impl PartFile<'_> {
    /// Gives the file its final name if its digest is the expected one.
    pub(super) fn install(self, expected: &str) -> Result<String, String> {
        let actual = hex(&self.hasher.clone().finalize());
        if actual != expected {
            return Err(format!("it has sha256 {actual} instead of {expected}"));
        }
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.lock.part, &self.lock.target))
            .map_err(|error| format!("{}: {error}", self.lock.target.display()))?;
        Ok(actual)
    }

    /// Bytes written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl Write for PartFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.written_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartFile<'_> {
    fn drop(&mut self) {
        // After a rename there is no file of this name; one that remains is overwritten by the next fetch.
        let _ = fs::remove_file(&self.lock.part);
    }
}
