//! Where model files and programs are stored.

use std::path::PathBuf;

use jury_worker::models::ModelStore;

use super::CacheArgs;
use crate::Refused;

/// The models of this machine.
pub fn store(folder: Option<PathBuf>) -> ModelStore {
    folder.map_or_else(ModelStore::without_folder, ModelStore::new)
}

/// The folder of model files: the given one, else the user's own.
///
/// # Errors
/// No folder is given, and the user has no home directory.
pub fn cache_folder(cache: &CacheArgs) -> Result<PathBuf, Refused> {
    cache.folder().ok_or_else(|| {
        Refused::new("--model-cache", "the user has no home directory; give a folder")
    })
}

/// Where `scripts/llama-cpp` and `scripts/etcd` install programs: in the user's cache folder, wherever model files are
/// stored.
pub fn tools_folder() -> Option<PathBuf> {
    ModelStore::default_directory()?.parent().map(|folder| folder.join("tools"))
}

// === impl CacheArgs ===

impl CacheArgs {
    /// The folder of model files: the given one, else the user's own; `None` if the user has no home directory.
    pub fn folder(&self) -> Option<PathBuf> {
        self.model_cache.clone().or_else(ModelStore::default_directory)
    }
}
