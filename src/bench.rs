//! `jury bench`: how fast the engine is on this machine.
//!
//! ```text
//! engine    ours and llama.cpp's, alternately      peer     llama-batched-bench: its settings, its answers
//! scaling   time against k, prompt, requests       plot     as an SVG
//! models    names to files                         spread   median, least, greatest
//! ```
//!
//! Nothing here is part of what serves; the measuring itself is `jury_engine::measure`.

mod engine;
mod models;
mod peer;
mod plot;
mod scaling;
mod spread;

use jury_engine::Host;

use crate::args::{BenchArgs, BenchCommand, MeasuringArgs, Refused};
use crate::exit::{Exit, Failed};

/// Measures; blocks as long as it takes.
pub fn run(args: BenchArgs) -> Result<Exit, Failed> {
    tokio::task::block_in_place(|| match args.command {
        BenchCommand::Engine(args) => engine::run(args),
        BenchCommand::Scaling(args) => scaling::run(&args),
    })
}

/// The number of threads that was asked for, else what this machine lets us use.
fn threads(args: &MeasuringArgs) -> Result<usize, Refused> {
    match args.threads {
        Some(0) => Err(Refused::new("--threads", "must be at least 1, is 0")),
        Some(threads) => Ok(threads),
        None => Ok(Host::detect().threads),
    }
}

/// Today, to the second, in UTC.
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
