//! From the words of a command line to [`Args`]: beyond clap, it distinguishes typed options from environment
//! variables.
//!
//! An empty variable counts as unset. A variable that conflicts with a typed option is ignored: only two typed options
//! can be a mistake.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Error, FromArgMatches};

use super::{
    Args, ClientTlsArgs, Command, CoordinatorArgs, DirectoryArg, JudgeArgs, TokenArgs, TrainCommand,
};

/// Reads a command line, the program's name first.
///
/// # Errors
/// Clap's error, help and version included.
pub fn parse<W>(words: impl IntoIterator<Item = W>) -> Result<Args, Error>
where
    W: Into<OsString> + Clone,
{
    let mut command = without_empty_variables(Args::command());
    let matches = command.try_get_matches_from_mut(words)?;
    let mut args = Args::from_arg_matches(&matches)?;
    let Some((_, of_subcommand)) = matches.subcommand() else { return Ok(args) };
    let innermost = innermost(of_subcommand);
    let is_variable = |id: &str| innermost.value_source(id) == Some(ValueSource::EnvVariable);
    let settled = match &mut args.command {
        Command::Status(status) => {
            settle_tls(Some(&status.endpoint), &mut status.tls, is_variable);
            settle_token(&mut status.token, is_variable)
        }
        Command::Health(health) => {
            settle_tls(Some(&health.endpoint), &mut health.tls, is_variable);
            Ok(())
        }
        Command::Coordinator(coordinator) => settle_fleet(coordinator, is_variable),
        other => judge(other).map_or(Ok(()), |judge| settle_judge(judge, is_variable)),
    };
    settled.map_err(|problem| command.error(ErrorKind::ArgumentConflict, problem))?;
    Ok(args)
}

// === private ===

/// The judge options of a command; `None` if it has none.
fn judge(command: &mut Command) -> Option<&mut JudgeArgs> {
    match command {
        Command::Score(args) => Some(&mut args.judge),
        Command::Eval(args) if args.command.is_none() => Some(&mut args.run.judge),
        Command::Train(args) => match &mut args.command {
            TrainCommand::Meta(args) => Some(&mut args.judge),
            TrainCommand::Rft(args) => Some(&mut args.judge),
            TrainCommand::Rl(_) | TrainCommand::Merge(_) | TrainCommand::Export(_) => None,
        },
        _ => None,
    }
}

/// Drops the variables that do not apply to a judge at an endpoint, or to one in this process.
fn settle_judge(judge: &mut JudgeArgs, is_variable: impl Fn(&str) -> bool) -> Result<(), String> {
    settle_tls(judge.endpoint.as_deref(), &mut judge.tls, &is_variable);
    let is_embedded = judge.endpoint.is_none();
    forget(is_embedded && is_variable("token"), &mut judge.token.token);
    forget(is_embedded && is_variable("token_file"), &mut judge.token.token_file);
    forget(!is_embedded && is_variable("threads"), &mut judge.threads);
    forget(!is_embedded && is_variable("template"), &mut judge.template);
    forget(!is_embedded && is_variable("adapter"), &mut judge.adapter);
    settle_token(&mut judge.token, is_variable)
}

/// Leaves one token: the typed one; of two variables, the token itself, not its file.
fn settle_token(args: &mut TokenArgs, is_variable: impl Fn(&str) -> bool) -> Result<(), String> {
    if args.token.is_none() || args.token_file.is_none() {
        return Ok(());
    }
    match (is_variable("token"), is_variable("token_file")) {
        (false, false) => {
            return Err("--token and --token-file cannot be used together".to_owned());
        }
        (true, false) => args.token = None,
        (_, true) => args.token_file = None,
    }
    Ok(())
}

/// Drops the certificate variables if the endpoint is not called over TLS.
fn settle_tls(endpoint: Option<&str>, tls: &mut ClientTlsArgs, is_variable: impl Fn(&str) -> bool) {
    let is_plain = !endpoint.is_some_and(|endpoint| endpoint.trim().starts_with("https://"));
    forget(is_plain && is_variable("tls_ca"), &mut tls.trust.tls_ca);
    forget(is_plain && is_variable("tls_server_name"), &mut tls.trust.tls_server_name);
    forget(is_plain && is_variable("tls_cert"), &mut tls.tls_cert);
    forget(is_plain && is_variable("tls_key"), &mut tls.tls_key);
}

