//! The folder of an evaluation.
//!
//! ```text
//! items.jsonl      the items; fixed by the first run          report.json  report.md
//! verdicts.jsonl   every item with all its samples            curve.svg    curve.png
//! greedy.jsonl     every item with its greedy sample          samples.parquet
//! left-out.jsonl   lines that are not items, and items without a known best response
//! stopping.svg     stopping.png: samples saved by stopping early, and what it costs
//! scalar-*.jsonl   every item with the scores of a baseline   meta-*.jsonl   every item with its samples' meta scores
//! first-8/         reports on only the first eight samples, and their meta-*.jsonl
//! states-*.jsonl   every item with a separate model's hidden states of its samples
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jury_client::batch::{SinkError, read_verdicts};
use jury_eval::judged::Judged;
use jury_eval::report::{Report, markdown, png, svg, tradeoff_png, tradeoff_svg};
use jury_eval::trajectories::Trajectory;
use jury_eval::whole_file;
use jury_grm::domain::Verdict;
use jury_terminal::exit::{Exit, Failed, OrExit};

/// The folder of an evaluation.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// While this is held, no other process trains in the folder.
pub struct FolderLock {
    _items: File,
}

// === impl Folder ===

impl Folder {
    /// Creates the folder unless it exists.
    pub fn open(path: &Path) -> Result<Self, Failed> {
        let folder = Self::at(path);
        folder.make()?;
        Ok(folder)
    }

    /// Creates the folder unless it exists.
    pub fn make(&self) -> Result<(), Failed> {
        let made = fs::create_dir_all(&self.0);
        made.with_context(|| self.0.display().to_string()).or_exit(Exit::CannotWrite)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder at `path`, which need not exist yet.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn samples_path(&self) -> PathBuf {
        self.0.join("samples.parquet")
    }

    pub fn items_path(&self) -> PathBuf {
        self.0.join("items.jsonl")
    }

    pub fn verdicts_path(&self) -> PathBuf {
        self.0.join("verdicts.jsonl")
    }

    pub fn greedy_path(&self) -> PathBuf {
        self.0.join("greedy.jsonl")
    }

    /// Writes the items, or checks that they are the existing ones.
    pub fn settle_items(&self, text: &str) -> Result<(), Failed> {
        let path = self.items_path();
        match fs::read_to_string(&path) {
            Ok(before) if before == text => Ok(()),
            Ok(_) => {
                let folder = self.0.display();
                let problem = anyhow!(
                    "--out: {folder} has an evaluation of other items (other files, --part, --limit or --split-seed); use another \
                     folder"
                );
                Err(Failed::new(Exit::Usage, problem))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(&path, text.as_bytes()),
            Err(error) => Err(unreadable(&path, error)),
        }
    }

    /// Keeps other processes from training in this folder, whose items exist: two would write the same checkpoint.
    pub fn lock(&self) -> Result<FolderLock, Failed> {
        let path = self.items_path();
        let items = File::options().read(true).write(true).open(&path);
        let items = items.map_err(|error| unreadable(&path, error))?;
        if matches!(items.try_lock(), Err(TryLockError::WouldBlock)) {
            let folder = self.0.display();
            let problem = anyhow!(
                "--out: {folder} is used by another process; wait for its end, or name another folder"
            );
            return Err(Failed::new(Exit::Usage, problem));
        }
        // Some file systems have no locks.
        Ok(FolderLock { _items: items })
    }

    /// Digest of the items, hex.
    pub fn items_digest(&self) -> Result<String, Failed> {
        let path = self.items_path();
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, error))?;
        Ok(jury_eval::digest(&bytes))
    }

    pub fn verdicts(&self) -> Result<Vec<Verdict>, Failed> {
        verdicts_of(&self.verdicts_path())
    }

    /// The samples of an evaluation, or the unhinted ones of `jury train rft`.
    pub fn any_samples(&self) -> Result<Vec<Verdict>, Failed> {
        let of_rft =
            ["pairs", "singles"].map(|batch| self.0.join(format!("{batch}.verdicts.jsonl")));
        if self.verdicts_path().exists() || !of_rft.iter().any(|path| path.exists()) {
            return self.verdicts();
        }
        let there = of_rft.iter().filter(|path| path.exists());
        Ok(there.map(|path| verdicts_of(path)).collect::<Result<Vec<_>, _>>()?.concat())
    }

    pub fn greedy(&self) -> Result<Vec<Verdict>, Failed> {
        verdicts_of(&self.greedy_path())
    }

    /// Writes the report in every format, and the samples for other programs.
    pub fn write_report(&self, report: &Report, judged: &[Judged]) -> Result<(), Failed> {
        write_json(&self.0.join("report.json"), report)?;
        write(&self.0.join("report.md"), markdown(report).as_bytes())?;
        write(&self.0.join("curve.svg"), svg(report).or_exit(Exit::Internal)?.as_bytes())?;
        write(&self.0.join("curve.png"), &png(report).or_exit(Exit::Internal)?)?;
        let drawn = tradeoff_svg(report).or_exit(Exit::Internal)?;
        write(&self.0.join("stopping.svg"), drawn.as_bytes())?;
        let drawn = tradeoff_png(report).or_exit(Exit::Internal)?;
        write(&self.0.join("stopping.png"), &drawn)?;
        self.write_samples(&judged.iter().flat_map(Judged::trajectories).collect::<Vec<_>>())
    }

    /// Writes samples for other programs.
    pub fn write_samples(&self, trajectories: &[Trajectory]) -> Result<(), Failed> {
        let path = self.samples_path();
        jury_eval::trajectories::write(&path, trajectories)
            .with_context(|| path.display().to_string())
            .or_exit(Exit::CannotWrite)
    }
}

/// Writes a report as JSON to a file, or to stdout for `-`.
pub fn write_json(path: &Path, report: &Report) -> Result<(), Failed> {
    let mut json = serde_json::to_string_pretty(report).or_exit(Exit::Internal)?;
    json.push('\n');
    if path.as_os_str() == "-" {
        return crate::score::print(&json);
    }
    write(path, json.as_bytes())
}

fn verdicts_of(path: &Path) -> Result<Vec<Verdict>, Failed> {
    read_verdicts(path).map_err(|error| {
        let exit = match &error {
            SinkError::Io { .. } => Exit::NoInput,
            _ => Exit::BadData,
        };
        Failed::new(exit, error)
    })
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let written = whole_file::write(path, bytes);
    written.with_context(|| path.display().to_string()).or_exit(Exit::CannotWrite)
}

fn unreadable(path: &Path, error: io::Error) -> Failed {
    Failed::new(Exit::NoInput, anyhow::Error::from(error).context(path.display().to_string()))
}
