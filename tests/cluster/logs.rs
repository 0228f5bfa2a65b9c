//! Logs that nobody reads.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use super::etcd::free_port;
use super::process::{jury, jury_command, model_path, terminate};

/// A full pipe holds at least this many bytes on every known system.
const PIPE_FULL: usize = 4096;

/// A process whose stderr is not read; killed when dropped.
struct Mute(Child);

impl Drop for Mute {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_stderr_that_nobody_reads_holds_up_neither_calls_nor_the_end() {
    let address = format!("127.0.0.1:{}", free_port());
    let nobody = format!("127.0.0.1:{}", free_port());
    let mut coordinator = Mute(
        jury_command()
            .args(["coordinator", "--worker", &nobody, "--listen", &address, "--log", "trace"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the jury binary runs"),
    );
    let is_answered = || jury(&["status", "--endpoint", &address]).code == Some(0);
    assert!((0..1000).any(|_| is_answered()), "the coordinator never served");

    // At this level each call logs some KiB: together, many times what a pipe holds.
    assert!((0..100).all(|_| is_answered()), "a call was not answered");
    assert_eq!(terminate(&mut coordinator.0), Some(0));

    let mut logged = Vec::new();
    let mut stderr = coordinator.0.stderr.take().expect("it is piped");
    stderr.read_to_end(&mut logged).expect("a pipe can be read");
    assert!(logged.len() >= PIPE_FULL, "the pipe was never full: {} bytes", logged.len());
}

#[test]
fn every_line_of_a_json_log_is_json_while_a_model_loads() {
    let mut up = Mute(
        jury_command()
            .args([
                "up",
                "--model",
                &model_path(),
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the jury binary runs"),
    );
    let stderr = BufReader::new(up.0.stderr.take().expect("it is piped"));
    let mut messages = Vec::new();
    for line in stderr.lines().map_while(Result::ok) {
        let event: serde_json::Value = serde_json::from_str(&line).expect(&line);
        messages.push(event["message"].as_str().unwrap_or_default().to_owned());
        if messages.last().is_some_and(|message| message == "listening") {
            break;
        }
    }
    assert!(messages.iter().any(|message| message.starts_with("loading ")), "{messages:?}");
    assert_eq!(terminate(&mut up.0), Some(0));
}
