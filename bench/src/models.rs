//! Which file a benchmark's model is in.

use std::path::PathBuf;

use anyhow::anyhow;
use jury_worker::models::{CATALOGUE, ModelError, ModelRef, ModelStore};

use jury_terminal::exit::{Exit, Failed};
use jury_terminal::meter::Meter;
use jury_terminal::model::model_failed;

/// Files that `scripts/llama-cpp` makes from models of the catalogue, in the model folder: name and file.
const MADE: [(&str, &str); 2] = [
    ("smollm2-135m-q8_0", "SmolLM2-135M-Instruct.Q8_0.gguf"),
    ("smollm2-135m-q4_0", "SmolLM2-135M-Instruct.Q4_0.gguf"),
];

/// A model to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchModel {
    /// The name as given by the user.
    pub name: String,
    pub path: PathBuf,
}

// === impl BenchModel ===

impl BenchModel {
    /// Finds the model that `flag` names, and fetches it if necessary.
    pub fn find(flag: &str, name: &str, store: &ModelStore, meter: &Meter) -> Result<Self, Failed> {
        if let Some((_, file)) = MADE.iter().find(|(made, _)| *made == name) {
            let path = store.directory().map_err(model_failed)?.join(file);
            if !path.is_file() {
                let missing = path.display();
                let error =
                    anyhow!("{flag} {name}: {missing} is not there: scripts/llama-cpp makes it");
                return Err(Failed::new(Exit::NoInput, error));
            }
            return Ok(Self { name: name.to_owned(), path });
        }
        let reference = ModelRef::parse(name).map_err(|error| not_a_model(flag, error))?;
        let resolved = store
            .resolve(&reference, meter)
            .map_err(|error| with_flag(flag, model_failed(error)))?;
        Ok(Self { name: resolved.name, path: resolved.path })
    }
}

// === private ===

/// Unlike everywhere else, models that `scripts/llama-cpp` makes also have names here.
fn not_a_model(flag: &str, error: ModelError) -> Failed {
    let ModelError::Unknown { name } = error else {
        return with_flag(flag, model_failed(error));
    };
    let fetched = CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    let made = MADE.map(|(name, _)| name).join(", ");
    let problem = anyhow!(
        "{flag}: unknown model {name:?}: give one of {fetched}, one that scripts/llama-cpp makes ({made}), a path that \
         ends in .gguf, or hub:owner/repo/file.gguf"
    );
    Failed::new(Exit::Usage, problem)
}

fn with_flag(flag: &str, failed: Failed) -> Failed {
    Failed { error: failed.error.context(flag.to_owned()), ..failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_yet_to_be_made_names_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::new(folder.path());
        let meter = Meter::new(true);
        let failed = BenchModel::find("--model", "smollm2-135m-q8_0", &store, &meter).unwrap_err();
        assert_eq!(failed.exit, Exit::NoInput);
        assert!(failed.error.to_string().contains("scripts/llama-cpp"));
        let file = folder.path().join("SmolLM2-135M-Instruct.Q8_0.gguf");
        std::fs::write(&file, b"GGUF").unwrap();
        let found = BenchModel::find("--model", "smollm2-135m-q8_0", &store, &meter).unwrap();
        assert_eq!(found.path, file);
    }

    #[test]
    fn an_unknown_name_is_told_every_known_one_and_its_option() {
        let store = ModelStore::new("no-such-folder");
        let failed = BenchModel::find("--models", "gpt-9", &store, &Meter::new(true)).unwrap_err();
        assert_eq!(failed.exit, Exit::Usage);
        let told = failed.error.to_string();
        let made = MADE.iter().map(|(name, _)| *name);
        for word in CATALOGUE.iter().map(|entry| entry.name).chain(made).chain(["--models", "hub:"])
        {
            assert!(told.contains(word), "{word} is not in {told}");
        }
    }
}
