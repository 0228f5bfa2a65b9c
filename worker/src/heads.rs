//! The heads with which a worker scores samples: files named at start-up, found by their digests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jury_engine::head::{Head, HeadError, StatePlace};
use jury_proto::convert;

use crate::backend::BackendInfo;
use crate::models::digest_of;

/// Heads by digest; clones are cheap.
#[derive(Debug, Clone, Default)]
pub struct Heads {
    loaded: Arc<[LoadedHead]>,
}

#[derive(Debug)]
struct LoadedHead {
    digest: String,
    head: Arc<Head>,
}

/// Why a worker cannot serve its heads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadsError {
    /// A file is not a head, or not one for this model.
    #[error("{path}: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HeadError,
    },
    /// Two heads have the same name, and requests select heads by name.
    #[error(
        "{path}: another head is called {name:?}, too; heads of one worker need names of their own"
    )]
    SameName {
        /// The later file.
        path: PathBuf,
        /// The name of both.
        name: String,
    },
    /// The backend provides nothing that a head can read.
    #[error("this worker's backend cannot tell hidden states, and heads read nothing else")]
    NoStates,
}

// === impl Heads ===

impl Heads {
    /// Loads the files; each head must be bound to the backend's model.
    ///
    /// # Errors
    /// [`HeadsError`] for the first head that cannot be served.
    pub fn load(paths: &[PathBuf], backend: &BackendInfo) -> Result<Self, HeadsError> {
        if !paths.is_empty() && !backend.capabilities.hidden_states {
            return Err(HeadsError::NoStates);
        }
        let mut loaded: Vec<LoadedHead> = Vec::new();
        for path in paths {
            let next = LoadedHead::load(path, backend)
                .map_err(|source| HeadsError::Unusable { path: path.clone(), source })?;
            let name = &next.head.card().name;
            if loaded.iter().any(|other| other.head.card().name == *name) {
                return Err(HeadsError::SameName { path: path.clone(), name: name.clone() });
            }
            loaded.push(next);
        }
        Ok(Self { loaded: loaded.into() })
    }

    /// Names and digests, as the worker reports them.
    pub fn list(&self) -> Vec<convert::Head> {
        let listed = self.loaded.iter().map(|LoadedHead { digest, head }| convert::Head {
            name: head.card().name.clone(),
            digest: digest.clone(),
        });
        listed.collect()
    }

    /// The head with this digest.
    pub fn get(&self, digest: &str) -> Option<Arc<Head>> {
        let found = self.loaded.iter().find(|loaded| loaded.digest == digest);
        found.map(|loaded| loaded.head.clone())
    }
}

// === impl LoadedHead ===

impl LoadedHead {
    fn load(path: &Path, backend: &BackendInfo) -> Result<Self, HeadError> {
        let (head, bytes) = Head::load(path)?;
        head.reads(&backend.model_digest, StatePlace::ScoreLine, backend.state_width)?;
        Ok(Self { digest: digest_of(&bytes), head: Arc::new(head) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::backend::scripted::{ScriptedBackend, example_head};

    fn backend() -> BackendInfo {
        ScriptedBackend::new().with_states().info()
    }

    fn file(folder: &Path, file: &str, head: &Head) -> PathBuf {
        let path = folder.join(file);
        std::fs::write(&path, head.to_bytes()).unwrap();
        path
    }

    #[test]
    fn heads_are_found_by_the_digests_that_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| file(folder.path(), name, &example_head(name)));
        let heads = Heads::load(&paths, &backend()).unwrap();
        let listed = heads.list();
        assert_eq!(
            listed.iter().map(|head| head.name.as_str()).collect::<Vec<_>>(),
            ["one", "two"]
        );
        for told in listed {
            assert_eq!(told.digest.len(), 64);
            assert_eq!(*heads.get(&told.digest).unwrap(), example_head(&told.name));
        }
        assert!(heads.get("another").is_none());
    }

    #[test]
    fn what_cannot_be_served_is_refused_at_the_start_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "one", &example_head("one"));
        let same = file(folder.path(), "same", &example_head("one"));
        let load = |paths: &[&PathBuf], backend: &BackendInfo| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).clone()).collect();
            Heads::load(&paths, backend).unwrap_err().to_string()
        };
        assert!(load(&[&path, &same], &backend()).contains("\"one\""));
        let other = BackendInfo { model_digest: "another".to_owned(), ..backend() };
        let error = load(&[&path], &other);
        assert!(error.contains("another") && error.contains("one: "), "{error}");
        let wider = BackendInfo { state_width: Some(9), ..backend() };
        assert!(load(&[&path], &wider).contains('9'));
        let blind = ScriptedBackend::new().info();
        assert!(load(&[&path], &blind).contains("hidden states"));
        Heads::load(&[], &blind).unwrap();
    }
}
