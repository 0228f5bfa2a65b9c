//! `jury bench autoscale`: simulates whether the chart's autoscaling oscillates. One step is one second, and nothing
//! waits for a clock.
//!
//! ```text
//! load        requested samples, second by second
//!   -> fleet    workers that start slowly, draw, drain       -> demand: running and waiting samples
//!   -> loop     KEDA and the HPA, configured as in the chart -> workers wanted
//! plot        the result, as an SVG
//! ```
//!
//! Not simulated: samples of different durations, failed scrapes, nodes without a GPU.

mod control;
mod fleet;
mod plot;

use jury_terminal::exit::{Exit, Failed, OrExit};
use serde::Serialize;

use self::control::{Control, Settings};
use self::fleet::{Fleet, FleetSettings};
use super::Run;
use super::args::BenchAutoscaleArgs;
use super::output::{Output, deliver};

/// The load of one run: how many samples are requested in each second, and how the run differs from the arguments.
struct Load {
    name: &'static str,
    of_second: fn(u32) -> u32,
    /// Minimum seconds per sample.
    sample_seconds: u32,
    /// Minimum time that workers stay.
    scale_in_seconds: u32,
}

/// The state in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Running and waiting samples.
    pub demand: u32,
    /// Waiting samples only.
    pub waiting: u32,
    /// Workers that the loop wants.
    pub wanted: u32,
    /// Workers that draw samples.
    pub ready: u32,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The load's name.
    pub load: &'static str,
    /// The largest number of workers wanted.
    pub most_workers: u32,
    /// How often the loop changed direction, from more workers to fewer or back.
    pub turns: usize,
    /// The largest number of samples waiting at once.
    pub most_waiting: u32,
    /// Share of the paid worker time that was spent idle because there were no samples to draw.
    pub idle_share: f64,
}

const MINUTE: u32 = 60;
const SECONDS: u32 = 90 * MINUTE;

/// Loads as training runs produce them, in samples per second. A worker with the default settings draws 1.2 per
/// second.
const LOADS: [Load; 6] = [
    Load { name: "bursts", of_second: bursts, sample_seconds: 0, scale_in_seconds: 0 },
    Load {
        name: "bursts, kept 15 min",
        of_second: bursts,
        sample_seconds: 0,
        scale_in_seconds: 900,
    },
    Load {
        name: "rise and fall",
        of_second: rise_and_fall,
        sample_seconds: 0,
        scale_in_seconds: 0,
    },
    Load { name: "step", of_second: a_step, sample_seconds: 0, scale_in_seconds: 0 },
    Load {
        name: "step, samples of 60 s",
        of_second: a_step,
        sample_seconds: 60,
        scale_in_seconds: 0,
    },
    Load {
        name: "rise and fall, 60 s",
        of_second: rise_and_fall,
        sample_seconds: 60,
        scale_in_seconds: 0,
    },
];

/// A training step every ten minutes.
fn bursts(second: u32) -> u32 {
    if second.is_multiple_of(10 * MINUTE) && second < 60 * MINUTE { 2_400 } else { 0 }
}

fn a_step(second: u32) -> u32 {
    if (5 * MINUTE..60 * MINUTE).contains(&second) { 10 } else { 1 }
}

fn rise_and_fall(second: u32) -> u32 {
    (second / 300).min((SECONDS - second) / 300)
}

/// Simulates every load and prints the results.
pub fn run(args: &BenchAutoscaleArgs, run: &Run) -> Result<Exit, Failed> {
    let svg = Output::check("--svg", args.svg.as_deref())?;
    let fleet = FleetSettings {
        capacity: args.capacity,
        sample_seconds: args.sample_seconds,
        start_seconds: args.start_seconds,
    };
    let settings = Settings {
        most: args.most_workers,
        samples_per_worker: args.samples_per_worker,
        backlog_seconds: args.backlog_seconds,
        scale_in_seconds: args.scale_in_seconds,
        ..Settings::default()
    };
    let runs: Vec<(Outcome, Vec<Second>)> = LOADS
        .iter()
        .map(|load| {
            let sample_seconds = fleet.sample_seconds.max(load.sample_seconds);
            let scale_in_seconds = settings.scale_in_seconds.max(load.scale_in_seconds);
            let fleet = FleetSettings { sample_seconds, ..fleet };
            let settings = Settings { scale_in_seconds, ..settings };
            let seconds = simulate(load.of_second, SECONDS, fleet, settings);
            (outcome(load.name, &seconds, fleet), seconds)
        })
        .collect();
    let outcomes: Vec<&Outcome> = runs.iter().map(|(outcome, _)| outcome).collect();
    let page = match args.json {
        true => serde_json::to_string(&outcomes).or_exit(Exit::Internal)? + "\n",
        false => table(&outcomes),
    };
    deliver(run, &page, svg.as_ref(), || plot::plot(&runs, settings).or_exit(Exit::Internal))?;
    Ok(Exit::Done)
}

/// One second at a time: load, fleet, loop.
fn simulate(
    load: impl Fn(u32) -> u32,
    n_seconds: u32,
    fleet: FleetSettings,
    settings: Settings,
) -> Vec<Second> {
    let mut fleet = Fleet::new(fleet);
    let mut control = Control::new(settings);
    let mut seconds = Vec::new();
    for second in 0..n_seconds {
        fleet.ask(load(second));
        fleet.step(second);
        let wanted = control.step(second, fleet.demand());
        fleet.scale(second, wanted);
        seconds.push(Second {
            demand: fleet.demand().samples(),
            waiting: fleet.waiting(),
            wanted,
            ready: fleet.ready(),
        });
    }
    seconds
}

fn outcome(load: &'static str, seconds: &[Second], fleet: FleetSettings) -> Outcome {
    let drawn: f64 = seconds.iter().map(|s| f64::from(s.demand - s.waiting)).sum();
    let places: f64 = seconds.iter().map(|s| f64::from(s.ready * fleet.capacity)).sum();
    Outcome {
        load,
        most_workers: seconds.iter().map(|s| s.wanted).max().unwrap_or(0),
        turns: turns(seconds),
        most_waiting: seconds.iter().map(|s| s.waiting).max().unwrap_or(0),
        idle_share: if places > 0.0 { (1.0 - drawn / places).max(0.0) } else { 0.0 },
    }
}

/// How often the number of wanted workers went from growing to shrinking, or back.
fn turns(seconds: &[Second]) -> usize {
    let changes = seconds.windows(2).map(|pair| pair[1].wanted.cmp(&pair[0].wanted));
    let moves: Vec<_> = changes.filter(|change| change.is_ne()).collect();
    moves.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

fn table(outcomes: &[&Outcome]) -> String {
    let mut rows =
        vec![["LOAD", "MOST WORKERS", "TURNS", "MOST WAITING", "IDLE"].map(String::from)];
    rows.extend(outcomes.iter().map(|one| {
        [
            one.load.to_owned(),
            one.most_workers.to_string(),
            one.turns.to_string(),
            one.most_waiting.to_string(),
            format!("{:.0} %", 100.0 * one.idle_share),
        ]
    }));
    jury_terminal::page::columns(&rows)
}

#[cfg(test)]
mod tests;
