//! `jury score --items`: one item per line in, one verdict per line out, with progress for a person.
//!
//! An invalid line is reported on stderr, and the others are judged. On Ctrl-C, finished verdicts are written; --resume
//! continues from there. [`jury_client::batch`] reads, judges and writes.

mod tally;

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use anyhow::{Context, anyhow};
use futures::StreamExt;
use jury_client::ClientError;
use jury_client::batch::{self, Event, Finished, ItemsError, Onto, ResumeError, Sink, SinkError};
use jury_proto::ErrorCode;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;
use jury_terminal::page::StdoutError;

use self::tally::Tally;
use super::config::{Output, ScoreConfig, Source};
use super::judge::Judges;
use super::record::{self, Recorded};
use crate::signals::signals;

/// Judges the items of a batch. Opens `judges` if it is not open yet, after all checks.
pub async fn run(
    config: &ScoreConfig,
    judges: &mut Option<Judges>,
    meter: &Meter,
) -> Result<Exit, Failed> {
    let source = config.input.source();
    // All checks, before a model is loaded.
    check(source)?;
    let total = count_items(source)?;
    let reader = open(source)?;
    let output = &config.output;
    let (mut sink, finished) = open_sink(config)?;

    let judges = match judges {
        Some(judges) => judges,
        None => judges.insert(Judges::open_for_batch(&config.judge, &config.output, meter)?),
    };
    let mut tally = Tally::new(source.name(), config.budget(), sink.numerics());
    if let Some(line) = hold(judges, config, &sink, &mut tally).await? {
        meter.print(&line);
    }
    // From here on Ctrl-C ends the batch in order; before, nothing could be lost.
    let signals = signals()?;
    meter.items(total);
    let events = batch::score(judges.client(), config.request.clone(), finished, reader).fuse();
    tokio::pin!(events);

    let ended = loop {
        let event = tokio::select! {
            biased;
            () = signals.drain.cancelled() => break Ended::Interrupted,
            event = events.next() => event,
        };
        let Some(event) = event else { break Ended::AllRead };
        match sink.take(&event) {
            Ok(()) => {}
            Err(error @ SinkError::OtherJudge { .. }) => {
                break Ended::Failed(not_written(error, output));
            }
            Err(error) => return Err(not_written(error, output)),
        }
        let nobody = nobody_there(&event).cloned();
        if matches!(event, Event::Judged(..) | Event::Failed(..)) {
            meter.item_done();
        }
        // A notice about retries is progress, which --quiet turns off.
        let is_shown = !config.output.quiet || !matches!(event, Event::Again(..));
        if let Some(line) = tally.record(event).filter(|_| is_shown) {
            meter.print(&line);
        }
        if let Some(n) = tally.nobody_draws() {
            break Ended::Failed(no_worker(n, output.onto));
        }
        if let Some(error) = nobody {
            break Ended::Failed(judges.failed(error));
        }
    };
    sink.finish().map_err(|error| not_written(error, output))?;
    meter.clear();
    if !config.output.quiet {
        meter.print(&tally.summary());
    }
    write_record(config, meter)?;
    match ended {
        Ended::AllRead => tally.exit(),
        Ended::Interrupted => Ok(Exit::Interrupted),
        Ended::Failed(failed) => Err(failed),
    }
}

/// Writes the samples of every verdict, if --record is given.
fn write_record(config: &ScoreConfig, meter: &Meter) -> Result<(), Failed> {
    let output = &config.output;
    let (Some(path), Some(out)) = (&output.record, &output.out) else { return Ok(()) };
    let Source::File(items) = config.input.source() else { return Ok(()) };
    let Recorded { n_rows, n_without, n_changed } = record::batch(path, items, out)?;
    if !output.quiet {
        meter.print(&format!("jury: {n_rows} samples written to {}", path.display()));
    }
    if n_changed > 0 {
        meter.print(&format!(
            "jury: warning: {n_changed} items have changed since they were judged, and have no rows: --resume judges them \
             again"
        ));
    }
    if n_without > 0 {
        let out = out.display();
        meter.print(&format!(
            "jury: warning: {n_without} verdicts in {out} were made without --samples or --record, and have no rows"
        ));
    }
    Ok(())
}

enum Ended {
    AllRead,
    Interrupted,
    /// Nothing can judge the rest, or only another judge than before.
    Failed(Failed),
}

// === private ===

/// Checks that the fleet's judges are those of the earlier run; returns a note for the user. If the fleet does not
/// report its judges, the first verdict is checked instead.
async fn hold(
    judges: &Judges,
    config: &ScoreConfig,
    sink: &Sink,
    tally: &mut Tally,
) -> Result<Option<String>, Failed> {
    let fleet = judges.client().status().await.unwrap_or_default();
    let there = fleet.judges(config.request.model.as_deref());
    sink.hold(&there).map_err(|error| not_written(error, &config.output))?;
    Ok(tally.meets(&there.iter().map(|judge| judge.numerics).collect::<Vec<_>>()))
}

