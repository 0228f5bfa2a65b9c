//! Why a model file is not available; each message says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::CATALOGUE;

/// Why a model file is not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Neither a catalogue name, nor a path, nor a hub file.
    #[error(
        "unknown model {name:?}: give one of {}, a path that ends in .gguf, a folder, or hub:owner/repo/file.gguf",
        catalogue_names()
    )]
    Unknown {
        /// What was requested.
        name: String,
    },
    /// A hub reference that lacks a part.
    #[error("{reference:?} is not hub:owner/repo/file.gguf")]
    MalformedHubReference {
        /// What was requested.
        reference: String,
    },
    /// There is nothing at the path.
    #[error("there is no model {path}; `jury models list` shows what can be fetched by name")]
    NoSuchFile {
        /// The path.
        path: PathBuf,
    },
    /// A model that is fetched needs a folder to be stored in.
    #[error(
        "there is no folder for what is fetched, since this user has no home: name one with --model-cache, or give a \
         model's path"
    )]
    NoFolder,
    /// The engine cannot load it.
    #[error(transparent)]
    NotLoadable(#[from] jury_engine::LoadError),
    /// A file is not the one that its name stands for.
    #[error(
        "{path} has sha256 {actual} instead of {expected}: it is damaged or another file; remove it and fetch it again"
    )]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// The digest in the catalogue.
        expected: String,
        /// The file's digest.
        actual: String,
    },
    /// Neither the hub nor the mirror provided the file.
    #[error(
        "model {name} could not be fetched. {hub}. {mirror}. Check the network, or put the file in place by hand and give its path"
    )]
    Unavailable {
        /// The model.
        name: String,
        /// The hub's problem.
        hub: String,
        /// The mirror's problem.
        mirror: String,
    },
    /// The hub did not provide the file, and there is no mirror of it.
    #[error(
        "{file} of {repo} could not be fetched. {problem}. Check the network and the name, or give a path"
    )]
    Hub {
        /// The repository.
        repo: String,
        /// The file in it.
        file: String,
        /// What went wrong.
        problem: String,
    },
    /// A file operation failed.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

// === impl ModelError ===

impl ModelError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

fn catalogue_names() -> String {
    CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}
