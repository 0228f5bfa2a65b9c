//! `jury bench upstream`: compares k samples of one prompt drawn by our worker in front of a server with the server's
//! own `n = k` call, alternating in one run.
//!
//! ```text
//! rounds   worker, own | own, worker | ...      a different prompt each time: the server has computed only
//!                                               the beginning that all prompts share
//! prompt   the group, and its tokens    own      one request for all      counted   the server's own counts
//! report   table, Markdown, JSON
//! ```
//!
//! Both get the same tokens, settings and limit. The server's own metrics provide the counts for both: generated
//! tokens and computed prompt tokens. The worker's side excludes gRPC and the coordinator, which `jury bench cluster`
//! measures.

mod counted;
mod own;
mod prompt;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jury_engine::{Host, Tokenizer};
use jury_grm::domain::{Readout, Settings};
use jury_proto::convert::SampleGroup;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::model::load_failed;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};
use jury_worker::backend::{Backend, BackendEvent, GroupEvents};

use self::counted::Counts;
use self::own::Own;
use self::report::{Drawn, Report, Side};
use super::Run;
use super::head::Head;
use super::load::{Load, TURNS_TAKEN};
use super::output::{Output, deliver};
use super::waits::Waits;
use crate::args::BenchUpstreamArgs;

const ROUNDS: usize = 5;
const TOKENS: u32 = 128;
const QUICK_TOKENS: u32 = 16;
/// Longest silence of the server: the measured machine may be slow.
const STALL: Duration = Duration::from_secs(600);

/// Both ways to use the same server.
struct Sides {
    worker: OpenAiBackend,
    own: Own,
    tokenizer: Tokenizer,
    settings: Settings,
    k: u32,
    waits: Waits,
}

pub fn run(args: &BenchUpstreamArgs, run: &Run) -> Result<Exit, Failed> {
    let markdown = Output::check("--markdown", args.markdown.as_deref())?;
    let default_tokens = if args.quick { QUICK_TOKENS } else { TOKENS };
    let settings = Settings {
        max_critique_tokens: args.max_critique_tokens.unwrap_or(default_tokens),
        readout: Readout::Free,
        ..Settings::default()
    };
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { ROUNDS });
    let tokenizer = Tokenizer::load(&args.tokenizer).map_err(load_failed)?;
    let worker = run.waits.wait(OpenAiBackend::connect(config(args)))?;
    let worker = worker.or_exit(Exit::Unavailable)?;
    let own = Own::new(&args.url, &args.model);
    let sides = Sides { worker, own, tokenizer, settings, k: args.k, waits: run.waits.clone() };
    let report = measure(args, &sides, rounds, run)?;
    deliver(run, &report.page(args.json)?, markdown.as_ref(), || Ok(report.markdown()))?;
    Ok(Exit::Done)
}

fn measure(
    args: &BenchUpstreamArgs,
    sides: &Sides,
    rounds: usize,
    run: &Run,
) -> Result<Report, Failed> {
    let meter = &run.meter;
    let host = Host::detect();
    let load = Load::at_start(meter, host.threads, TURNS_TAKEN);
    let numerics = sides.worker.info().numerics;
    let mut report = Report::new(Head::new(host, load), args, numerics, &sides.settings);
    meter.runs(2 * (rounds + 1) as u64);
    // Not measured: opens connections and computes the beginning that all prompts share.
    for number in 0..=rounds {
        let order = match number % 2 {
            0 => [Side::Worker, Side::Own],
            _ => [Side::Own, Side::Worker],
        };
        for side in order {
            meter.run(&format!("round {number} of {rounds}: {}", side.name()));
            let drawn = sides.draw(side, number)?;
            meter.run_done();
            if number > 0 {
                report.add(side, drawn);
            }
        }
        if number > 0 {
            run.so_far.set(report.until_now(false).page(args.json)?);
        }
    }
    Ok(report.until_now(true))
}

fn config(args: &BenchUpstreamArgs) -> OpenAiConfig {
    OpenAiConfig {
        url: args.url.clone(),
        api_key: None,
        tls: None,
        model: args.model.clone(),
        upstream_model: None,
        flavour: None,
        tokenizer: Some(PathBuf::from(&args.tokenizer)),
        model_digest: None,
        context_tokens: None,
        capacity: Some(args.k),
        max_thinking_tokens: 0,
        opens_thought: false,
        stall: STALL,
    }
}

// === impl Sides ===

impl Sides {
    fn draw(&self, side: Side, number: usize) -> Result<Drawn, Failed> {
        // A prompt that neither side has used before.
        let name = format!("{}-{number}-{:08x}", side.name(), rand::random::<u32>());
        let group = prompt::group(&name, self.k, &self.settings).or_exit(Exit::Internal)?;
        let tokens = prompt::tokens(&group, &self.tokenizer).or_exit(Exit::Internal)?;
        let before = self.counts()?;
        let started = Instant::now();
        let first = match side {
            Side::Worker => self.by_worker(group, started)?,
            Side::Own => {
                self.own.draw(&tokens, self.k, &self.settings).or_exit(Exit::Unavailable)?;
                started.elapsed()
            }
        };
        let last = started.elapsed();
        let done = self.counts()?.since(before);
        Ok(Drawn {
            first_seconds: first.as_secs_f64(),
            last_seconds: last.as_secs_f64(),
            generated_tokens: done.generated,
            computed_prompt_tokens: done.computed,
            prompt_tokens: tokens.len(),
        })
    }

    /// Returns the time to the end of the first sample, after the last one has ended.
    fn by_worker(&self, group: SampleGroup, started: Instant) -> Result<Duration, Failed> {
        let (events, mut receiver) = GroupEvents::channel(&group);
        self.waits.wait(async {
            let _handle = self.worker.start(group, events);
            let mut first = None;
            while let Some(event) = receiver.recv().await {
                match event {
                    BackendEvent::Accepted { .. } | BackendEvent::Progress { .. } => {}
                    BackendEvent::Finished(_) => {
                        first.get_or_insert_with(|| started.elapsed());
                    }
                    other => {
                        return Err(Failed::new(
                            Exit::Unavailable,
                            anyhow!("the worker: {other:?}"),
                        ));
                    }
                }
            }
            first.ok_or_else(|| Failed::new(Exit::Unavailable, anyhow!("the worker drew nothing")))
        })?
    }

    fn counts(&self) -> Result<Counts, Failed> {
        let page = self.own.metrics().or_exit(Exit::Unavailable)?;
        Counts::read(&page).ok_or_else(|| {
            let problem = "its page /metrics has no counts of tokens that we know; start llama-server with --metrics, \
                           SGLang with --enable-metrics";
            Failed::new(Exit::Unavailable, anyhow!("--url: {problem}"))
        })
    }
}
