//! The items of an evaluation, read from files of any format; each item has a known truth and a unique id.

mod ids;
mod read;

use std::path::{Path, PathBuf};

use jury_client::batch::{BadLine, ItemsError};
use jury_grm::correct::is_one_text;
use jury_grm::domain::{Item, ScoreRequest};

use self::ids::Ids;
use crate::published::{Format, FormatError, RecordsError};
use crate::truth;

/// The content of the files.
#[derive(Debug, Default)]
pub struct ItemsRead {
    /// The items of each file.
    pub files: Vec<Vec<Item>>,
    /// Invalid items, repeated ids and items beyond a limit, in the order of the files.
    pub bad: Vec<BadItem>,
    /// Ids of items with neither a best response nor a label above all others.
    pub without_truth: Vec<String>,
    /// Ids of items whose responses all have the same text, so that none is best.
    pub one_text: Vec<String>,
}

/// A line or record that is not an item, or not one that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItem {
    /// Its file.
    pub file: PathBuf,
    /// `line 3` or `record 3`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct UnreadableItems {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: FileProblem,
}

/// What is wrong with a file of items.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Its format is unknown.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Its lines cannot be read.
    #[error(transparent)]
    Lines(#[from] ItemsError),
}

/// Reads the items of all files. `format` is their format; `None` detects it from the fields of the first record of
/// each file. An item whose `request` would be rejected counts as bad.
///
/// # Errors
/// [`UnreadableItems`] with the first file that cannot be read.
pub fn read(
    paths: &[PathBuf],
    format: Option<Format>,
    request: &ScoreRequest,
) -> Result<ItemsRead, UnreadableItems> {
    let mut all = ItemsRead::default();
    let mut ids = Ids::default();
    for path in paths {
        let found = read_file(path, format, request, &mut ids, &mut all);
        let items = found.map_err(|problem| UnreadableItems { path: path.clone(), problem })?;
        all.files.push(items);
    }
    Ok(all)
}

fn read_file(
    path: &Path,
    format: Option<Format>,
    request: &ScoreRequest,
    ids: &mut Ids,
    all: &mut ItemsRead,
) -> Result<Vec<Item>, FileProblem> {
    let mut items = Vec::new();
    let stem = stem(path);
    ids.begin_file(&stem);
    for entry in read::entries(path, format)? {
        let read::Entry { place, content } = entry?;
        let mut bad = |problem: String| {
            all.bad.push(BadItem { file: path.to_owned(), place: place.clone(), problem });
        };
        let found = content.unwrap_or_else(|problem| {
            bad(problem);
            Vec::new()
        });
        for mut item in found {
            // A bad item does not use up its id; and prefixing the file's name may make an id too long.
            let settled = within_limits(request, &item)
                .and_then(|()| ids.settle(&mut item, &place))
                .and_then(|()| within_limits(request, &item));
            if let Err(problem) = settled {
                bad(problem);
                continue;
            }
            item.source.get_or_insert_with(|| stem.clone());
            match truth::of(&item) {
                Some(_) => items.push(item),
                None if is_one_text(&item) => all.one_text.push(item.id),
                None => all.without_truth.push(item.id),
            }
        }
    }
    Ok(items)
}

/// Checks what a batch would reject, while the caller's line is still known.
fn within_limits(request: &ScoreRequest, item: &Item) -> Result<(), String> {
    let request = ScoreRequest { item: item.clone(), ..request.clone() };
    request.validate().map_err(|error| BadLine::Refused(error).to_string())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "items".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

// === impl FileProblem ===

impl FileProblem {
    /// Whether the file could not be read at all, regardless of its content.
    pub fn is_io(&self) -> bool {
        matches!(
            self,
            Self::Format(FormatError::Records(RecordsError::Io(_)))
                | Self::Records(RecordsError::Io(_))
                | Self::Lines(_)
        )
    }
}
