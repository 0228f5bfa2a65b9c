//! All items of a file at once, and what can be told of a file before its items are judged.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use jury_grm::domain::{Item, limits};

use super::lines::{self, BadLine, Lines};
use super::text::NotText;

/// Why items cannot be read, be it at all or on from some line.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is text in an encoding that is not ours.
    #[error(transparent)]
    NotText(NotText),
    /// It is a JSON array.
    #[error("a JSON array, must be one item a line: `jq -c '.[]' FILE`")]
    Array,
    /// Its items go over several lines.
    #[error("an item over several lines, must be one line: `jq -c . FILE`")]
    OverLines,
    /// It is one item over several lines.
    #[error("one item over several lines, must be one line: `jq -c . FILE`")]
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
    check_items(path)?;
    let lines = Lines::new(BufReader::new(File::open(path)?));
    lines
        .map(|line| {
            let line = line?;
            let bad = |problem| ItemsError::BadLine { line: line.number, problem };
            line.content.map(|named| named.item).map_err(bad)
        })
        .collect()
}

/// Refuses a file that is no batch by what it begins with, before anyone waits for a model. A pipe passes: what is read of
/// it is gone.
///
/// # Errors
/// [`ItemsError`], but for [`ItemsError::BadLine`]: a bad line does not keep the others from being judged.
pub fn check_items(path: &Path) -> Result<(), ItemsError> {
    // Opening a pipe and closing it again would lose what its writer has written by then.
    let found = path.metadata()?;
    if !found.is_file() {
        return Ok(());
    }
    let file = File::open(path)?;
    let is_small = found.len() <= limits::MAX_ITEM_BYTES as u64;
    if is_small && lines::is_one_item(&std::fs::read(path)?) {
        return Err(ItemsError::OneItem);
    }
    Lines::new(BufReader::new(file)).next().transpose().map(drop)
}

/// Lines of a file that are not blank; `None` of a pipe, which would be empty the second time.
///
/// # Errors
/// The file cannot be read.
pub fn count_items(path: &Path) -> io::Result<Option<u64>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    lines::count(BufReader::new(File::open(path)?)).map(Some)
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_pipe_is_opened_once_and_loses_no_item() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("items");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Without a writer, to open it would wait.
        check_items(&pipe).unwrap();
        assert_eq!(count_items(&pipe).unwrap(), None);
        let line = "{\"id\":\"a\",\"query\":\"q\",\"responses\":[\"r\"]}\n";
        let write = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::OpenOptions::new().write(true).open(pipe)?.write_all(line.as_bytes())
        });
        assert_eq!(read_items(&pipe).unwrap().len(), 1);
        write.join().unwrap().unwrap();
    }
}
