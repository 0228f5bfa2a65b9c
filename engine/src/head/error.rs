//! Why a head cannot be used.

use std::path::PathBuf;

use super::StatePlace;

/// A head cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file could not be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is larger than any valid head.
    #[error("{path} has {bytes} bytes, a head has at most {most}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The bytes are not a head.
    #[error("not a head (safetensors, written by `jury train meta`): {0}")]
    NotAHead(String),
    /// Its parts contradict each other, or are out of range.
    #[error("the head is unsound: {0}")]
    Unsound(String),
    /// It reads the states of another model.
    #[error(
        "the head was trained on the states of model {bound_to}, this one is {served}; serve that model, or train a head for this one"
    )]
    WrongModel {
        /// Digest of its model, hex.
        bound_to: String,
        /// Digest of the model in use, hex.
        served: String,
    },
    /// It reads states taken at another place.
    #[error(
        "the head was trained on states at {trained_at}; here it would read those at {served}. \
         `jury train meta` trains the one, `jury train meta --backbone MODEL` the other"
    )]
    WrongPlace {
        /// Where its training states were taken.
        trained_at: StatePlace,
        /// Where the given states are taken.
        served: StatePlace,
    },
    /// It reads states of another width.
    #[error("the head reads states of {reads} numbers, this one has {found}")]
    WrongWidth {
        /// Numbers that it reads.
        reads: usize,
        /// Numbers of the given state.
        found: usize,
    },
    /// The state, or the score computed from it, is not finite.
    #[error("the state or its score is not a finite number")]
    NotANumber,
}
