//! Text on stdout, and lines for a person on stderr.

use std::fmt::Display;
use std::io::{self, Write};

use crate::exit::{Exit, Failed, OrExit};

/// Stdout cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("stdout")]
pub struct StdoutError(#[source] pub io::Error);

/// Writes a result to stdout.
///
/// # Errors
/// [`StdoutError`].
pub fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(StdoutError).or_exit(Exit::CannotWrite)
}

/// True if the reader of our stdout is gone: `jury score .. | head` did not fail.
pub fn is_unread(failed: &Failed) -> bool {
    let error = failed.error.downcast_ref::<StdoutError>();
    error.is_some_and(|StdoutError(source)| source.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a line to stderr. If that fails (the reader is gone, the disk of a log is full), the work still continues: unlike
/// `eprintln!`, this does not panic.
pub fn note(line: impl Display) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Formats rows in aligned columns.
pub fn columns(rows: &[impl AsRef<[String]>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        let row = row.as_ref();
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells =
            std::iter::zip(row.as_ref(), &widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
