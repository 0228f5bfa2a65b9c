//! What was kept and why the rest was dropped, by category.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Fate, Sifted};

/// Counts by category.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    items: usize,
    /// Items from which at least one sample was kept.
    items_kept: usize,
    hinted_kept: usize,
    fates: BTreeMap<Fate, usize>,
}

// === impl Table ===

impl Table {
    /// Counts one item's samples.
    pub fn record(&mut self, category: &str, samples: &[Sifted<'_>]) {
        let row = self.rows.entry(category.to_owned()).or_default();
        row.items += 1;
        row.items_kept += usize::from(samples.iter().any(|sample| sample.fate == Fate::Kept));
        for sample in samples {
            *row.fates.entry(sample.fate).or_default() += 1;
            row.hinted_kept += usize::from(sample.is_hinted && sample.fate == Fate::Kept);
        }
    }

    /// Number of samples with one fate, over all categories.
    pub fn total(&self, fate: Fate) -> usize {
        self.rows.values().filter_map(|row| row.fates.get(&fate)).sum()
    }

    /// The table as Markdown, with the sum in the last row.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("| category | items | with any kept |");
        Fate::ALL.iter().for_each(|fate| {
            let _ = write!(text, " {} |", fate.words());
        });
        text += " kept with a hint |\n|---|--:|--:|";
        text += &"--:|".repeat(Fate::ALL.len() + 1);
        text.push('\n');
        let mut all = Row::default();
        for (category, row) in &self.rows {
            row.write(category, &mut text);
            all.items += row.items;
            all.items_kept += row.items_kept;
            all.hinted_kept += row.hinted_kept;
            row.fates.iter().for_each(|(fate, n)| *all.fates.entry(*fate).or_default() += n);
        }
        all.write("**all**", &mut text);
        text
    }
}

// === impl Row ===

impl Row {
    fn write(&self, name: &str, text: &mut String) {
        let name = name.replace('|', "/");
        let _ = write!(text, "| {name} | {} | {} |", self.items, self.items_kept);
        for fate in Fate::ALL {
            let _ = write!(text, " {} |", self.fates.get(&fate).copied().unwrap_or(0));
        }
        let _ = writeln!(text, " {} |", self.hinted_kept);
    }
}
