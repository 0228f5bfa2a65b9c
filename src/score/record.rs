//! `--record`: samples as rows of a Parquet file.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use jury_client::batch::{Lines, read_verdicts};
use jury_eval::judged::trajectories;
use jury_eval::trajectories::{Trajectory, write};
use jury_grm::domain::{Item, Verdict};
use jury_terminal::exit::{Exit, Failed, OrExit};

/// What was written for a batch.
pub struct Recorded {
    /// Samples.
    pub n_rows: usize,
    /// Verdicts without samples, from an earlier run that did not ask for them.
    pub n_without: usize,
    /// Items that changed after they were judged.
    pub n_changed: usize,
}

/// Writes the samples of one verdict.
pub fn one(path: &Path, item: &Item, verdict: &Verdict) -> Result<(), Failed> {
    write_rows(path, &trajectories(item, verdict))
}

/// Writes the samples of all verdicts in the file `verdicts`, in the order of `items`.
pub fn batch(path: &Path, items: &Path, verdicts: &Path) -> Result<Recorded, Failed> {
    let judged = read_verdicts(verdicts).or_exit(Exit::BadData)?;
    let mut by_id = HashMap::<&str, Vec<&Verdict>>::new();
    for verdict in &judged {
        by_id.entry(&verdict.item_id).or_default().push(verdict);
    }
    let named = || items.display().to_string();
    let file = File::open(items).with_context(named).or_exit(Exit::NoInput)?;
    let (mut rows, mut n_without, mut n_changed) = (Vec::new(), 0, 0);
    for line in Lines::new(BufReader::new(file)) {
        // A line that is not an item has no verdict, and was already reported.
        let Ok(named) = line.with_context(named).or_exit(Exit::NoInput)?.content else { continue };
        let Some(verdicts) = by_id.get(&*named.item.id) else { continue };
        let Some(verdict) = verdicts.iter().find(|verdict| verdict.is_of(&named.item)) else {
            n_changed += 1;
            continue;
        };
        n_without += usize::from(verdict.samples.is_none());
        rows.extend(trajectories(&named.item, verdict));
    }
    write_rows(path, &rows)?;
    Ok(Recorded { n_rows: rows.len(), n_without, n_changed })
}

fn write_rows(path: &Path, rows: &[Trajectory]) -> Result<(), Failed> {
    let named = || format!("--record: {}", path.display());
    write(path, rows).with_context(named).or_exit(Exit::CannotWrite)
}
