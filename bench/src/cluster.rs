//! `jury bench cluster`: the cost of the coordinator itself.
//!
//! ```text
//! config  what is measured                  node         a worker that behaves like a GPU node
//! load    requests, a fixed number at once  coordinator  a separate process, and its CPU time
//! report  a table, or JSON                  fleet        where the workers run: here, or in separate processes
//! ```
//!
//! The coordinator runs in its own process, so that its CPU time is known. Requests come from this process, which
//! also runs the simulated workers unless `--processes` says otherwise. All traffic uses loopback sockets, as between
//! machines. When workers answer at once, the remaining latency of a request is Jury's own. When they take as long as
//! a GPU, samples per second compared with the number of workers show how much of the fleet is used.

mod config;
mod coordinator;
mod fleet;
mod load;
mod node;
mod report;

use std::time::Duration;

use jury_engine::Host;
use jury_terminal::exit::{Exit, Failed, OrExit};

use self::config::{Config, Point};
use self::coordinator::CoordinatorProcess;
use self::fleet::Fleet;
pub use self::fleet::serve;
use self::load::{Generator, Measured};
use self::report::Report;
use crate::Run;
use crate::args::BenchClusterArgs;
use crate::head::Head;
use crate::load::Load;
use crate::output::{Output, deliver};

pub fn run(args: BenchClusterArgs, run: &Run) -> Result<Exit, Failed> {
    let markdown = Output::check("--markdown", args.markdown.as_deref())?;
    let json = args.json;
    let config = Config::from(args);
    let host = Host::detect();
    let load = Load::at_start(&run.meter, host.threads, "figures do not hold");
    let mut report = Report::new(Head::new(host, load), &config);
    run.meter.runs(config.rounds as u64 * config.points.len() as u64);
    for round in 0..config.rounds {
        for (number, point) in config.points.iter().enumerate() {
            run.meter.run(&format!("{point}, round {}", round + 1));
            let measured = measure(&config, point, run)?;
            report.add(number, &measured);
            run.meter.run_done();
        }
        report.head = report.head.until_now(round + 1 == config.rounds);
        run.so_far.set(report.page(json)?);
    }
    deliver(run, &report.page(json)?, markdown.as_ref(), || Ok(report.markdown()))?;
    Ok(Exit::Done)
}

/// Measures one point with a fresh fleet, so that nothing is left over from another point.
fn measure(config: &Config, point: &Point, run: &Run) -> Result<Measured, Failed> {
    let fleet = Fleet::start(point, config.processes, config.seed, run)?;
    let coordinator = CoordinatorProcess::start(&run.programs, &fleet.addresses)?;
    let generator = Generator::new(config, point);
    let measured = run.waits.wait(async {
        coordinator.ready(point.workers, Duration::from_secs(30)).await?;
        generator.measure(&coordinator).await
    })?;
    measured.or_exit(Exit::Internal)
}
