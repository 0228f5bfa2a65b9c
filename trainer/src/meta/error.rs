//! Why a head cannot be trained.

use std::path::PathBuf;

use jury_engine::head::HeadError;
use jury_eval::picture::PictureError;

use super::Part;

/// The samples to learn from were not all judged by a single model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No item has a judge.
    #[error("no item was judged; the same command goes on")]
    None,
    /// This item's judge differs from the first one's.
    #[error(
        "item {0:?} was judged by another model than the first; a head reads the states of one: name it with --model"
    )]
    Several(String),
}

/// A head cannot be trained, or cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Nothing to learn from.
    #[error("there are no rows to train on")]
    NoRows,
    /// A state of another model.
    #[error(
        "row {row} has a state of {found} numbers, the first has {expected}; all rows must be of one model"
    )]
    WrongWidth {
        /// From 0.
        row: usize,
        /// Length of the row's state.
        found: usize,
        /// Length of the first row's state.
        expected: usize,
    },
    /// A state that is damaged.
    #[error("row {row} has a state with a number that is not finite")]
    NotANumber {
        /// From 0.
        row: usize,
    },
    /// A part contains only correct samples, or only wrong ones.
    #[error(
        "the {part} part has {rows} rows and not both correct and wrong ones; give more items, of middling difficulty"
    )]
    OneKind {
        /// Which part.
        part: Part,
        /// Its rows.
        rows: usize,
    },
    /// A setting that cannot work.
    #[error("{field}: {why}")]
    Setting {
        /// Its name.
        field: &'static str,
        /// The limit.
        why: String,
    },
    /// The head is invalid, for example because of a name that cannot be requested.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A picture of the training could not be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}
