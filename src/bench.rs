//! `jury bench`: how fast the engine is on this machine.
//!
//! ```text
//! engine    ours and llama.cpp's, alternately      peer     llama-batched-bench: its settings, its answers
//! verdicts  the whole way, ours and llama-server's
//! scaling   time against k, prompt, requests       plot     as an SVG
//! models    names to files                         spread   median, least, greatest
//! programs  those of others, and their end
//! ```
//!
//! Nothing here is part of what serves; the measuring itself is `jury_engine::measure`.

mod engine;
mod models;
mod peer;
mod plot;
mod programs;
mod scaling;
mod spread;
mod verdicts;

use std::path::Path;

use anyhow::Context;
use jury_engine::Host;
use jury_fabric::shutdown::on_signals;

use self::programs::Programs;
use crate::args::{BenchArgs, BenchCommand, MeasuringArgs, Refused};
use crate::exit::{Exit, Failed, OrExit};

/// Measures until all is measured or a signal asks to end. No program that was started outlives it.
pub async fn run(args: BenchArgs) -> Result<Exit, Failed> {
    let signals = on_signals().or_exit(Exit::Internal)?;
    let programs = Programs::until(signals.drain.clone());
    let work = {
        let programs = programs.clone();
        tokio::task::spawn_blocking(move || match args.command {
            BenchCommand::Engine(args) => engine::run(args, &programs),
            BenchCommand::Verdicts(args) => verdicts::run(*args, &programs),
            BenchCommand::Scaling(args) => scaling::run(&args),
        })
    };
    let ended = tokio::select! {
        biased;
        () = signals.drain.cancelled() => Ok(Exit::Interrupted),
        ended = work => ended.or_exit(Exit::Internal).and_then(|ended| ended),
    };
    programs.end().await;
    ended
}

/// The number of threads that was asked for, else what this machine lets us use.
fn threads(args: &MeasuringArgs) -> Result<usize, Refused> {
    match args.threads {
        Some(0) => Err(Refused::new("--threads", "must be at least 1, is 0")),
        Some(threads) => Ok(threads),
        None => Ok(Host::detect().threads),
    }
}

/// Writes a file of results.
fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text)
        .with_context(|| path.display().to_string())
        .or_exit(Exit::CannotWrite)
}

/// Today, to the second, in UTC.
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
