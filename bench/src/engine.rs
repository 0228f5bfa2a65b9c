//! `jury bench engine`: our engine and llama.cpp, alternating in one run.
//!
//! ```text
//! for each model, prompt length and number of generated tokens:
//!   warm-up   ours once; the peer with each of its settings, the better one is used for each cell
//!   rounds    ours, peer | peer, ours | ours, peer ...        one value per cell and side in each
//! config      from the arguments         subject  one model                    series   the values of a round
//! report      table, Markdown, JSON
//! ```

mod config;
mod report;
mod series;
mod subject;

use jury_engine::limits::measure;
use jury_engine::{DeviceKind, Host};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::model::tools_folder;
use jury_worker::models::ModelStore;

use self::config::Config;
use self::report::{PeerFacts, Report, Row};
use self::subject::Subject;
use super::Run;
use super::head::Head;
use super::load::{Load, TURNS_TAKEN};
use super::models::BenchModel;
use super::output::{Output, deliver};
use super::peer::Peer;
use crate::args::BenchEngineArgs;

pub fn run(args: BenchEngineArgs, run: &Run) -> Result<Exit, Failed> {
    let config = Config::try_from(args).or_exit(Exit::Usage)?;
    let markdown = Output::check("--markdown", config.markdown.as_deref())?;
    let report = measure_all(&config, run)?;
    deliver(run, &report.page(config.json)?, markdown.as_ref(), || Ok(report.markdown()))?;
    Ok(Exit::Done)
}

fn measure_all(config: &Config, run: &Run) -> Result<Report, Failed> {
    let meter = &run.meter;
    let tools = tools_folder();
    let peer = match &config.peer {
        Some(named) => Some(Peer::find(named.clone(), tools.as_deref(), run.programs.clone())?),
        None => None,
    };
    let store = ModelStore::new(&config.cache);
    let found = config.models.iter().map(|name| BenchModel::find("--models", name, &store, meter));
    let models = found.collect::<Result<Vec<_>, _>>()?;
    let host = Host::detect();
    let consequence = match config.peer {
        Some(_) if config.rounds > 1 => TURNS_TAKEN,
        _ => "rates do not hold",
    };
    let load = Load::at_start(meter, host.threads, consequence);
    let head = Head::new(host, load);
    meter.stage("measuring this machine's limits");
    let limits = measure(config.threads);
    meter.runs(config.runs(peer.is_some()));
    let mut rows = Vec::new();
    let report = |rows: &[Row], memory, complete| Report {
        head: head.until_now(complete),
        limits: limits.clone(),
        device: config.device.to_string(),
        card_weights: matches!(config.device, DeviceKind::Cuda(_))
            .then(|| config.card_weights.to_string()),
        memory,
        peer: peer.as_ref().map(|peer| PeerFacts { version: peer.version.clone() }),
        rounds: config.rounds,
        rows: rows.to_vec(),
    };
    let mut memory = None;
    let ways =
        models.iter().flat_map(|model| config.sharing.iter().map(move |&shares| (model, shares)));
    for (model, shares) in ways {
        let mut subject = Subject::load(model, config, &limits, peer.as_ref(), meter, shares)?;
        memory = subject.memory();
        for &prompt in &config.prompts {
            let so_far = |of_prompt: &[Row]| {
                let page = report(&[&rows, of_prompt].concat(), memory, false).page(config.json)?;
                run.so_far.set(page);
                Ok(())
            };
            let of_prompt = subject.measure(prompt, so_far)?;
            rows.extend(of_prompt);
        }
    }
    Ok(report(&rows, memory, true))
}
