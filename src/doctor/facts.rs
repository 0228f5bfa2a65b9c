//! Facts about this machine.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use jury_engine::Host;
use jury_engine::limits::{Limits, measure};
use jury_fabric::directory::{Directory, Update};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::{cache_folder, tools_folder};
use jury_worker::models::CATALOGUE;
use serde::Serialize;

use super::cuda::Cuda;
use super::huge_pages::HugePages;
use super::llama_cpp::{self, LlamaCppProgram};
use crate::args::{DoctorArgs, EtcdArgs, Refused};
use crate::coordinator::etcd;

/// A working etcd reports the fleet within this time.
const ETCD_PATIENCE: Duration = Duration::from_secs(3);
/// The Python whose pip fetches mirrored models.
const PYTHON: &str = "python3";

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    pub version: &'static str,
    /// Whether Jury's crates are compiled without optimisation; the engine is always optimised.
    pub debug_build: bool,
    #[serde(flatten)]
    pub host: Host,
    /// Devices besides the CPU and NVIDIA's cards that were compiled in.
    pub gpu_features: Vec<&'static str>,
    pub cuda: Cuda,
    pub cache: Cache,
    /// What `python3` and its pip print, or why they fail.
    pub python: Answer,
    pub pip: Answer,
    /// The programs that `jury bench` compares with.
    pub llama_cpp: Vec<LlamaCppProgram>,
    /// None if the system does not report it.
    pub huge_pages: Option<HugePages>,
    /// None if etcd is not configured.
    pub etcd: Option<Answer>,
    /// The self-benchmark.
    pub limits: Limits,
}

/// The folder of model files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cache {
    pub folder: PathBuf,
    /// Why the folder cannot be written.
    pub not_writable: Option<String>,
    pub models: Vec<CachedModel>,
}

/// A model file in the cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedModel {
    pub file: String,
    pub bytes: u64,
    /// Its name in the catalogue.
    pub name: Option<&'static str>,
    /// The size in the catalogue; a different one means that the file is incomplete or changed.
    pub expected_bytes: Option<u64>,
}

/// The answer of another program.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It works; its output.
    Works(String),
    /// It does not work; the reason.
    Fails(String),
}

// === impl Facts ===

impl Facts {
    /// Looks everything up, and measures for a second.
    pub async fn gather(args: &DoctorArgs, meter: &Meter) -> Result<Self, Failed> {
        if args.threads == Some(0) {
            let refused = Refused::new("--threads", "must be at least 1, is 0");
            return Err(Failed::new(Exit::Usage, refused));
        }
        let folder = cache_folder(&args.cache).or_exit(Exit::Usage)?;
        let etcd = if args.etcd.etcd.is_empty() {
            None
        } else {
            meter.stage("asking etcd");
            Some(ask_etcd(&args.etcd).await?)
        };
        meter.stage("looking for GPUs");
        let cuda = tokio::task::block_in_place(Cuda::look);
        meter.stage("measuring for a second");
        let host = Host::detect();
        let threads = args.threads.unwrap_or(host.threads);
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            gpu_features: gpu_features(),
            cuda,
            llama_cpp: llama_cpp::look(tools_folder().as_deref()),
            huge_pages: HugePages::look(),
            cache: Cache::look(folder),
            python: ask(PYTHON, &["--version"]),
            pip: ask(PYTHON, &["-m", "pip", "--version"]),
            etcd,
            limits: tokio::task::block_in_place(|| measure(threads)),
            host,
        })
    }
}

// === impl Cache ===

impl Cache {
    fn look(folder: PathBuf) -> Self {
        let not_writable = probe(&folder).err().map(|error| error.to_string());
        let mut models: Vec<CachedModel> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| CachedModel::of(&entry.ok()?.path()))
            .collect();
        models.sort_by(|a, b| a.file.cmp(&b.file));
        Self { folder, not_writable, models }
    }
}

// === impl CachedModel ===

impl CachedModel {
    /// `None` if it is not a model file.
    fn of(path: &Path) -> Option<Self> {
        if path.extension()? != "gguf" {
            return None;
        }
        let file = path.file_name()?.to_string_lossy().into_owned();
        let bytes = path.metadata().ok()?.len();
        let entry = CATALOGUE.iter().find(|entry| entry.file == file);
        let name = entry.map(|entry| entry.name);
        Some(Self { file, bytes, name, expected_bytes: entry.map(|entry| entry.bytes) })
    }

    /// True if the file is in the catalogue with a different size.
    pub fn is_damaged(&self) -> bool {
        self.expected_bytes.is_some_and(|expected| expected != self.bytes)
    }
}

// === private ===

/// The kinds of GPUs, besides NVIDIA's, that this program was built for.
fn gpu_features() -> Vec<&'static str> {
    if cfg!(feature = "metal") { vec!["metal"] } else { Vec::new() }
}

/// Creates and removes a file in the folder, or in its nearest existing parent.
fn probe(folder: &Path) -> std::io::Result<()> {
    let is_there = |folder: &&Path| folder.is_dir();
    let Some(nearest) = folder.ancestors().find(is_there) else {
        return Err(ErrorKind::NotFound.into());
    };
    let file = nearest.join(format!(".jury-doctor-{}", std::process::id()));
    std::fs::write(&file, b"")?;
    std::fs::remove_file(&file)
}

/// The first line that a program prints.
fn ask(program: &str, arguments: &[&str]) -> Answer {
    let asked = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = match asked {
        Ok(output) => output,
        Err(error) => return Answer::Fails(error.to_string()),
    };
    let first_line = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned()
    };
    if output.status.success() {
        Answer::Works(first_line(&output.stdout))
    } else {
        Answer::Fails(first_line(&output.stderr))
    }
}

async fn ask_etcd(args: &EtcdArgs) -> Result<Answer, Failed> {
    let directory = etcd(args)?;
    let mut updates = directory.watch();
    Ok(match tokio::time::timeout(ETCD_PATIENCE, updates.next()).await {
        Ok(Some(Update::Reset(workers))) => Answer::Works(format!(
            "{} workers in cluster {:?} at {}",
            workers.len(),
            args.cluster,
            args.etcd.join(", ")
        )),
        _ => Answer::Fails(format!(
            "{} did not answer within {} s",
            args.etcd.join(", "),
            ETCD_PATIENCE.as_secs()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_of_another_size_than_the_catalogues_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CATALOGUE[0].file), b"GGUF").unwrap();
        std::fs::write(folder.path().join("my-own.gguf"), b"GGUF").unwrap();
        std::fs::write(folder.path().join("digests.json"), b"{}").unwrap();
        let cache = Cache::look(folder.path().to_owned());
        let damaged: Vec<_> = cache.models.iter().map(CachedModel::is_damaged).collect();
        assert_eq!(cache.not_writable, None);
        assert_eq!(damaged, [true, false]);
    }

    #[test]
    fn a_folder_that_is_yet_to_be_made_counts_as_its_parent() {
        let parent = tempfile::tempdir().unwrap();
        let cache = Cache::look(parent.path().join("jury").join("models"));
        assert_eq!((cache.not_writable, cache.models.len()), (None, 0));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_answer() {
        assert!(matches!(ask("no-such-program-at-all", &[]), Answer::Fails(_)));
    }
}
