//! All items of a file at once, and what can be told of a file before its items are judged.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use jury_grm::domain::{Item, limits};

use super::lines::{self, BadLine, Lines};

/// Why a file of items cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is one item over several lines.
    #[error("it is one item over several lines; an item is one line: `jq -c . FILE`")]
    OneItem,
    /// A line is no item.
    #[error("line {line}: {problem}")]
    BadLine {
        /// 1-based.
        line: u64,
        /// What is wrong with it.
        problem: BadLine,
    },
}

/// All items of a file; the first bad line refuses it. Unknown keys are not told of.
///
/// # Errors
/// [`ItemsError`], which does not name the file.
pub fn read_items(path: &Path) -> Result<Vec<Item>, ItemsError> {
    if is_one_item(path) {
        return Err(ItemsError::OneItem);
    }
    let lines = Lines::new(BufReader::new(File::open(path)?));
    lines
        .map(|line| {
            let line = line?;
            let bad = |problem| ItemsError::BadLine { line: line.number, problem };
            line.content.map(|named| named.item).map_err(bad)
        })
        .collect()
}

/// True of a file with one item over several lines: no batch. Not true of one that cannot be read: opening it tells why.
pub fn is_one_item(path: &Path) -> bool {
    let is_small = path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() <= limits::MAX_ITEM_BYTES as u64);
    is_small && std::fs::read(path).is_ok_and(|text| lines::is_one_item(&text))
}

/// Lines of a file that are not blank; `None` of a pipe, which would be empty the second time.
///
/// # Errors
/// The file cannot be read.
pub fn count_items(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let is_file = file.metadata()?.is_file();
    if is_file { lines::count(BufReader::new(file)).map(Some) } else { Ok(None) }
}
