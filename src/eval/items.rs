//! The items of an evaluation: read once, fixed in its folder, so that going on judges the same ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::anyhow;
use jury_client::batch::BadLine;
use jury_eval::split::{part, query_key};
use jury_eval::truth;
use jury_grm::domain::{Item, ScoreRequest};
use jury_grm::random::SplitMix64;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;

use super::config::EvalConfig;
use super::files::Folder;
use super::read;

/// The items to judge, written to the folder when it has none. A folder with others is refused: its verdicts would be
/// about something else.
pub fn settle(config: &EvalConfig, folder: &Folder, meter: &Meter) -> Result<Vec<Item>, Failed> {
    let items = choose(config, read_all(config, meter)?);
    let text = items_text(&items)?;
    // Only now, or a mistyped name would leave a folder behind.
    folder.make()?;
    folder.settle_items(&text)?;
    Ok(items)
}

/// The same items without a folder.
pub fn chosen(config: &EvalConfig, meter: &Meter) -> Result<Vec<Item>, Failed> {
    Ok(choose(config, read_all(config, meter)?))
}

/// Every item whose truth is known, by file. What is none, what repeats an id and what is beyond a limit is named by its line and
/// left out, as a batch does it, or refuses the file where the config is strict.
fn read_all(config: &EvalConfig, meter: &Meter) -> Result<Vec<Vec<Item>>, Failed> {
    let mut ids = Ids::default();
    let mut without_truth = Vec::new();
    let mut files = Vec::with_capacity(config.items.len());
    for path in &config.items {
        let name = path.display().to_string();
        let mut items = Vec::new();
        ids.begin_file(path);
        for read in read::items(path, config.format)? {
            let read = read?;
            let (found, problem) = match read.content {
                Ok(found) => (found, None),
                Err(problem) => (Vec::new(), Some(problem)),
            };
            let mut problems: Vec<String> = problem.into_iter().collect();
            for mut item in found {
                let checked =
                    ids.settle(&mut item, &read.place).and_then(|()| within_limits(config, &item));
                if let Err(problem) = checked {
                    problems.push(problem);
                    continue;
                }
                item.source.get_or_insert_with(|| stem(path));
                match truth::of(&item) {
                    Some(_) => items.push(item),
                    None => without_truth.push(item.id),
                }
            }
            let place = format!("{name}, {}", read.place);
            for problem in problems {
                if config.strict {
                    return Err(Failed::new(Exit::BadData, anyhow!("{place}: {problem}")));
                }
                meter.print(&format!("jury: {place}: {problem}; left out"));
            }
        }
        files.push(items);
    }
    tell_left_out(meter, "items", "no best, and no label above all others", &without_truth);
    Ok(files)
}

/// What a batch would refuse, told while the caller's line is known.
fn within_limits(config: &EvalConfig, item: &Item) -> Result<(), String> {
    let request = ScoreRequest { item: item.clone(), ..config.request.clone() };
    request.validate().map_err(|error| BadLine::Refused(error).to_string())
}

/// Ids and where they stand: an id names one item of its file; several files may use the same.
#[derive(Default)]
struct Ids {
    /// Of all files.
    taken: HashSet<String>,
    /// Of the file that is read: the id as written, and its place.
    in_file: HashMap<String, String>,
    /// What tells that file's ids from equal ones of files before it.
    stem: String,
}

// === impl Ids ===

impl Ids {
    fn begin_file(&mut self, path: &Path) {
        self.in_file.clear();
        self.stem = stem(path);
    }

    /// Takes the item's id, which gets the file's name before it where another file has the same.
    fn settle(&mut self, item: &mut Item, place: &str) -> Result<(), String> {
        let problem = |id: &str, first: &str| {
            format!("its id {id:?} is that of {first}; give every item its own")
        };
        if let Some(first) = self.in_file.get(&item.id) {
            return Err(problem(&item.id, first));
        }
        self.in_file.insert(item.id.clone(), place.to_owned());
        if self.taken.contains(&item.id) {
            item.id = format!("{}:{}", self.stem, item.id);
        }
        match self.taken.insert(item.id.clone()) {
            true => Ok(()),
            false => Err(problem(&item.id, "another item")),
        }
    }
}

/// Says what is left out and why, with the first names.
pub fn tell_left_out(meter: &Meter, things: &str, why: &str, names: &[String]) {
    let n = names.len();
    if n > 0 {
        let more = if n > 5 { ", .." } else { "" };
        let first = names[..n.min(5)].join(", ");
        meter.print(&format!("jury: {n} {things} are left out: {why}: {first}{more}"));
    }
}

/// The part that is wanted; past the limit, as many of each file as the others, drawn by the seed.
fn choose(config: &EvalConfig, files: Vec<Vec<Item>>) -> Vec<Item> {
    let is_wanted = |item: &Item| {
        let of = part(query_key(item), config.split_seed, config.train_share);
        config.part.is_none_or(|wanted| wanted == of)
    };
    let mut files: Vec<Vec<Item>> =
        files.into_iter().map(|items| items.into_iter().filter(is_wanted).collect()).collect();
    let limit = config.limit.unwrap_or(usize::MAX);
    if files.iter().map(Vec::len).sum::<usize>() <= limit {
        return files.concat();
    }
    let mut random = SplitMix64::new(config.split_seed);
    for items in &mut files {
        random.shuffle(items);
    }
    // One of each in turn, so that a small file is not drowned by a large one.
    let mut chosen = BTreeMap::<usize, Vec<Item>>::new();
    let mut turns: Vec<_> = files.into_iter().map(Vec::into_iter).enumerate().collect();
    let mut n_chosen = 0;
    while n_chosen < limit && !turns.is_empty() {
        turns.retain_mut(|(file, items)| match items.next() {
            Some(item) if n_chosen < limit => {
                chosen.entry(*file).or_default().push(item);
                n_chosen += 1;
                true
            }
            _ => false,
        });
    }
    chosen.into_values().flatten().collect()
}

fn items_text(items: &[Item]) -> Result<String, Failed> {
    let mut text = String::new();
    for item in items {
        text.push_str(&serde_json::to_string(item).or_exit(Exit::Internal)?);
        text.push('\n');
    }
    Ok(text)
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "items".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
