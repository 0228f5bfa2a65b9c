//! A value built from files, rebuilt when they change.
//!
//! Files are compared by content: a Kubernetes secret is a symbolic link that is swapped, other tools write in place,
//! and file timestamps may be too coarse for both.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::pem::Contents;
use super::{TlsError, metrics};

/// The latest `T` that could be built. Clones share it.
pub(super) struct Reloading<T>(Arc<Shared<T>>);

type Make<T> = dyn Fn(&[Contents]) -> Result<T, TlsError> + Send + Sync;

struct Shared<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    current: RwLock<Arc<T>>,
    looks: Mutex<Looks>,
}

/// What earlier checks have found.
struct Looks {
    /// Digest of the files that were last tried.
    tried: u64,
    /// The problem that was reported for them, if they could not be used.
    trouble: Option<String>,
}

// === impl Reloading ===

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Builds the value from `files`, in their order, and checks them every `every` as long as a clone lives. Without
    /// files nothing is checked. With files, must be called inside a tokio runtime.
    pub(super) fn open(
        files: Vec<PathBuf>,
        every: Duration,
        make: impl Fn(&[Contents]) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let contents = read(&files)?;
        let current = RwLock::new(Arc::new(make(&contents)?));
        let looks = Mutex::new(Looks { tried: digest(&contents), trouble: None });
        let shared = Arc::new(Shared { files, make: Box::new(make), current, looks });
        if !shared.files.is_empty() {
            tokio::spawn(watch(Arc::downgrade(&shared), every));
        }
        Ok(Self(shared))
    }
}

impl<T> Reloading<T> {
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Reloading<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === impl Shared ===

impl<T> Shared<T> {
    /// Reads the files once, and uses their contents if they are new and valid.
    fn look(&self) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match read(&self.files) {
            Ok(contents) => {
                let found = digest(&contents);
                if found == looks.tried && looks.trouble.is_none() {
                    return;
                }
                looks.tried = found;
                (self.make)(&contents)
            }
            Err(error) => {
                // Any next contents count as new.
                looks.tried = 0;
                Err(error)
            }
        };
        match made {
            Ok(made) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                if looks.trouble.take().is_some() {
                    metrics::recovered();
                }
                metrics::reloaded();
                info!(files = ?self.files, "certificates reloaded");
            }
            Err(error) => {
                let told = error.to_string();
                match looks.trouble.replace(told.clone()) {
                    Some(before) if before == told => return,
                    Some(_) => {}
                    None => metrics::began_to_fail(),
                }
                metrics::failed();
                warn!(error = told, "new certificates cannot be used, the last ones stay");
            }
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let looks = self.looks.get_mut().unwrap_or_else(PoisonError::into_inner);
        if looks.trouble.is_some() {
            metrics::recovered();
        }
    }
}

// === private ===

async fn watch<T: Send + Sync + 'static>(shared: Weak<Shared<T>>, every: Duration) {
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        // A volume may hang; then only this task hangs.
        drop(tokio::task::spawn_blocking(move || shared.look()).await);
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Contents>, TlsError> {
    let read = |path: &PathBuf| match std::fs::read(path) {
        Ok(bytes) => Ok(Contents { path: path.clone(), bytes }),
        Err(source) => Err(TlsError::Unreadable { path: path.clone(), source }),
    };
    files.iter().map(read).collect()
}

/// Distinguishes contents without keeping a copy of a key.
fn digest(contents: &[Contents]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.iter().for_each(|file| file.bytes.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a number from a file; the test triggers the checks itself.
    fn number(path: &std::path::Path) -> Result<Reloading<u32>, TlsError> {
        Reloading::open(vec![path.to_owned()], Duration::from_secs(3600), |files| {
            let text = String::from_utf8_lossy(&files[0].bytes);
            let unusable = |error| super::super::pem::unusable(&files[0].path, &error);
            text.parse::<u32>().map_err(|error| unusable(error.to_string()))
        })
    }

    #[tokio::test]
    async fn a_change_that_can_be_used_is_and_one_that_cannot_leaves_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let reloading = number(&path).unwrap();
        for (written, current) in [("2", 2), ("half of a", 2), ("3", 3), ("3", 3)] {
            std::fs::write(&path, written).unwrap();
            reloading.0.look();
            assert_eq!(*reloading.current(), current, "{written}");
        }
        std::fs::remove_file(&path).unwrap();
        reloading.0.look();
        assert_eq!(*reloading.current(), 3, "a file that is gone for a moment");
        std::fs::write(&path, "3").unwrap();
        reloading.0.look();
        assert!(reloading.0.looks.lock().unwrap().trouble.is_none(), "the same file came back");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_that_is_swapped_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("old"), "1").unwrap();
        std::fs::write(at("new"), "2").unwrap();
        std::os::unix::fs::symlink(at("old"), at("number")).unwrap();
        let reloading = number(&at("number")).unwrap();
        std::os::unix::fs::symlink(at("new"), at("swap")).unwrap();
        std::fs::rename(at("swap"), at("number")).unwrap();
        reloading.0.look();
        assert_eq!(*reloading.current(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_used_at_the_start_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        assert!(matches!(number(&path), Err(TlsError::Unreadable { .. })));
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(number(&path), Err(TlsError::Unusable { .. })));
    }
}
