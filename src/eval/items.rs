//! The items of an evaluation: read once, fixed in its folder, so that going on judges the same ones.

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

/// The items to judge, written to the folder when it has none. A folder with others is refused: its verdicts would be
/// about something else.
pub fn settle(
    config: &EvalConfig,
    folder: &Folder,
    left_out: &mut LeftOut,
    meter: &Meter,
) -> Result<Vec<Item>, Failed> {
    let items = chosen(config, left_out, meter)?;
    let text = items_text(&items)?;
    // Only now, or a mistyped name would leave a folder behind.
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

/// Every item whose truth is known, by file. Bad ones are named and left out, as a batch does it, or refuse the file where the config
/// is strict.
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
    let why = "no best, and no label above all others";
    left_out.tell(meter, "items", why, read.without_truth);
    left_out.tell(meter, "items", "all responses are one text", read.one_text);
    Ok(read.files)
}

/// Refuses a file that is named twice: each of its items would count as two.
fn refuse_twice(files: &[PathBuf]) -> Result<(), Failed> {
    let mut seen = HashSet::new();
    // What is not there is told by whoever reads it.
    let twice = files.iter().find(|file| file.canonicalize().is_ok_and(|real| !seen.insert(real)));
    twice.map_or(Ok(()), |file| {
        let problem =
            anyhow!("{} is named twice; each of its items would count as two", file.display());
        Err(Failed::new(Exit::Usage, problem))
    })
}

/// As JSON lines.
pub fn items_text(items: &[Item]) -> Result<String, Failed> {
    items.iter().map(json_line).collect::<Result<_, _>>().or_exit(Exit::Internal)
}

#[cfg(test)]
mod tests;
