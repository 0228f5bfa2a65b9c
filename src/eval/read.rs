//! The items of a file, whatever its format: Jury's own, or those of a published set.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use jury_client::batch::Lines;
use jury_eval::published::{self, Format, FormatError, RecordsError, Set};
use jury_grm::domain::Item;
use jury_terminal::exit::{Exit, Failed, OrExit};

/// What one line or record brought.
pub struct Read {
    /// `line 3` or `record 3`.
    pub place: String,
    /// Its items, or why it has none.
    pub content: Result<Vec<Item>, String>,
}

/// All that a file has. `format` is what it holds; `None` tells it from the fields of its first record.
pub fn items(
    path: &Path,
    format: Option<Format>,
) -> Result<Box<dyn Iterator<Item = Result<Read, Failed>>>, Failed> {
    let format = match format {
        Some(format) => format,
        None => published::format_of(path).map_err(|error| match error {
            FormatError::Records(error) => unreadable(path, error),
            error @ FormatError::Unknown { .. } => bad_data(path, error),
        })?,
    };
    match format {
        Format::Items => lines(path),
        Format::Published(set) => records(path, set),
    }
}

fn lines(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Read, Failed>>>, Failed> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| name.clone()).or_exit(Exit::NoInput)?;
    Ok(Box::new(Lines::new(BufReader::new(file)).map(move |line| {
        let line = line.with_context(|| name.clone()).or_exit(Exit::NoInput)?;
        let content = line.content.map(|named| vec![named.item]);
        Ok(Read {
            place: format!("line {}", line.number),
            content: content.map_err(|problem| problem.to_string()),
        })
    })))
}

fn records(
    path: &Path,
    set: Set,
) -> Result<Box<dyn Iterator<Item = Result<Read, Failed>>>, Failed> {
    // Folders name subsets, also where the command was called within one.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let records = published::records(path).map_err(|error| unreadable(path, error))?;
    Ok(Box::new(records.map(move |record| {
        let record = record.map_err(|error| unreadable(&place, error))?;
        let of_set = |fields| {
            let items = published::items(set, &fields, &place, record.number);
            items.map_err(|error| format!("no record of {}: {error}", set.name()))
        };
        let content = record.content.and_then(of_set);
        Ok(Read { place: format!("record {}", record.number), content })
    })))
}

fn unreadable(path: &Path, error: RecordsError) -> Failed {
    match error {
        RecordsError::Io(error) => Failed::new(
            Exit::NoInput,
            anyhow::Error::from(error).context(path.display().to_string()),
        ),
        error => bad_data(path, error),
    }
}

fn bad_data(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Failed {
    Failed::new(Exit::BadData, anyhow::Error::from(error).context(path.display().to_string()))
}
