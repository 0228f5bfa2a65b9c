//! Launches on an emulated card (`scripts/emulated-cuda`), compared with sums in f64.

#![allow(clippy::unwrap_used)] // Tests may.

mod experts;
mod heads;
mod latent;
mod matrices;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use jury_kernels::cuda::{Card, open_libraries};

/// The emulated card; compiles and opens its libraries first.
fn card() -> Card {
    static OPENED: OnceLock<()> = OnceLock::new();
    OPENED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let made = Command::new(root.join("scripts/emulated-cuda")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = String::from_utf8(made.stdout).unwrap();
        open_libraries(Some(Path::new(folder.trim()))).unwrap();
    });
    Card::open(0).unwrap()
}
