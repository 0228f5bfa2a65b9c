//! `jury score`: items in, verdicts out.
//!
//! ```text
//! config   arguments -> what to do           judge    the judge: in this process, or at an endpoint
//! batch    many items, one per line          render   one verdict, for a person
//! record   samples as Parquet
//! ```

mod batch;
mod config;
mod judge;
pub mod meta;
mod pair;
mod record;
mod render;

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use anyhow::{Context, anyhow};
use jury_client::ClientError;
use jury_client::batch::text;
use jury_grm::domain::{Item, JsonError, KeyHint, Verdict, json_line};
use jury_proto::ErrorCode;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::meter::Meter;

pub use self::batch::check_output;
pub use self::config::{
    Input, Judge, Output, ScoreConfig, Source, in_flight, placeholder, refused_field,
};
use self::judge::Judges;
use self::render::{MAX_WIDTH, Page, Paint, render};
use crate::args::ScoreArgs;
use crate::signals::signals;
pub use jury_terminal::page::print;

/// Columns if the output is not a terminal.
const DEFAULT_WIDTH: usize = 80;

pub async fn run(args: ScoreArgs) -> Result<Exit, Failed> {
    let config = ScoreConfig::try_from(args)?;
    let meter = Meter::new(config.output.quiet);
    match &config.input {
        Input::Many(_) => {
            let exit = batch::run(&config, &mut None, &meter).await?;
            if exit == Exit::Interrupted && config.output.out.is_some() {
                meter.print("jury: interrupted; repeat the command with --resume to continue");
            }
            Ok(exit)
        }
        Input::One(source) => score_one(&config, source, &meter).await,
    }
}

/// Judges batches one after the other with one judge. Returns the exit of the first batch that did not succeed; stops
/// after an interrupted one.
pub async fn judge_batches(batches: &[ScoreConfig], meter: &Meter) -> Result<Exit, Failed> {
    let (mut judges, mut worst) = (None, Exit::Done);
    for config in batches {
        match batch::run(config, &mut judges, meter).await? {
            Exit::Interrupted => return Ok(Exit::Interrupted),
            exit if worst == Exit::Done => worst = exit,
            _ => {}
        }
    }
    Ok(worst)
}

/// Adds the endpoint to a call's error, and what to check if nothing answers there.
pub fn at_endpoint(error: ClientError, endpoint: &str) -> Failed {
    let code = error.code;
    let failed = Failed::from(error);
    let said = &failed.error;
    let error = match code {
        ErrorCode::Unreachable => anyhow!(
            "no answer from {endpoint}: {said}; is `jury up` or `jury coordinator` running there?"
        ),
        ErrorCode::WrongService => anyhow!(
            "no Jury coordinator answers at {endpoint} (a worker? another protocol?): {said}; is this the port of the coordinator's --listen?"
        ),
        _ => failed.error.context(endpoint.to_owned()),
    };
    Failed { error, ..failed }
}

async fn score_one(config: &ScoreConfig, source: &Source, meter: &Meter) -> Result<Exit, Failed> {
    let mut request = config.request.clone();
    request.item = read_item(source, meter)?;
    // Before a model is loaded.
    request.validate().with_context(|| source.name()).or_exit(Exit::Usage)?;
    let item = request.item.clone();

    let judges = Judges::open(&config.judge, meter)?;
    let signals = signals()?;
    let verdict = tokio::select! {
        biased;
        () = signals.drain.cancelled() => {
            meter.clear();
            meter.print("jury: interrupted: no verdict");
            return Ok(Exit::Interrupted);
        }
        verdict = judges.score(request, meter) => verdict,
    };
    meter.clear();
    let mut verdict = verdict?;
    let record = config.output.record.as_ref();
    let recorded = record.map_or(Ok(()), |path| record::one(path, &item, &verdict));
    if record.is_some() && config.output.json && !config.output.samples {
        verdict.samples = None;
    }
    // The verdict is printed even if the record cannot be written; that error counts even if nobody reads the verdict.
    let printed = print(&written(&item, &verdict, &config.output)?);
    recorded?;
    printed?;
    Ok(Exit::of_verdict(&verdict))
}

fn written(item: &Item, verdict: &Verdict, output: &Output) -> Result<String, Failed> {
    if output.json {
        json_line(verdict).or_exit(Exit::Internal)
    } else {
        Ok(render(item, verdict, page()))
    }
}

fn read_item(source: &Source, meter: &Meter) -> Result<Item, Failed> {
    let mut bytes = Vec::new();
    match source {
        Source::Stdin => io::stdin().lock().read_to_end(&mut bytes),
        Source::File(path) => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    }
    .with_context(|| source.name())
    .or_exit(Exit::NoInput)?;
    let text = text(&bytes).with_context(|| source.name()).or_exit(Exit::Usage)?;
    let (item, unknown_keys) = Item::from_json(text)
        .map_err(|error| Failed::new(Exit::Usage, not_an_item(error, &source.name())))?;
    for key in unknown_keys {
        meter.print(&unknown_key(&key));
    }
    Ok(item)
}

/// Adds a hint about --items if the file has several items.
fn not_an_item(error: JsonError, name: &str) -> anyhow::Error {
    let hint = match &error {
        JsonError::MoreFollows { .. } => Some("for a file with one item per line, use --items"),
        JsonError::NotAnObject { .. } => {
            Some("for several items, put one per line into a file and use --items")
        }
        _ => None,
    };
    match hint {
        Some(hint) => anyhow!("{name}: {error}; {hint}"),
        None => anyhow::Error::from(error).context(name.to_owned()),
    }
}

fn unknown_key(key: &str) -> String {
    let hint = match Item::key_hint(key) {
        None => String::new(),
        Some(KeyHint::Like(known)) => format!("; did you mean {known:?}?"),
        Some(KeyHint::OfRequest(known)) => match config::option_of(known) {
            Some(option) => format!("; to set it for all items, use {option}"),
            None => "; it is a key of requests, not of items".to_owned(),
        },
    };
    format!("jury: warning: unknown item key {key:?} is ignored{hint}")
}

/// The page for stdout. `NO_COLOR` is a convention of all programs, not a setting of Jury.
fn page() -> Page {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = io::stdout().is_terminal() && !no_color;
    let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Page {
        width: columns.unwrap_or(DEFAULT_WIDTH).min(MAX_WIDTH),
        paint: if colours { Paint::Colours } else { Paint::Plain },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_reported_with_a_hint_at_what_was_meant() {
        for (key, hint) in [
            ("respones", r#"; did you mean "responses"?"#),
            ("seed", "; to set it for all items, use --seed"),
            ("min_samples", "; to set it for all items, use --min-samples"),
            ("rule", "; to set it for all items, use --vote"),
            ("settings", "; to set it for all items, use --temperature and similar options"),
            ("max_tokens", "; to set it for all items, use --max-critique-tokens"),
            ("hinted", "; it is a key of requests, not of items"),
            ("colour", ""),
        ] {
            let told = format!("jury: warning: unknown item key {key:?} is ignored{hint}");
            assert_eq!(unknown_key(key), told);
        }
    }
}
