//! The items of an evaluation: read once, fixed in its folder, so that going on judges the same ones.

use std::collections::{BTreeMap, HashSet};

use anyhow::anyhow;
use jury_eval::split::{part, query_key};
use jury_eval::truth;
use jury_grm::domain::Item;
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

/// Every item whose truth is known, by file.
fn read_all(config: &EvalConfig, meter: &Meter) -> Result<Vec<Vec<Item>>, Failed> {
    let mut ids = HashSet::new();
    let mut without_truth = Vec::new();
    let mut files = Vec::with_capacity(config.items.len());
    for path in &config.items {
        let name = path.display().to_string();
        let (mut items, mut in_file) = (Vec::new(), HashSet::new());
        for read in read::items(path, config.format)? {
            let read = read?;
            let place = format!("{name}, {}", read.place);
            let found = match read.content {
                Ok(found) => found,
                Err(problem) if config.strict => {
                    return Err(Failed::new(Exit::BadData, anyhow!("{place}: {problem}")));
                }
                Err(problem) => {
                    meter.print(&format!("jury: {place}: {problem}; left out"));
                    continue;
                }
            };
            for mut item in found {
                // An id names one item of its file; several files may use the same.
                let id = item.id.clone();
                let is_new = in_file.insert(id.clone());
                if is_new && !ids.insert(id.clone()) {
                    item.id = format!("{}:{id}", stem(path));
                }
                if !is_new || (item.id != id && !ids.insert(item.id.clone())) {
                    let problem = "give every item an id of its own";
                    let error = anyhow!("{place}: the id {id:?} is used before; {problem}");
                    return Err(Failed::new(Exit::BadData, error));
                }
                item.source.get_or_insert_with(|| stem(path));
                if truth::of(&item).is_none() {
                    without_truth.push(item.id);
                    continue;
                }
                items.push(item);
            }
        }
        files.push(items);
    }
    tell_left_out(meter, "items", "no best, and no label above all others", &without_truth);
    Ok(files)
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

fn stem(path: &std::path::Path) -> String {
    path.file_stem().map_or_else(|| "items".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