fn forget<T>(is_needless: bool, option: &mut Option<T>) {
    if is_needless {
        *option = None;
    }
}

/// Leaves a coordinator with one fleet. At most one may be typed, and it takes precedence over those from the
/// environment; of those, --directory's counts, else the first.
fn settle_fleet(
    args: &mut CoordinatorArgs,
    is_variable: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let named = [
        (
            DirectoryArg::Kubernetes,
            args.kubernetes.kubernetes_service.is_some(),
            "kubernetes_service",
        ),
        (DirectoryArg::Fixed, !args.worker.is_empty(), "worker"),
        (DirectoryArg::Etcd, !args.etcd.etcd.is_empty(), "etcd"),
    ];
    let named: Vec<_> = named.into_iter().filter(|(_, is_named, _)| *is_named).collect();
    let of = |entries: &[(DirectoryArg, bool, &str)]| -> Vec<DirectoryArg> {
        entries.iter().map(|(directory, ..)| *directory).collect()
    };
    let typed: Vec<_> = named.iter().filter(|(.., id)| !is_variable(id)).copied().collect();
    let chosen = match (args.kubernetes.directory, &of(&typed)[..]) {
        (None, [first, second, ..]) => {
            let (first, second) = (first.option(), second.option());
            return Err(format!("{first} and {second} cannot be used together; choose one fleet"));
        }
        (Some(asked), [typed]) if asked != *typed && !is_variable("directory") => {
            let (asked, typed) = (asked.option(), typed.option());
            return Err(format!("--directory selects {asked}, not {typed}; choose one fleet"));
        }
        (_, [typed]) => *typed,
        (Some(asked), _) if of(&named).contains(&asked) => asked,
        (Some(asked), _) => return Err(format!("--directory needs {}", asked.option())),
        (None, []) => match of(&named).first() {
            Some(first) => *first,
            // Rejected by clap before.
            None => return Ok(()),
        },
    };
    args.kubernetes.directory = Some(chosen);
    if chosen != DirectoryArg::Kubernetes {
        args.kubernetes.kubernetes_service = None;
    }
    if chosen != DirectoryArg::Fixed {
        args.worker.clear();
    }
    if chosen != DirectoryArg::Etcd {
        args.etcd.etcd.clear();
    }
    Ok(())
}

/// The matches of the last subcommand on the line.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(line: &str) -> Result<Option<DirectoryArg>, String> {
        let words = ["jury", "coordinator"].into_iter().chain(line.split_whitespace());
        match parse(words).map_err(|error| error.to_string())?.command {
            Command::Coordinator(args) => Ok(args.kubernetes.directory),
            _ => panic!("not a coordinator"),
        }
    }

    #[test]
    fn a_coordinator_has_one_fleet() {
        for (line, directory) in [
            ("--etcd e:1", DirectoryArg::Etcd),
            ("--worker w:1 --worker w:2", DirectoryArg::Fixed),
            ("--kubernetes-service workers.judges", DirectoryArg::Kubernetes),
            ("--directory kubernetes --kubernetes-service workers", DirectoryArg::Kubernetes),
        ] {
            assert_eq!(fleet(line), Ok(Some(directory)), "{line}");
        }
        for (line, told) in [
            ("--etcd e:1 --worker w:1", "--worker and --etcd cannot be used together"),
            ("--etcd e:1 --kubernetes-service w", "--kubernetes-service and --etcd cannot be used"),
            ("--directory kubernetes --etcd e:1", "selects --kubernetes-service, not --etcd"),
            ("--directory fixed --etcd e:1 --kubernetes-service w", "needs --worker"),
            ("--kubernetes-service Not_A_Name", "NAME.NAMESPACE"),
            ("--listen 127.0.0.1:0", "--kubernetes-service"),
        ] {
            let error = fleet(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
