use std::sync::mpsc;

use super::*;

/// Prints its process id and runs until it is killed.
const ENDLESS: &str = "echo $$ >&2; exec sleep 1000";

fn endless() -> Vec<String> {
    ["-c", ENDLESS].map(str::to_owned).to_vec()
}

/// Starts a program that prints a few lines, one of them not valid text, and exits.
fn start_talker(programs: &Programs) -> Running {
    let talk = r"printf '%s\n' 1 2 3 4 5 6 7 8 9 >&2; printf '\377 lost\n' >&2; exit 3";
    let arguments = ["-c", talk].map(str::to_owned);
    programs.start(Path::new("sh"), &arguments, |_| {}).unwrap()
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

/// Starts an endless program. Returns it and its process id.
fn start(programs: &Programs) -> (Running, String) {
    let (said, pid) = mpsc::sync_channel(1);
    let on_line = move |line: &str| drop(said.try_send(line.to_owned()));
    let running = programs.start(Path::new("sh"), &endless(), on_line).unwrap();
    let pid = pid.recv().unwrap();
    assert!(is_alive(&pid));
    (running, pid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_program_ends_with_its_handle() {
    let programs = Programs::until(CancellationToken::new());
    tokio::task::spawn_blocking(move || {
        let (running, pid) = start(&programs);
        drop(running);
        assert!(!is_alive(&pid));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn when_this_process_has_to_end_no_program_is_left() {
    let stop = CancellationToken::new();
    let programs = Programs::until(stop.clone());
    let of_thread = programs.clone();
    let started = tokio::task::spawn_blocking(move || start(&of_thread));
    let (running, pid) = started.await.unwrap();
    let waiting = programs.clone();
    let waited = tokio::task::spawn_blocking(move || waiting.output(Path::new("sh"), &endless()));
    stop.cancel();
    programs.end().await;
    assert!(!is_alive(&pid));
    assert_eq!(waited.await.unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
    tokio::task::spawn_blocking(move || drop(running)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_program_that_ends_by_itself_leaves_its_status_and_last_lines() {
    let programs = Programs::until(CancellationToken::new());
    let ending = tokio::task::spawn_blocking(move || start_talker(&programs).ending());
    let said = ending.await.unwrap().describe();
    assert!(said.contains("exit status: 3"), "{said}");
    assert!(said.ends_with("\n  8\n  9\n  \u{fffd} lost"), "{said}");
    assert!(!said.contains("\n  1\n"), "{said}");
}

#[test]
fn its_version_is_found_among_other_lines() {
    assert_eq!(version("load\nversion: 0.6.0-dev (build 0)\nbuilt with"), "0.6.0-dev (build 0)");
    assert_eq!(version(""), "of an unknown version");
}
