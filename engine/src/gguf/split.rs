//! Models whose GGUF file was split: `NAME-00001-of-00003.gguf` and so on, each a GGUF file with some of the tensors.
//!
//! The first part has all metadata. Parts are found by file name, and `split.no` and `split.count` in each part must
//! agree with its name.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use crate::error::LoadError;

/// Maximum number of parts of a model; bounds the files that a damaged one makes us look for.
const MOST_PARTS: u64 = 4096;
const ENDING: &str = ".gguf";

/// Name and number of one part of a model.
#[derive(Debug, PartialEq, Eq)]
struct PartName {
    folder: PathBuf,
    /// Everything before `-00001-of-`.
    stem: String,
    /// From 1.
    number: u64,
    count: u64,
}

/// The other parts that a first part refers to, in order; empty if the file is not split.
pub(super) fn further_parts(path: &Path, metadata: &Metadata) -> Result<Vec<PathBuf>, LoadError> {
    let count = metadata.unsigned_or("split.count", 1)?;
    if count <= 1 {
        return Ok(Vec::new());
    }
    if count > MOST_PARTS {
        return Err(corrupt(path, format!("it says that it is one of {count} parts")));
    }
    let number = metadata.unsigned_or("split.no", 0)?.saturating_add(1);
    let Some(name) = PartName::of(path) else {
        let why = format!(
            "it is part {number} of a model of {count} parts, which are found by their names: call them \
             NAME-00001-of-{count:05}.gguf and so on, and give the first"
        );
        return Err(LoadError::Unsupported { path: path.to_owned(), why });
    };
    if (name.number, name.count) != (number, count) {
        let why = format!("it says that it is part {number} of {count}: give it back its name");
        return Err(corrupt(path, why));
    }
    if number != 1 {
        let first = name.part(1);
        let absent = if first.exists() { "" } else { " (which is not there: fetch all parts)" };
        let first = first.display();
        let why = format!("it is part {number} of {count}: give the first part, {first}{absent}");
        return Err(LoadError::Unsupported { path: path.to_owned(), why });
    }
    let parts: Vec<PathBuf> = (2..=count).map(|number| name.part(number)).collect();
    let missing: Vec<PathBuf> = parts.iter().filter(|part| !part.exists()).cloned().collect();
    if missing.is_empty() {
        return Ok(parts);
    }
    Err(LoadError::MissingParts { path: path.to_owned(), count: count as usize, missing })
}

/// Checks that a further part is the one that its name claims.
pub(super) fn check_part(
    path: &Path,
    metadata: &Metadata,
    number: usize,
    count: usize,
) -> Result<(), LoadError> {
    let said = (metadata.unsigned("split.no")?, metadata.unsigned("split.count")?);
    if said == (Some(number as u64 - 1), Some(count as u64)) {
        return Ok(());
    }
    let found = match said {
        (Some(number), Some(count)) => format!("part {} of {count}", number.saturating_add(1)),
        _ => "no part of a model".to_owned(),
    };
    let why = format!("by its name it is part {number} of {count}, by its metadata {found}");
    Err(corrupt(path, why))
}

fn corrupt(path: &Path, why: String) -> LoadError {
    LoadError::Corrupt { path: path.to_owned(), why }
}

// === impl PartName ===

impl PartName {
    fn of(path: &Path) -> Option<PartName> {
        let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
        let (rest, count) = name.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let parse = |digits: &str| -> Option<u64> {
            let plain = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain)
        };
        Some(PartName {
            folder: path.parent()?.to_owned(),
            stem: stem.to_owned(),
            number: parse(number)?,
            count: parse(count)?,
        })
    }

    fn part(&self, number: u64) -> PathBuf {
        let PartName { stem, count, .. } = self;
        self.folder.join(format!("{stem}-{number:05}-of-{count:05}{ENDING}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_parts_are_read_and_written_alike() {
        let path = Path::new("a/Model-of-2-x-00002-of-00003.gguf");
        let name = PartName::of(path).unwrap();
        assert_eq!((name.number, name.count), (2, 3));
        assert_eq!(name.part(2), path);
        for other in ["model.gguf", "m-2-of-3.gguf", "m-00001-of-00002", "m-+0001-of-00002.gguf"] {
            assert_eq!(PartName::of(Path::new(other)), None, "{other}");
        }
    }
}
