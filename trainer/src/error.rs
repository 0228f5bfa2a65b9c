//! Why a model cannot be tuned.

use std::path::{Path, PathBuf};

use jury_engine::merge::MergeError;
use jury_engine::{LoadError, PromptError};
use jury_eval::asked::AskError;
use jury_eval::picture::PictureError;
use jury_eval::trajectories::TrajectoryError;

/// A model cannot be tuned, or the result cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The model's files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A folder cannot be made from the trained weights.
    #[error(transparent)]
    Folder(#[from] MergeError),
    /// The arithmetic failed.
    #[error("the model could not be computed: {0}")]
    Compute(#[from] candle_core::Error),
    /// A text that the model's template rejects.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A setting that cannot work.
    #[error("{field}: {why}")]
    Setting {
        /// Its name.
        field: &'static str,
        /// The limit, and how to fix it.
        why: String,
    },
    /// There is nothing to learn from.
    #[error("{0}")]
    NoData(String),
    /// A loss or a gradient is no longer a number.
    #[error("step {step}: the {what} is not a finite number; lower the learning rate")]
    Diverged {
        /// From 0.
        step: u64,
        /// Which number.
        what: &'static str,
    },
    /// The samples belong to other prompts than those to train on.
    #[error(transparent)]
    Asked(#[from] AskError),
    /// Curves that cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A report that cannot be written as JSON.
    #[error("the report cannot be written")]
    Report(#[source] serde_json::Error),
    /// Samples that cannot be written.
    #[error("{}", path.display())]
    Samples {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrajectoryError,
    },
    /// A file of another run, or damaged.
    #[error("{path}: {why}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What does not fit, and how to fix it.
        why: String,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file or a folder could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

// === impl TuneError ===

impl TuneError {
    pub(crate) fn setting(field: &'static str, why: impl Into<String>) -> Self {
        Self::Setting { field, why: why.into() }
    }

    /// A file that does not fit.
    pub fn foreign(path: &Path, why: impl Into<String>) -> Self {
        Self::Foreign { path: path.to_owned(), why: why.into() }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}
