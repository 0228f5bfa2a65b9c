//! Where model files and programs are kept.

use std::path::PathBuf;

use jury_worker::models::ModelStore;

use super::CacheArgs;
use crate::Refused;

/// The models of this machine.
pub fn store(folder: Option<PathBuf>) -> ModelStore {
    folder.map_or_else(ModelStore::without_folder, ModelStore::new)
}

/// The folder of model files: the one named, else the user's own.
///
/// # Errors
/// A user without a home, who named none.
pub fn cache_folder(cache: &CacheArgs) -> Result<PathBuf, Refused> {
    cache
        .folder()
        .ok_or_else(|| Refused::new("--model-cache", "this user has no home; name a folder"))
}

/// Where `scripts/llama-cpp` and `scripts/etcd` install programs: in the user's own cache folder, wherever model files
/// are kept.
pub fn tools_folder() -> Option<PathBuf> {
    ModelStore::default_directory()?.parent().map(|folder| folder.join("tools"))
}

// === impl CacheArgs ===

impl CacheArgs {
    /// The folder of model files: the one named, else the user's own; `None` for a user without a home.
    pub fn folder(&self) -> Option<PathBuf> {
        self.model_cache.clone().or_else(ModelStore::default_directory)
    }
}
