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

/// The words of the examples that a help text shows, without shell operators and what follows them.
fn examples(help: &str) -> Vec<Vec<String>> {
    let help = help.replace("\\\n", " ");
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with("jury "));
    let is_shell = |word: &&str| [">", "|", "&", "&&", "#"].contains(word);
    let words = |line: &str| {
        let words = line.split_whitespace().take_while(|word| !is_shell(word));
        words.map(str::to_owned).collect()
    };
    lines.map(words).collect()
}

/// Most columns of an example: it is copied from a terminal of 80 columns, and clap would break it in the middle of a
/// command.
const EXAMPLE_COLUMNS: usize = 80;

#[test]
fn a_paragraph_is_one_line_for_clap_to_wrap_and_an_example_fits_into_a_terminal() {
    fn check(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let name = command.get_name();
        let mut before = "";
        for line in help.lines() {
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with("  ");
            assert!(!(is_prose(before) && is_prose(line)), "in the help of {name}: {line}");
            let fits = is_prose(line) || line.chars().count() <= EXAMPLE_COLUMNS;
            assert!(fits, "in the help of {name}: {line}");
            let has_remark = line.trim_start().starts_with("jury ") && line.trim().contains("  ");
            assert!(!has_remark, "a remark stands above its example, with #, in {name}: {line}");
            before = line;
        }
        command.get_subcommands().for_each(check);
    }
    Args::command().get_subcommands().for_each(check);
}

#[test]
fn every_example_is_a_command_line() {
    fn check(command: &clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for words in examples(&help) {
            if let Err(error) = parse(&words) {
                panic!("{words:?} in the help of {}: {error}", command.get_name());
            }
        }
        command.get_subcommands().for_each(check);
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
fn a_number_that_does_not_fit_is_told_its_option_the_limits_and_an_example() {
    for (line, words) in [
        ("score a.json -k 0", "--k 1 to 256 -k 8"),
        ("score a.json -k -1", "--k 1 to 256 -k 8"),
        ("score a.json --max-critique-tokens x", "--max-critique-tokens 1 to 16384"),
        ("bench engine --k 1,x", "'x' '--k <N,..>' 1 to 1048576 --k 1,8,32"),
        ("bench engine --k 0", "--k 1 to 1048576"),
        ("bench engine --prompt 0", "--prompt 1 to --prompt 512,1500"),
        ("bench engine --generated 1", "--generated 2 to --generated 64,250"),
        ("bench engine --rounds 0", "--rounds 1 to 1000 --rounds 4"),
        ("bench engine --threads 0", "--threads 1 to 4096 --threads 2"),
        (
            "bench verdicts --items i --temperature -1",
            "--temperature from 0 to 2 --temperature 0.5",
        ),
        ("bench verdicts --items i --top-p 0", "--top-p above 0 and at most 1 --top-p 0.9"),
        ("bench verdicts --items i --limit -3", "--limit 1 to --limit 4"),
        ("bench verdicts --items i --max-tokens 0", "--max-critique-tokens 1 to --max-tokens 200"),
        ("bench verdicts --items i --rounds many", "'many' --rounds 1 to 1000 --rounds 3"),
        ("bench verdicts --items i --at-once 17", "--at-once 1 to 16 --at-once 2"),
        ("bench verdicts --items i -k 257", "--k 1 to 256 -k 8"),
    ] {
        let typed = ["jury"].into_iter().chain(line.split_whitespace());
        let told = refusal(&Args::try_parse_from(typed).unwrap_err());
        for word in words.split_whitespace() {
            assert!(told.contains(word), "{line}: {word} is not in {told}");
        }
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

#[test]
fn what_every_command_has_stands_under_no_heading_of_another() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            if ["quiet", "json"].contains(&argument.get_id().as_str()) {
                let heading = argument.get_help_heading();
                let is_own = matches!(heading, None | Some("Output" | "Answer"));
                assert!(is_own, "{} of {}: {heading:?}", argument.get_id(), command.get_name());
            }
        }
        command.get_subcommands().for_each(check);
    }
    check(&Args::command());
}

#[test]
fn an_option_stands_only_where_it_does_something() {
    for line in [
        "eval compare a.json b.json --model-cache folder",
        "eval report pairs.eval --model-cache folder",
        "train rl --items i.jsonl --out rl --endpoint http://127.0.0.1:7480",
        "train rl --items i.jsonl --out rl --adapter rft",
        "train rl --items i.jsonl --out rl --base smollm2-135m",
        "train rl --items i.jsonl --out rl --card-weights int8",
        "train rl --items i.jsonl --out rl --token t",
        "train rl --items i.jsonl --out rl --tls-ca ca.pem",
        "bench scaling --peer llama-bench",
    ] {
        let typed = ["jury"].into_iter().chain(line.split_whitespace());
        let told = refusal(&Args::try_parse_from(typed).unwrap_err());
        assert!(told.contains("unexpected argument"), "{line}: {told}");
    }
}

#[test]
fn no_help_names_an_option_that_its_command_does_not_have() {
    let mut command = Args::command();
    command.build();
    for line in [&["train", "rl"][..], &["bench", "scaling"]] {
        let found = line.iter().fold(&command, |at, name| at.find_subcommand(name).unwrap());
        let help = found.clone().render_long_help().to_string();
        for absent in ["--endpoint", "--peer", "the peer", "--adapter ", "--base"] {
            assert!(!help.contains(absent), "{absent} in the help of {line:?}");
        }
    }
}
