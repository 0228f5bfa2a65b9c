//! `jury bench verdicts`: verdicts per minute, end to end from items to rewards. Compares ours with the same loop
//! over llama-server, alternating in one run.
//!
//! ```text
//! try      one or two items with settings of the peer; the fastest is used
//! rounds   ours, peer | peer, ours | ...      each starts afresh, judges one unmeasured item, then all of them;
//!                                             ours may appear twice, with drafts and without
//! config   from the arguments    ours     the embedded cluster of `jury score --items`
//! peer     the loop over llama-server     server   its process      draws   what it streams -> texts
//! round    what a round found             report   table, Markdown, JSON
//! ```
//!
//! Both sides use the same tokens, seeds, token limit and temperature. In both, the model writes its scores freely,
//! the same parser reads them, and the same parser decides when a sample has its scores and can stop.

mod config;
mod draws;
mod ours;
mod peer;
mod report;
mod round;
mod server;

use std::path::Path;

use anyhow::{Context, anyhow};
use jury_client::batch::{ItemsError, read_items};
use jury_engine::Host;
use jury_grm::domain::{Item, limits};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::model::tools_folder;
use jury_worker::models::ModelStore;

use self::config::Config;
pub use self::config::warm_up_item;
use self::ours::Ours;
use self::peer::{Peer, Setting, Trials};
use self::report::{Frame, PeerFacts, Report, Who};
use self::round::Round;
use super::Run;
use super::head::Head;
use super::load::{Load, TURNS_TAKEN};
use super::models::BenchModel;
use super::output::{Output, deliver};
use crate::args::BenchVerdictsArgs;

/// Number of items for trying the peer's settings.
const TRIED_ITEMS: usize = 2;

/// One side, with its settings.
enum Judge<'a> {
    Ours(Ours<'a>),
    Peer(&'a Peer<'a>, Setting),
}

pub fn run(args: BenchVerdictsArgs, run: &Run) -> Result<Exit, Failed> {
    let config = Config::try_from(args).or_exit(Exit::Usage)?;
    let markdown = Output::check("--markdown", config.markdown.as_deref())?;
    let mut items = read_items(&config.items).map_err(|error| not_read(&config.items, &error))?;
    items.truncate(config.limit.unwrap_or(items.len()));
    for item in &items {
        let problem = || format!("--items: {}: item {:?}", config.items.display(), item.id);
        config.request(item.clone(), 0).validate().with_context(problem).or_exit(Exit::BadData)?;
    }
    if items.is_empty() {
        let problem = anyhow!("--items: {}: there is no item", config.items.display());
        return Err(Failed::new(Exit::BadData, problem));
    }
    let report = measure(&config, &items, run)?;
    deliver(run, &report.page(config.json)?, markdown.as_ref(), || Ok(report.markdown()))?;
    Ok(Exit::Done)
}

fn not_read(path: &Path, error: &ItemsError) -> Failed {
    let exit = match error {
        ItemsError::Io(_) => Exit::NoInput,
        _ => Exit::BadData,
    };
    Failed::new(exit, anyhow!("--items: {}: {error}", path.display()))
}

fn measure(config: &Config, items: &[Item], run: &Run) -> Result<Report, Failed> {
    let meter = &run.meter;
    let store = ModelStore::new(&config.cache);
    let model = BenchModel::find("--model", &config.model, &store, meter)?;
    let tools = tools_folder();
    let programs = &run.programs;
    let peer = match &config.peer {
        Some(named) => {
            Some(Peer::find(named.clone(), tools.as_deref(), programs, &model, config, items)?)
        }
        None => None,
    };
    let host = Host::detect();
    let are_several = config.peer.is_some() || config.sides_of_ours().len() > 1;
    let consequence = match are_several && config.rounds > 1 {
        true => TURNS_TAKEN,
        false => "rates do not hold",
    };
    let load = Load::at_start(meter, host.threads, consequence);
    let mut trials = Trials::new(config);
    let tried = peer.as_ref().map_or(0, |_| trials.count());
    let n_sides = config.sides_of_ours().len() + usize::from(peer.is_some());
    meter.runs((tried + config.rounds * n_sides) as u64);

    let ours =
        |&drafts: &bool| Judge::Ours(Ours { model: &model, config, drafts, waits: &run.waits });
    let mut judges: Vec<Judge<'_>> = config.sides_of_ours().iter().map(ours).collect();
    let mut facts = None;
    if let Some(peer) = &peer {
        let setting =
            best_setting(peer, &mut trials, &items[..items.len().min(TRIED_ITEMS)], meter)?;
        facts = Some(PeerFacts { version: peer.found.version.clone(), setting, tried });
        judges.push(Judge::Peer(peer, setting));
    }
    let head = Head::new(host, load);
    let frame = Frame { config, model: &model.name, items: items.len(), head, peer: facts };
    let mut sides: Vec<(Who, Vec<Round>)> =
        judges.iter().map(|judge| (judge.who(), Vec::new())).collect();
    for round in 0..config.rounds {
        // A different seed for each round: repeating the same samples would repeat the same luck.
        let seed = round as u64 % limits::MAX_SEED;
        for place in order(round, judges.len()) {
            let (who, rounds) = &mut sides[place];
            meter.run(&format!("round {} of {}: {}", round + 1, config.rounds, who.describe()));
            rounds.push(judges[place].judge(items, seed, meter)?);
            meter.run_done();
        }
        run.so_far.set(Report::new(&frame, false, &sides).page(config.json)?);
    }
    Ok(Report::new(&frame, true, &sides))
}

/// The order of the sides within a round; it alternates so that a drifting machine favours neither side.
fn order(round: usize, sides: usize) -> Vec<usize> {
    match round % 2 {
        0 => (0..sides).collect(),
        _ => (0..sides).rev().collect(),
    }
}

/// The peer setting with the most verdicts per minute.
fn best_setting(
    peer: &Peer<'_>,
    trials: &mut Trials,
    items: &[Item],
    meter: &Meter,
) -> Result<Setting, Failed> {
    while let Some(setting) = trials.next() {
        meter.run(&format!("trying llama-server {}", setting.describe()));
        let round = peer.judge(setting, items, 0)?;
        trials.record(setting, round.verdicts_per_minute());
        meter.run_done();
    }
    Ok(trials.best())
}

// === impl Judge ===

impl Judge<'_> {
    fn who(&self) -> Who {
        match self {
            Self::Ours(ours) => Who::Ours { drafts: ours.drafts },
            Self::Peer(_, setting) => Who::Peer(*setting),
        }
    }

    fn judge(&self, items: &[Item], seed: u64, meter: &Meter) -> Result<Round, Failed> {
        match self {
            Self::Ours(ours) => ours.judge(items, seed, meter),
            Self::Peer(peer, setting) => peer.judge(*setting, items, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_first_in_one_round_is_last_in_the_next() {
        assert_eq!((order(0, 3), order(1, 3)), (vec![0, 1, 2], vec![2, 1, 0]));
    }
}
