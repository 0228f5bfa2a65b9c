//! `jury bench`: how fast engine and coordinator are on this machine.
//!
//! ```text
//! engine    ours and llama.cpp's, alternately      peer     llama-batched-bench: its settings, its answers
//! verdicts  the whole way, ours and llama-server's
//! scaling   time against k, prompt, requests       plot     as an SVG
//! cluster   the coordinator over simulated workers
//! autoscale the loop of KEDA and HPA, simulated      sizing   workers that a training step needs
//! upstream  our worker in front of a server, and that server's own n = k
//! models    names to files                         spread   median, least, greatest
//! programs  those of others, and their end         load     what else the machine does
//! waits     for the runtime, until a signal comes
//! output    files of results                       so_far   what a run that is cut short leaves
//! table     a table for a terminal or a document
//! head      what every report begins with
//! ```
//!
//! Nothing here is part of what serves; the measuring itself is `jury_engine::measure`.

mod args;
mod autoscale;
mod cluster;
mod engine;
mod head;
mod load;
mod models;
mod output;
mod peer;
mod plot;
mod programs;
mod scaling;
pub mod sizing;
mod so_far;
mod spread;
mod table;
mod upstream;
mod verdicts;
mod waits;

use std::sync::Arc;

use jury_engine::cuda::has_card;
use jury_engine::{DeviceKind, Host};
use jury_fabric::shutdown::on_signals;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::page::print;

pub use self::args::BenchArgs;
use self::args::{BenchCommand, MeasuringArgs};
use self::programs::Programs;
pub use self::programs::{installed, version};
use self::so_far::SoFar;
use self::waits::Waits;

/// What every measurement is given.
struct Run {
    programs: Programs,
    waits: Waits,
    meter: Meter,
    so_far: SoFar,
}

/// Measures until all is measured or a signal asks to end. No program that was started outlives it. Rounds that were
/// finished are printed whatever ends it.
pub async fn run(args: BenchArgs) -> Result<Exit, Failed> {
    let signals = on_signals().or_exit(Exit::Internal)?;
    let run = Arc::new(Run {
        programs: Programs::until(signals.drain.clone()),
        waits: Waits::until(signals.drain.clone()),
        meter: Meter::new(false),
        so_far: SoFar::default(),
    });
    let work = {
        let run = Arc::clone(&run);
        tokio::task::spawn_blocking(move || match args.command {
            BenchCommand::Engine(args) => engine::run(args, &run),
            BenchCommand::Verdicts(args) => verdicts::run(*args, &run),
            BenchCommand::Scaling(args) => scaling::run(&args, &run),
            BenchCommand::Cluster(args) => cluster::run(args, &run),
            BenchCommand::Nodes(args) => cluster::serve(&args, &run),
            BenchCommand::Autoscale(args) => autoscale::run(&args, &run),
            BenchCommand::Upstream(args) => upstream::run(&args, &run),
        })
    };
    let ended = tokio::select! {
        biased;
        () = signals.drain.cancelled() => Ok(Exit::Interrupted),
        ended = work => ended.or_exit(Exit::Internal).and_then(|ended| ended),
    };
    run.programs.end().await;
    run.waits.end().await;
    run.meter.clear();
    if let Some(page) = run.so_far.take() {
        // What cut it short matters more than a stdout that nobody reads.
        drop(print(&page));
        eprintln!("jury: the run was cut short; above is what was finished, no file was written");
    }
    ended
}

/// The device that was asked for; what auto takes is found out.
fn device(args: &MeasuringArgs) -> DeviceKind {
    match args.device {
        DeviceKind::Auto if has_card() => DeviceKind::Cuda(0),
        DeviceKind::Auto => DeviceKind::Cpu,
        device => device,
    }
}

/// The number of threads that was asked for, else what this machine lets us use.
fn threads(args: &MeasuringArgs) -> usize {
    args.threads.unwrap_or_else(|| Host::detect().threads)
}
