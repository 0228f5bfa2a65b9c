//! SHA-256 of files, remembered by size, time and inode, so that 50 GB are not hashed at each start.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Phase, Progress};

/// Bytes hashed between two progress reports.
const CHUNK_BYTES: usize = 4 << 20;

/// A file that changed this recently may change again within the same tick of its clock, so its digest is not
/// remembered.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The remembered digests of a folder, in its `digests.json`. If two processes write at once, an entry is lost; the
/// only cost is hashing that file once more.
#[derive(Debug)]
pub(super) struct DigestBook {
    file: PathBuf,
}

/// A file as it was when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    bytes: u64,
    modified_ns: u64,
    inode: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    fingerprint: Fingerprint,
    sha256: String,
}

type Lines = BTreeMap<PathBuf, Line>;

// === impl DigestBook ===

impl DigestBook {
    /// The book of this folder, which need not exist.
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { file: folder.join("digests.json") }
    }

    /// The file's digest: remembered, or else computed and remembered. Failing to write the book is not an error.
    pub(super) fn digest(&self, path: &Path, progress: &dyn Progress) -> io::Result<String> {
        let path = fs::canonicalize(path)?;
        let before = path.metadata()?;
        if let Some(line) = self.read().remove(&path)
            && line.fingerprint == Fingerprint::of(&before)
        {
            return Ok(line.sha256);
        }
        let sha256 = hash_file(&path, progress)?;
        let settled = before.modified()?.elapsed().is_ok_and(|age| age > SETTLED_AFTER);
        let unchanged = Fingerprint::of(&path.metadata()?) == Fingerprint::of(&before);
        if settled
            && unchanged
            && let Err(error) = self.write(path, Fingerprint::of(&before), &sha256)
        {
            tracing::warn!(file = %self.file.display(), %error, "digest not remembered");
        }
        Ok(sha256)
    }

    /// Remembers the digest of a file that was hashed while it was written.
    pub(super) fn remember(&self, path: &Path, sha256: &str) -> io::Result<()> {
        let path = fs::canonicalize(path)?;
        let fingerprint = Fingerprint::of(&path.metadata()?);
        self.write(path, fingerprint, sha256)
    }

    /// What is remembered; a missing or damaged book counts as empty.
    fn read(&self) -> Lines {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write(&self, path: PathBuf, fingerprint: Fingerprint, sha256: &str) -> io::Result<()> {
        let mut lines = self.read();
        lines.retain(|known, _| known.exists());
        lines.insert(path, Line { fingerprint, sha256: sha256.to_owned() });
        let text = serde_json::to_string_pretty(&lines).map_err(io::Error::other)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let scratch = folder.join(format!("digests.json.{}", std::process::id()));
        fs::write(&scratch, text)?;
        fs::rename(&scratch, &self.file)
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        Self { bytes: metadata.len(), modified_ns, inode: inode(metadata) }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

/// SHA-256 of a file, hex.
pub(super) fn hash_file(path: &Path, progress: &dyn Progress) -> io::Result<String> {
    let mut file = File::open(path)?;
    let total_bytes = file.metadata()?.len();
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done_bytes = 0;
    progress.phase(Phase::Hashing);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&chunk[..read]);
        done_bytes += read as u64;
        progress.advanced(done_bytes, total_bytes);
    }
}

/// One digest for the parts of a split file, computed from their digests in order.
pub(super) fn of_parts(digests: &[String]) -> String {
    let lines: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
    hex(&Sha256::digest(lines))
}

/// The digest of a folder, computed from its files' names and digests, sorted by name.
pub(super) fn of_files(mut files: Vec<(String, String)>) -> String {
    files.sort();
    let mut hasher = Sha256::new();
    for (name, digest) in files {
        // In the format of sha256sum: all digests have the same length, so a name cannot be mistaken for another.
        hasher.update(format!("{digest}  {name}\n"));
    }
    hex(&hasher.finalize())
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts how often something is hashed.
    #[derive(Default)]
    struct Hashings(AtomicU32);

    impl Progress for Hashings {
        fn phase(&self, phase: Phase) {
            self.0.fetch_add(u32::from(phase == Phase::Hashing), Ordering::Relaxed);
        }
        fn advanced(&self, _done_bytes: u64, _total_bytes: u64) {}
        fn note(&self, _message: &str) {}
    }

    fn write_aged(path: &Path, text: &str, age_s: u64) {
        fs::write(path, text).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age_s);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_file_is_hashed_again_only_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (book, path) = (DigestBook::in_folder(folder.path()), folder.path().join("file"));
        let hashings = Hashings::default();
        write_aged(&path, "abc", 100);
        for _ in 0..3 {
            let digest = book.digest(&path, &hashings).unwrap();
            assert!(digest.starts_with("ba7816bf"), "{digest}");
        }
        assert_eq!(hashings.0.load(Ordering::Relaxed), 1);
        write_aged(&path, "abd", 50);
        assert!(!book.digest(&path, &hashings).unwrap().starts_with("ba7816bf"));
        assert_eq!(hashings.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_file_that_may_still_change_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (book, path) = (DigestBook::in_folder(folder.path()), folder.path().join("file"));
        let hashings = Hashings::default();
        write_aged(&path, "abc", 0);
        book.digest(&path, &hashings).unwrap();
        book.digest(&path, &hashings).unwrap();
        assert_eq!(hashings.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_damaged_book_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let (book, path) = (DigestBook::in_folder(folder.path()), folder.path().join("file"));
        fs::write(folder.path().join("digests.json"), "{").unwrap();
        write_aged(&path, "abc", 100);
        assert!(book.digest(&path, &Hashings::default()).is_ok());
        assert_eq!(book.read().len(), 1);
    }
}
