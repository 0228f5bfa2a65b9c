//! The items of an evaluation: read once and stored in its folder, so that a resumed run judges the same ones.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::anyhow;
use jury_eval::items::{BadItem, read};
use jury_grm::domain::{Item, json_line};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;

use super::config::EvalConfig;
use super::files::Folder;
use super::left_out::LeftOut;

/// The items to judge, written to the folder if it has none. A folder with other items is rejected, since its verdicts
/// are about those.
pub fn settle(
    config: &EvalConfig,
    folder: &Folder,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Item>, Failed> {
    let items = chosen(config, left_out, meter)?;
    let text = items_text(&items)?;
    // Only now, so that a mistyped file name leaves no folder behind.
    folder.make()?;
    folder.settle_items(&text)?;
    Ok(items)
}

/// The same items without a folder.
pub fn chosen(
    config: &EvalConfig,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Item>, Failed> {
    Ok(config.choice.of(read_all(config, left_out, meter)?))
}

/// Every item with a known best response, by file. Invalid ones are reported and left out, as in a batch, or reject the
/// file if the config is strict.
fn read_all(
    config: &EvalConfig,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Vec<Item>>, Failed> {
    refuse_twice(&config.items)?;
    let read = read(&config.items, config.format, &config.request).map_err(|error| {
        let exit = if error.problem.is_io() { Exit::NoInput } else { Exit::BadData };
        Failed::new(exit, error)
    })?;
    for BadItem { file, place, problem } in read.bad {
        let place = format!("{}, {place}", file.display());
        if config.strict {
            return Err(Failed::new(Exit::BadData, anyhow!("{place}: {problem}")));
        }
        left_out.tell_one(meter, "items", place, problem);
    }
    let why = "no `best`, and no single highest label";
    left_out.tell(meter, "items", why, read.without_truth);
    left_out.tell(meter, "items", "all responses are identical", read.one_text);
    Ok(read.files)
}

/// Rejects a file that is given twice: each of its items would count twice.
fn refuse_twice(files: &[PathBuf]) -> Result<(), Failed> {
    let mut seen = HashSet::new();
    // A missing file is reported when it is read.
    let twice = files.iter().find(|file| file.canonicalize().is_ok_and(|real| !seen.insert(real)));
    twice.map_or(Ok(()), |file| {
        let problem =
            anyhow!("{} is given twice; each of its items would count twice", file.display());
        Err(Failed::new(Exit::Usage, problem))
    })
}

/// As JSON lines.
pub fn items_text(items: &[Item]) -> Result<String, Failed> {
    items.iter().map(json_line).collect::<Result<_, _>>().or_exit(Exit::Internal)
}

#[cfg(test)]
mod tests;
