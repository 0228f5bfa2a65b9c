//! The content of a file in any format: Jury's own, or that of a published set.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use jury_client::batch::Lines;
use jury_grm::domain::Item;

use super::FileProblem;
use crate::published::{self, Format, RecordsError, Set};

/// The content of one line or record.
pub struct Entry {
    /// `line 3` or `record 3`.
    pub place: String,
    /// Its items, or why there are none.
    pub content: Result<Vec<Item>, String>,
}

pub type Entries = Box<dyn Iterator<Item = Result<Entry, FileProblem>>>;

/// All entries of a file.
pub fn entries(path: &Path, format: Option<Format>) -> Result<Entries, FileProblem> {
    let format = match format {
        Some(format) => format,
        None => published::format_of(path)?,
    };
    match format {
        Format::Items => lines(path),
        Format::Published(set) => records(path, set),
    }
}

fn lines(path: &Path) -> Result<Entries, FileProblem> {
    let file = File::open(path).map_err(RecordsError::from)?;
    Ok(Box::new(Lines::new(BufReader::new(file)).map(|line| {
        let line = line?;
        let content = line.content.map(|named| vec![named.item]);
        Ok(Entry {
            place: format!("line {}", line.number),
            content: content.map_err(|problem| problem.to_string()),
        })
    })))
}

fn records(path: &Path, set: Set) -> Result<Entries, FileProblem> {
    // Folders name subsets, even if the command was started inside one.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Box::new(published::records(path)?.map(move |record| {
        let record = record?;
        let of_set = |fields| {
            let items = published::items(set, &fields, &place, record.number);
            items.map_err(|error| format!("no record of {}: {error}", set.name()))
        };
        let content = record.content.and_then(of_set);
        Ok(Entry { place: format!("record {}", record.number), content })
    })))
}
