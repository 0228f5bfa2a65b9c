use clap::CommandFactory;

use super::*;

#[test]
fn the_definition_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn every_subcommand_teaches_with_an_example() {
    fn check(command: &clap::Command) {
        for subcommand in command.get_subcommands() {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            let teaches = help.contains("Example") && help.contains("jury ");
            assert!(teaches, "{} has no example", subcommand.get_name());
            check(subcommand);
        }
    }
    check(&Args::command());
}

#[test]
fn every_option_has_help_and_every_variable_is_ours() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(argument.get_help().is_some(), "{} of {}", name, command.get_name());
            if let Some(variable) = argument.get_env() {
                let variable = variable.to_string_lossy();
                assert!(variable.starts_with("JURY_"), "{variable}");
            }
        }
        command.get_subcommands().for_each(check);
    }
    check(&Args::command());
}

#[test]
fn log_options_may_follow_the_subcommand() {
    let args = Args::try_parse_from(["jury", "up", "--log", "debug", "--log-format", "json"]);
    let logs = args.unwrap().logs;
    assert_eq!(logs.log.as_deref(), Some("debug"));
    assert_eq!(logs.log_format, LogFormatArg::Json);
}

#[test]
fn every_mistake_is_told_in_one_style() {
    for line in [
        &["jury", "score", "a.json", "-k", "many"][..],
        &["jury", "score"],
        &["jury", "scoer"],
        &["jury", "worker", "--device", "abacus"],
    ] {
        let told = refusal(&Args::try_parse_from(line).unwrap_err());
        assert!(told.starts_with("jury: ") && !told.contains("error:"), "{told}");
        assert!(!told.contains("Usage:") && told.ends_with("try '--help'."), "{told}");
    }
}

#[test]
fn the_model_cache_may_follow_any_command_of_models() {
    let line = ["jury", "models", "list", "--model-cache", "folder"];
    let Command::Models(args) = Args::try_parse_from(line).unwrap().command else {
        panic!("not models")
    };
    assert_eq!(args.cache.model_cache.as_deref(), Some(std::path::Path::new("folder")));
}

#[test]
fn an_item_and_a_batch_exclude_each_other_and_one_is_needed() {
    assert!(Args::try_parse_from(["jury", "score"]).is_err());
    assert!(Args::try_parse_from(["jury", "score", "a.json", "--items", "b.jsonl"]).is_err());
    assert!(Args::try_parse_from(["jury", "score", "--items", "b.jsonl"]).is_ok());
}
