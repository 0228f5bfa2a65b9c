//! Text on stdout.

use std::io::{self, Write};

use crate::exit::{Exit, Failed, OrExit};

/// Writes a result to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).or_exit(Exit::CannotWrite)
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
