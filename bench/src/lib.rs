//! `jury bench`: measures how fast the engine and the coordinator are on this machine.
//!
//! ```text
//! engine    our engine and llama.cpp, alternating     peer     llama-batched-bench: its settings, its answers
//! verdicts  end to end, ours and llama-server's
//! scaling   time by k, prompt length, requests        plot     as an SVG
//! cluster   the coordinator over simulated workers
//! autoscale the loop of KEDA and HPA, simulated       sizing   workers that a training step needs
//! upstream  our worker in front of a server, and that server's own n = k
//! models    names to files                            spread   median, least, greatest
//! programs  child processes, and their end            load     other load on the machine
//! waits     for the runtime, until a signal arrives
//! output    result files                              so_far   the results when a run is cut short
//! table     a table for a terminal or a document
//! head      the head of every report
//! ```
//!
//! No server uses this crate. The measuring itself is in `jury_engine::measure`.

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
use jury_terminal::page::{note, print};

pub use self::args::BenchArgs;
use self::args::{BenchCommand, MeasuringArgs};
use self::programs::Programs;
pub use self::programs::{installed, version};
use self::so_far::SoFar;
use self::waits::Waits;

/// Shared context of every measurement.
struct Run {
    programs: Programs,
    waits: Waits,
    meter: Meter,
    so_far: SoFar,
}

/// Measures until everything is measured or a signal arrives. No child process outlives it. Finished rounds are
/// printed however it ends.
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
        // The reason why the run was cut short matters more than a broken stdout.
        drop(print(&page));
        note("jury: the run was cut short; above is what was finished, no file was written");
    }
    ended
}

/// The requested device, with auto resolved.
fn device(args: &MeasuringArgs) -> DeviceKind {
    match args.device {
        DeviceKind::Auto if has_card() => DeviceKind::Cuda(0),
        DeviceKind::Auto => DeviceKind::Cpu,
        device => device,
    }
}

/// The requested number of threads, or as many as this machine allows.
fn threads(args: &MeasuringArgs) -> usize {
    args.threads.unwrap_or_else(|| Host::detect().threads)
}
