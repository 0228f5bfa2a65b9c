//! From the words of a command line to [`Args`], where clap alone would not tell what was typed from what the
//! environment says.
//!
//! A variable that is empty counts as unset. One that does not go with an option that was typed gives way to it: only two
//! options that were both typed can be a mistake.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Error, FromArgMatches};

use super::{Args, ClientTlsArgs, Command, TrainCommand};

/// Reads a command line, the program's name first.
///
/// # Errors
/// What clap says, help and version included.
pub fn parse<W>(words: impl IntoIterator<Item = W>) -> Result<Args, Error>
where
    W: Into<OsString> + Clone,
{
    let mut command = without_empty_variables(Args::command());
    let matches = command.try_get_matches_from_mut(words)?;
    let mut args = Args::from_arg_matches(&matches)?;
    let Some((_, of_subcommand)) = matches.subcommand() else { return Ok(args) };
    if let Some((endpoint, tls)) = client_tls(&mut args.command)
        && !endpoint.is_some_and(|endpoint| endpoint.trim().starts_with("https://"))
    {
        let innermost = innermost(of_subcommand);
        for id in ClientTlsArgs::IDS {
            if innermost.value_source(id) == Some(ValueSource::EnvVariable) {
                tls.forget(id);
            }
        }
    }
    let from_environment =
        |id: &str| of_subcommand.value_source(id) == Some(ValueSource::EnvVariable);
    match &mut args.command {
        Command::Score(score) if score.judge.endpoint.is_some() => {
            if from_environment("threads") {
                score.judge.threads = None;
            }
            if from_environment("template") {
                score.judge.template = None;
            }
        }
        Command::Coordinator(coordinator) => {
            let both = !coordinator.worker.is_empty() && !coordinator.etcd.etcd.is_empty();
            match (from_environment("worker"), from_environment("etcd")) {
                (true, false) if both => coordinator.worker.clear(),
                (false, false) if both => {
                    let problem = "--worker and --etcd exclude each other: name the one fleet";
                    return Err(command.error(ErrorKind::ArgumentConflict, problem));
                }
                // --worker takes the place of etcd.
                _ => {}
            }
        }
        _ => {}
    }
    Ok(args)
}

// === private ===

/// The endpoint that a command asks, and how it is reached; `None` for a command that asks none.
fn client_tls(command: &mut Command) -> Option<(Option<&str>, &mut ClientTlsArgs)> {
    let judge = match command {
        Command::Score(args) => &mut args.judge,
        Command::Eval(args) if args.command.is_none() => &mut args.run.judge,
        Command::Train(args) => match &mut args.command {
            TrainCommand::Meta(args) => &mut args.judge,
            TrainCommand::Merge(_) => return None,
            TrainCommand::Rft(args) => &mut args.judge,
            TrainCommand::Rl(args) => &mut args.judge,
            TrainCommand::Export(_) => return None,
        },
        Command::Status(args) => return Some((Some(&args.endpoint), &mut args.tls)),
        Command::Health(args) => return Some((Some(&args.endpoint), &mut args.tls)),
        _ => return None,
    };
    Some((judge.endpoint.as_deref(), &mut judge.tls))
}

/// What was given to the subcommand at the end of the line.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, of_subcommand)| innermost(of_subcommand))
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let value = argument.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    });
    command.mut_subcommands(without_empty_variables)
}