fn check(source: &Source) -> Result<(), Failed> {
    let Source::File(path) = source else { return Ok(()) };
    batch::check_items(path).map_err(|error| match error {
        // A likely mistake, with a different fix than for a batch.
        ItemsError::OneItem => {
            let name = source.name();
            let problem =
                anyhow!("--items: {name} is a single item, not one item per line; omit --items");
            Failed::new(Exit::Usage, problem)
        }
        error => not_read(&named(source), &error),
    })
}

/// The number of items in a file; unknown for stdin.
fn count_items(source: &Source) -> Result<Option<u64>, Failed> {
    let Source::File(path) = source else { return Ok(None) };
    batch::count_items(path).with_context(|| named(source)).or_exit(Exit::NoInput)
}

fn open(source: &Source) -> Result<Box<dyn BufRead + Send>, Failed> {
    match source {
        Source::Stdin => Ok(Box::new(BufReader::new(io::stdin()))),
        Source::File(path) => {
            let file = File::open(path).with_context(|| named(source)).or_exit(Exit::NoInput)?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

/// The name of a batch in messages, with its option.
fn named(source: &Source) -> String {
    format!("--items: {}", source.name())
}

fn open_sink(config: &ScoreConfig) -> Result<(Sink, Finished), Failed> {
    let output = &config.output;
    let ordered = !output.unordered;
    let Some(path) = &output.out else {
        let stdout = Sink::stream("stdout", Box::new(io::stdout()), ordered);
        return Ok((stdout, Finished::default()));
    };
    Sink::file(path, output.onto, &config.request, ordered)
        .map_err(|error| not_written(error, output))
}

/// Checks that the verdicts in the output, if any, were made with the same settings. Changes nothing.
pub fn check_output(config: &ScoreConfig) -> Result<(), Failed> {
    match &config.output.out {
        Some(path) if path.exists() => open_sink(config).map(drop),
        _ => Ok(()),
    }
}

/// Adds the exit code to an output error, and the options that fix it.
fn not_written(error: SinkError, output: &Output) -> Failed {
    let onto = output.onto;
    // The folder of an evaluation resumes without an option, and has samples of one judge and one kind.
    let is_folder = onto == Onto::SameWhole;
    let (exit, option, way_out) = match &error {
        SinkError::Io { .. } if output.out.is_none() => return stdout_failed(error),
        SinkError::Io { .. } => return Failed::new(Exit::CannotWrite, error),
        SinkError::OtherJudge { .. } if is_folder => {
            (Exit::Usage, "", "use the same judge, or another folder")
        }
        SinkError::Resume { problem: ResumeError::Mixed { .. }, .. } if is_folder => {
            (Exit::Usage, "", "use the same settings, or another folder")
        }
        SinkError::Resume { problem: ResumeError::NotAVerdict { .. }, .. } if is_folder => {
            (Exit::BadData, "", "use another folder")
        }
        SinkError::NotEmpty { .. } => {
            (Exit::Usage, "--out: ", "add --resume to continue it, or use another file")
        }
        SinkError::InUse { .. } => {
            (Exit::Usage, "--out: ", "wait for it to end, or use another file")
        }
        SinkError::OtherJudge { .. } => {
            let (option, way_out) = match onto {
                Onto::Nothing => {
                    ("--out: ", "continue with --resume and the same judge, or with --allow-mixed")
                }
                _ => ("--resume: ", "use the same judge, another file, or --allow-mixed"),
            };
            (Exit::Usage, option, way_out)
        }
        SinkError::Resume { problem, .. } => match problem {
            ResumeError::NotAVerdict { .. } => {
                (Exit::BadData, "", "use another file, or omit --resume")
            }
            ResumeError::Mixed { .. } => {
                (Exit::Usage, "", "use the same settings, another file, or --allow-mixed")
            }
            ResumeError::Io(_) => return Failed::new(Exit::NoInput, error),
        },
    };
    Failed::new(exit, anyhow!("{option}{error}; {way_out}"))
}

fn stdout_failed(error: SinkError) -> Failed {
    match error {
        SinkError::Io { source, .. } => Failed::new(Exit::CannotWrite, StdoutError(source)),
        error => Failed::new(Exit::CannotWrite, error),
    }
}

/// The error that ends a batch if there are no workers.
fn no_worker(n_in_a_row: usize, onto: Onto) -> Failed {
    let resume = match onto {
        Onto::SameWhole => "repeat the command to continue",
        _ => "continue with --resume",
    };
    let problem = anyhow!(
        "no worker for {n_in_a_row} items in a row; start one (`jury worker`), then {resume}"
    );
    Failed::new(Exit::Unavailable, problem)
}

/// An error after all retries of the client, which every other item would meet as well.
fn nobody_there(event: &Event) -> Option<&ClientError> {
    let Event::Failed(_, error) = event else { return None };
    let is_away = matches!(
        error.code,
        ErrorCode::Unreachable | ErrorCode::WrongService | ErrorCode::ShuttingDown
    );
    is_away.then_some(error)
}

/// The error for items that cannot be read.
fn not_read(source: &str, error: &ItemsError) -> Failed {
    let exit = match error {
        ItemsError::Io(_) => Exit::NoInput,
        _ => Exit::BadData,
    };
    Failed::new(exit, anyhow!("{source}: {error}"))
}
