//! A child process whose event log is read line by line.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// A test that waits this long for an event has failed; generous, since machines are slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Log events that tests wait for, including when a worker has started a call's samples.
const LOG: &str = "info,jury_coordinator::dispatch=debug";

/// A running process; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// The output and exit code of a process.
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Runs the `jury` binary until it exits.
pub fn jury(arguments: &[&str]) -> Ended {
    let output = jury_command().args(arguments).output().expect("the jury binary runs");
    Ended {
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// The `jury` binary, with the same output wherever it runs.
pub fn jury_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jury"));
    command.env("RUST_BACKTRACE", "0").env("NO_COLOR", "1");
    command
}

impl Process {
    /// Starts a long-running command of Jury with JSON logs on stderr.
    pub fn jury(name: &str, arguments: &[&str]) -> Self {
        let mut command = jury_command();
        command.args(arguments).args(["--log-format", "json", "--log", LOG]);
        Self::start(name, command)
    }

    /// Starts `command` and reads its stderr.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { name: name.to_owned(), child, lines, seen: Vec::new() }
    }

    /// Waits for the next event whose message contains `message`, and returns it whole.
    pub fn wait_for(&mut self, message: &str) -> Value {
        self.wait_until(message, |event| text(event, "message").contains(message))
    }

    /// Waits for the next event for which `is_it` holds.
    pub fn wait_until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(end) => panic!("{}: {}", self.story(what), describe(end)),
            };
            self.seen.push(line.clone());
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && is_it(&event)
            {
                return event;
            }
        }
    }

    /// Every event so far, including those that were not waited for.
    pub fn events(&mut self) -> Vec<Value> {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Every event that comes before the process ends.
    pub fn rest(&mut self) -> Vec<Value> {
        self.seen.extend(self.lines.iter());
        self.seen.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Sends SIGKILL, and waits for the process to end.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Sends SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        terminate(&mut self.child)
    }

    fn story(&self, what: &str) -> String {
        let last: Vec<&str> = self.seen.iter().rev().take(30).rev().map(String::as_str).collect();
        format!("{} never said {what:?}; its last lines:\n{}\n", self.name, last.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends SIGTERM; returns the exit code.
pub fn terminate(child: &mut Child) -> Option<i32> {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    assert!(sent.success(), "process {pid} is not running");
    child.wait().expect("the process is ours").code()
}

/// A text field of an event; empty if it is missing.
pub fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Path of the test model, which `make test` downloads.
pub fn model_path() -> String {
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").expect("HOME is set")));
    let path = std::env::var("JURY_TEST_MODEL")
        .unwrap_or_else(|_| format!("{cache}/jury/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    assert!(
        Path::new(&path).exists(),
        "no test model at {path}: run `make test`, which fetches it"
    );
    path
}

fn describe(end: RecvTimeoutError) -> &'static str {
    match end {
        RecvTimeoutError::Timeout => "gave up waiting",
        RecvTimeoutError::Disconnected => "the process ended",
    }
}
