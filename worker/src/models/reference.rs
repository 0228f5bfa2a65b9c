//! The ways in which a user may refer to a model.

use std::path::{Path, PathBuf};

use super::{CatalogueEntry, ModelError, entry};

/// A requested model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// By its name in the catalogue.
    Catalogue(&'static CatalogueEntry),
    /// By a file, or by a folder in Hugging Face's format.
    Path(PathBuf),
    /// By a file on the hub.
    Hub {
        /// `owner/repo`.
        repo: String,
        /// Path of the file in the repository.
        file: String,
    },
}

// === impl ModelRef ===

impl ModelRef {
    /// Parses `name`, `path` or `hub:owner/repo/file`. A catalogue name takes precedence over a file of the same name;
    /// write `./name` for the file.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] and [`ModelError::MalformedHubReference`].
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        if let Some(reference) = text.strip_prefix("hub:") {
            return parse_hub(reference)
                .ok_or_else(|| ModelError::MalformedHubReference { reference: text.to_owned() });
        }
        if let Some(entry) = entry(text) {
            return Ok(Self::Catalogue(entry));
        }
        let looks_like_a_path = text.contains('/') || text.ends_with(".gguf");
        if looks_like_a_path || Path::new(text).exists() {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        Err(ModelError::Unknown { name: text.to_owned() })
    }

    /// The model's name, as used in requests: the catalogue's name, else the file's name without its extension, or the
    /// folder's name.
    pub fn name(&self) -> String {
        let stem = |file: &Path| {
            file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        };
        match self {
            Self::Catalogue(entry) => entry.name.to_owned(),
            // A folder's name has no extension: the point in Qwen2.5-0.5B does not begin one.
            Self::Path(path) if path.is_dir() => {
                let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
                whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Self::Path(path) => stem(path),
            Self::Hub { file, .. } => stem(Path::new(file)),
        }
    }
}

fn parse_hub(reference: &str) -> Option<ModelRef> {
    let (owner, rest) = reference.split_once('/')?;
    let (repo, file) = rest.split_once('/')?;
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let all_plain = is_plain(owner) && is_plain(repo) && file.split('/').all(is_plain);
    all_plain.then(|| ModelRef::Hub { repo: format!("{owner}/{repo}"), file: file.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_hub_files_are_told_apart() {
        let parse = |text| ModelRef::parse(text).unwrap();
        assert!(matches!(parse("smollm2-135m"), ModelRef::Catalogue(_)));
        assert_eq!(parse("./smollm2-135m"), ModelRef::Path("./smollm2-135m".into()));
        assert_eq!(parse("some.gguf").name(), "some");
        let hub = parse("hub:owner/repo/folder/file.gguf");
        let expected = ModelRef::Hub { repo: "owner/repo".into(), file: "folder/file.gguf".into() };
        assert_eq!(hub, expected);
        assert_eq!(hub.name(), "file");
    }

    #[test]
    fn an_unknown_name_lists_what_is_known() {
        let error = ModelRef::parse("gpt-9").unwrap_err().to_string();
        assert!(error.contains("smollm2-135m") && error.contains("hub:"), "{error}");
    }

    #[test]
    fn a_hub_reference_has_three_parts_and_stays_in_its_folder() {
        for reference in ["hub:", "hub:a", "hub:a/b", "hub:a/b/", "hub:a/b/../c", "hub://b/c"] {
            let error = ModelRef::parse(reference).unwrap_err();
            assert!(matches!(error, ModelError::MalformedHubReference { .. }), "{reference}");
        }
    }
}
