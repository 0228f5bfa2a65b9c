//! Options from the environment: an empty variable counts as unset, and typed options take precedence.

use std::net::TcpListener;
use std::process::Output;

use super::etcd::free_port;
use super::process::{Process, jury_command, model_path, text};
use super::sandbox::ITEM;

/// Exit code for an invalid command line.
const USAGE: i32 = 64;
/// Exit code for a missing file.
const NO_INPUT: i32 = 66;
/// Exit code for an unreachable server.
const UNAVAILABLE: i32 = 69;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = jury_command();
    command.args(arguments).envs(variables.iter().copied());
    command.output().expect("the jury binary runs")
}

/// Every variable that the help of a command names.
fn variables_of(command: &str) -> Vec<String> {
    let help = run(&[command, "--help"], &[]).stdout;
    let help = String::from_utf8(help).expect("help is UTF-8");
    let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split('=').next());
    named.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn every_variable_that_is_empty_counts_as_unset() {
    for (line, expected) in [
        (&["score", "no-such-item.json"][..], NO_INPUT),
        (&["up", "--model", "no-such-model.gguf", "--listen", "127.0.0.1:0"], NO_INPUT),
        (&["worker", "--model", "no-such-model.gguf", "--listen", "127.0.0.1:0"], NO_INPUT),
        (&["status", "--endpoint", "127.0.0.1:9"], UNAVAILABLE),
        (&["models", "inspect", "no-such-model.gguf"], NO_INPUT),
    ] {
        let variables = variables_of(line[0]);
        assert!(variables.iter().any(|name| name == "JURY_LOG"), "{variables:?}");
        let empty: Vec<_> = variables.iter().map(|name| (name.as_str(), "")).collect();
        let ended = run(line, &empty);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(expected), "{line:?} with {empty:?}: {told}");
    }
}

#[test]
fn only_an_option_that_was_typed_can_be_wrong_beside_an_endpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let item = item.to_str().expect("a temporary path is UTF-8");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let line = ["score", item, "--endpoint", &nobody, "--budget", "1s"];

    let variables = [
        ("JURY_THREADS", "2"),
        ("JURY_TEMPLATE", "template.j2"),
        ("JURY_ADAPTER", "adapter"),
        ("JURY_TLS_CA", "ca.pem"),
    ];
    assert_eq!(run(&line, &variables).status.code(), Some(UNAVAILABLE));
    for typed in [
        ["--threads", "2"],
        ["--template", "template.j2"],
        ["--adapter", "adapter"],
        ["--tls-ca", "ca.pem"],
    ] {
        let line = [&line[..], &typed].concat();
        assert_eq!(run(&line, &[]).status.code(), Some(USAGE), "{typed:?}");
    }
}

#[test]
fn only_an_option_that_was_typed_can_be_wrong_without_an_endpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).expect("the folder is ours");
    let line = ["score", item.to_str().expect("it is UTF-8"), "--model", "no-such-model.gguf"];

    let variables = [("JURY_TOKEN", "secret"), ("JURY_TLS_CERT", "c.pem")];
    assert_eq!(run(&line, &variables).status.code(), Some(NO_INPUT));
    for typed in [["--token", "secret"], ["--token-file", "file"], ["--tls-cert", "c.pem"]] {
        let line = [&line[..], &typed].concat();
        assert_eq!(run(&line, &[]).status.code(), Some(USAGE), "{typed:?}");
    }
}

#[test]
fn a_token_that_was_typed_counts_more_than_one_from_the_environment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").expect("the folder is ours");
    let file = file.to_str().expect("a temporary path is UTF-8");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let status = ["status", "--endpoint", &nobody];
    let (by_file, by_name) = (["--token-file", file], ["--token", "secret"]);
    for (typed, variable) in [
        (&by_file[..], ("JURY_TOKEN", "two words, so no token")),
        (&by_name, ("JURY_TOKEN_FILE", "no-such-file")),
    ] {
        let ended = run(&[&status, typed].concat(), &[variable]);
        assert_eq!(ended.status.code(), Some(UNAVAILABLE), "{typed:?}");
    }
    let both = [&status[..], &by_file, &by_name].concat();
    assert_eq!(run(&both, &[]).status.code(), Some(USAGE));
}

#[test]
fn a_fleet_that_was_typed_counts_more_than_one_from_the_environment() {
    let etcd = ("JURY_ETCD_ENDPOINTS", "http://127.0.0.1:9");
    let both = ["coordinator", "--worker", "127.0.0.1:9", "--etcd", "http://127.0.0.1:9"];
    assert_eq!(run(&both, &[]).status.code(), Some(USAGE));

    let mut command = jury_command();
    command.args(["coordinator", "--worker", "127.0.0.1:9", "--listen", "127.0.0.1:0"]);
    command.args(["--log-format", "json"]).envs([etcd]);
    let mut coordinator = Process::start("coordinator", command);
    coordinator.wait_for("listening");
    assert_eq!(coordinator.terminate(), Some(0));
}

#[test]
fn a_name_is_listened_on_and_called_at_any_of_its_addresses() {
    let model = model_path();
    let mut up = Process::jury(
        "up",
        &["up", "--model", &model, "--threads", "1", "--listen", "localhost:0"],
    );
    let listening = up.wait_for("listening");
    let port = text(&listening, "address").rsplit(':').next().map(str::to_owned);
    let port = port.expect("an address has a port");
    let mut addresses = vec![format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.push(format!("[::1]:{port}"));
    }
    for address in addresses {
        let status = run(&["status", "--endpoint", &address], &[]);
        assert_eq!(status.status.code(), Some(0), "{address}");
    }
    assert_eq!(up.terminate(), Some(0));
}
