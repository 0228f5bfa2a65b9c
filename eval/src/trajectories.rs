//! Samples as Parquet, one per row: for training, for voting again without drawing, and for pandas, polars or duckdb.
//!
//! `docs/evaluation.md` describes the columns. Lists are Parquet's three-level lists, so every reader sees lists.

mod lists;
mod read;
mod schema;
mod write;

use std::io;

use jury_grm::domain::Sample;

pub use read::read;
pub use write::write;

/// One sample, and the item it was drawn for.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// The item's id.
    pub item_id: String,
    /// The key by which the item is clustered, hex.
    pub query_key: String,
    /// Source of the item.
    pub source: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// The sample, with the kind and detail of a failure.
    pub sample: Sample,
    /// Whether its scores are right (paper, section 3.2): the best response strictly highest, or the label of a
    /// single one matched. `None` if unknown.
    pub is_correct: Option<bool>,
    /// Which model drew it, and how.
    pub drawn_by: DrawnBy,
}

/// Which model drew a sample, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrawnBy {
    /// The judging model.
    pub model: String,
    /// Digest of its file, hex.
    pub model_digest: String,
    /// Numerics class.
    pub numerics: String,
    /// Digest of template, parser and guide.
    pub method_digest: String,
    /// The settings in force, as JSON.
    pub settings: String,
    /// Digest of the Meta RM that gave the meta score, hex; `None` if the sample was not ranked.
    pub meta_digest: Option<String>,
    /// Its class of arithmetic, where it is a model of its own.
    pub meta_numerics: Option<String>,
}

/// Why a file of trajectories cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrajectoryError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its Parquet data is invalid.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A column is missing or has another type.
    #[error("no file of trajectories: column {column} {problem}")]
    Column {
        /// Which.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

#[cfg(test)]
mod tests;
