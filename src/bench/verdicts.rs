//! `jury bench verdicts`: verdicts a minute, the whole way from items to rewards: ours and the same loop over
//! llama-server, round by round in one run.
//!
//! ```text
//! try      one or two items with settings of the peer; the fastest is kept
//! rounds   ours, peer | peer, ours | ...      each starts anew, judges one item unmeasured, then all of them
//! config   arguments -> plan     ours     the embedded cluster of `jury score --items`
//! peer     the loop over llama-server     server   its process      draws   what it streams -> texts
//! round    what a round found             report   table, Markdown, JSON
//! ```
//!
//! Both sides are given the same tokens, seeds, token limit and temperature, let the model write its scores freely, and
//! read them with the same parser, which also tells both when a sample has its scores and need not go on.

mod config;
mod draws;
mod ours;
mod peer;
mod report;
mod round;
mod server;

use anyhow::{Context, anyhow};
use jury_grm::domain::{Item, limits};
use jury_worker::models::ModelStore;

use self::config::Plan;
use self::ours::Ours;
use self::peer::{Peer, Setting};
use self::report::Report;
use self::round::Round;
use super::models::BenchModel;
use super::programs::Programs;
use super::write;
use crate::args::BenchVerdictsArgs;
use crate::exit::{Exit, Failed, OrExit};
use crate::meter::Meter;
use crate::score::{print, read_items};

/// Items with which the peer's settings are tried.
const TRIED_ITEMS: usize = 2;

pub fn run(args: BenchVerdictsArgs, programs: &Programs) -> Result<Exit, Failed> {
    let plan = Plan::try_from(args).or_exit(Exit::Usage)?;
    let mut items = read_items(&plan.items)?;
    items.truncate(plan.limit.unwrap_or(items.len()));
    for item in &items {
        let problem = || format!("{}: item {:?}", plan.items.display(), item.id);
        plan.request(item.clone(), 0).validate().with_context(problem).or_exit(Exit::BadData)?;
    }
    if items.is_empty() {
        let problem = anyhow!("{}: there is no item", plan.items.display());
        return Err(Failed::new(Exit::BadData, problem));
    }
    let meter = Meter::new(false);
    let report = measure(&plan, &items, programs, &meter);
    meter.clear();
    let report = report?;
    if let Some(path) = &plan.markdown {
        write(path, &report.markdown())?;
    }
    print(&if plan.json { report.json()? } else { report.table() })?;
    Ok(Exit::Done)
}

fn measure(
    plan: &Plan,
    items: &[Item],
    programs: &Programs,
    meter: &Meter,
) -> Result<Report, Failed> {
    let store = ModelStore::new(&plan.cache);
    let model = BenchModel::find(&plan.model, &store, meter)?;
    let tools = plan.cache.parent().map(|folder| folder.join("tools"));
    let peer = match &plan.peer {
        Some(named) => {
            Some(Peer::find(named.clone(), tools.as_deref(), programs, &model, plan, items)?)
        }
        None => None,
    };
    let ours = Ours { model: &model, plan };
    let tried = peer.as_ref().map_or(0, |_| Setting::GROUPED.len() + 1);
    let sides = 1 + usize::from(peer.is_some());
    meter.runs((tried + plan.rounds * sides) as u64);
    let setting = match &peer {
        Some(peer) => Some(best_setting(peer, &items[..items.len().min(TRIED_ITEMS)], meter)?),
        None => None,
    };
    let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        // A seed a round: the same samples again would measure the same luck again.
        let seed = round as u64 % limits::MAX_SEED;
        let mut judge_ours = || -> Result<(), Failed> {
            meter.run(&format!("round {} of {}: ours", round + 1, plan.rounds));
            of_ours.push(ours.judge(items, seed, meter)?);
            meter.run_done();
            Ok(())
        };
        let mut judge_peer = || -> Result<(), Failed> {
            if let (Some(peer), Some(setting)) = (&peer, setting) {
                let what = setting.describe();
                meter.run(&format!("round {} of {}: llama-server {what}", round + 1, plan.rounds));
                of_peer.push(peer.judge(setting, items, seed)?);
                meter.run_done();
            }
            Ok(())
        };
        if round % 2 == 0 {
            judge_ours()?;
            judge_peer()?;
        } else {
            judge_peer()?;
            judge_ours()?;
        }
    }
    Ok(Report::new(plan, &model.name, items.len(), of_ours, peer.zip(setting), of_peer))
}

/// The setting with which the peer judges most in a minute.
fn best_setting(peer: &Peer<'_>, items: &[Item], meter: &Meter) -> Result<Setting, Failed> {
    let rate = |setting: Setting| -> Result<f64, Failed> {
        meter.run(&format!("trying llama-server {}", setting.describe()));
        let round = peer.judge(setting, items, 0)?;
        meter.run_done();
        Ok(round.verdicts_per_minute())
    };
    let [mut best, others @ ..] = Setting::GROUPED;
    let mut fastest = rate(best)?;
    for setting in others {
        let found = rate(setting)?;
        if found > fastest {
            (best, fastest) = (setting, found);
        }
    }
    let ungrouped = best.ungrouped();
    Ok(if rate(ungrouped)? > fastest { ungrouped } else { best })
}
