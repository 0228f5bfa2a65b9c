//! Which file a benchmark's model is.

use std::path::PathBuf;

use anyhow::anyhow;
use jury_worker::models::{ModelRef, ModelStore};

use crate::exit::{Exit, Failed};
use crate::meter::Meter;
use crate::parts::model_failed;

/// Files that `scripts/llama-cpp` makes of a model of the catalogue, in the folder of models: name and file.
const MADE: [(&str, &str); 2] = [
    ("smollm2-135m-q8_0", "SmolLM2-135M-Instruct.Q8_0.gguf"),
    ("smollm2-135m-q4_0", "SmolLM2-135M-Instruct.Q4_0.gguf"),
];

/// A model that is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchModel {
    /// As it was asked for.
    pub name: String,
    pub path: PathBuf,
}

// === impl BenchModel ===

impl BenchModel {
    /// Finds a model, and fetches it if need be.
    pub fn find(name: &str, store: &ModelStore, meter: &Meter) -> Result<Self, Failed> {
        if let Some((_, file)) = MADE.iter().find(|(made, _)| *made == name) {
            let path = store.directory().join(file);
            if !path.is_file() {
                let error = anyhow!("{} is not there: scripts/llama-cpp makes it", path.display());
                return Err(Failed::new(Exit::NoInput, error));
            }
            return Ok(Self { name: name.to_owned(), path });
        }
        let reference = ModelRef::parse(name).map_err(model_failed)?;
        let resolved = store.resolve(&reference, meter).map_err(model_failed)?;
        Ok(Self { name: resolved.name, path: resolved.path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_yet_to_be_made_names_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::new(folder.path());
        let meter = Meter::new(true);
        let failed = BenchModel::find("smollm2-135m-q8_0", &store, &meter).unwrap_err();
        assert_eq!(failed.exit, Exit::NoInput);
        assert!(failed.error.to_string().contains("scripts/llama-cpp"));
        let file = folder.path().join("SmolLM2-135M-Instruct.Q8_0.gguf");
        std::fs::write(&file, b"GGUF").unwrap();
        let found = BenchModel::find("smollm2-135m-q8_0", &store, &meter).unwrap();
        assert_eq!(found.path, file);
    }
}
