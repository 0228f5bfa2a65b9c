//! Results as one table, with lines above and below it, for a terminal or a document.

use jury_terminal::page::columns;

/// A table with `COLUMNS` columns.
pub struct Table<const COLUMNS: usize> {
    pub above: Vec<String>,
    pub headings: [&'static str; COLUMNS],
    pub rows: Vec<[String; COLUMNS]>,
    pub below: Vec<String>,
}

// === impl Table ===

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// As plain text for a terminal.
    pub fn page(self) -> String {
        let mut rows = vec![self.headings.map(String::from)];
        rows.extend(self.rows);
        lines(&self.above) + &columns(&rows) + &lines(&self.below)
    }

    /// As Markdown for a document.
    pub fn markdown(self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let headings = row(&self.headings.map(String::from));
        let rule = format!("|{}\n", "---|".repeat(COLUMNS));
        let rows: String = self.rows.iter().map(|cells| row(cells)).collect();
        let above = self.above.join("  \n");
        format!("{above}\n\n{headings}{rule}{rows}\n{}", lines(&self.below))
    }
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
