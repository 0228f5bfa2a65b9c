//! The items of an evaluation: from files of any format, each whose truth is known, under an id of its own.

mod ids;
mod read;

use std::path::{Path, PathBuf};

use jury_client::batch::{BadLine, ItemsError};
use jury_grm::correct::is_one_text;
use jury_grm::domain::{Item, ScoreRequest};

use self::ids::Ids;
use crate::published::{Format, FormatError, RecordsError};
use crate::truth;

/// What files hold.
#[derive(Debug, Default)]
pub struct ItemsRead {
    /// The items, by file.
    pub files: Vec<Vec<Item>>,
    /// What is none, what repeats an id and what is beyond a limit, in the order of the files.
    pub bad: Vec<BadItem>,
    /// Ids of items that tell neither a best response nor a label above all others.
    pub without_truth: Vec<String>,
    /// Ids of items of several responses that are all one text, of which none is best.
    pub one_text: Vec<String>,
}

/// What a line or a record should have been an item, and is not one that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadItem {
    /// Its file.
    pub file: PathBuf,
    /// `line 3` or `record 3`.
    pub place: String,
    /// Why.
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
    /// Its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its records.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Its lines.
    #[error(transparent)]
    Lines(#[from] ItemsError),
}

/// Reads the items of all files. `format` is what they hold; `None` tells it from the fields of each first record. An item whose
/// `request` would be refused is a bad one.
///
/// # Errors
/// [`UnreadableItems`] names the first file that cannot be read.
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
            // A bad item takes no id; and the file's name before an id may make that too long.
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

/// What a batch would refuse, told while the caller's line is known.
fn within_limits(request: &ScoreRequest, item: &Item) -> Result<(), String> {
    let request = ScoreRequest { item: item.clone(), ..request.clone() };
    request.validate().map_err(|error| BadLine::Refused(error).to_string())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "items".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

// === impl FileProblem ===

impl FileProblem {
    /// Whether the file could not be read at all, whatever it holds.
    pub fn is_io(&self) -> bool {
        matches!(
            self,
            Self::Format(FormatError::Records(RecordsError::Io(_)))
                | Self::Records(RecordsError::Io(_))
                | Self::Lines(_)
        )
    }
}
