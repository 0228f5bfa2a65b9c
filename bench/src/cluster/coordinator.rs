//! The coordinator under measurement, in its own process.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jury_client::{Client, ClientConfig, RetryPolicy};
use jury_fabric::connector::Connector;
use jury_terminal::exit::{Exit, Failed, OrExit};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::programs::{Programs, Running};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two checks of its fleet.
const LOOK: Duration = Duration::from_millis(20);
/// Ticks per second in `/proc/PID/stat`: 100 on every Linux, whatever the kernel's own timer does.
const TICKS_PER_SECOND: f64 = 100.0;

/// A coordinator that serves until this is dropped.
pub struct CoordinatorProcess {
    running: Running,
    endpoint: String,
}

// === impl CoordinatorProcess ===

impl CoordinatorProcess {
    /// Starts this program as a coordinator of `workers`. Blocks until it listens.
    pub fn start(programs: &Programs, workers: &[String]) -> Result<Self, Failed> {
        let program = std::env::current_exe().or_exit(Exit::Internal)?;
        let mut arguments: Vec<String> =
            ["coordinator", "--listen", "127.0.0.1:0", "--log-format", "json", "--log", "info"]
                .map(String::from)
                .into();
        for worker in workers {
            arguments.extend(["--worker".to_owned(), worker.clone()]);
        }
        let (found, address) = mpsc::channel();
        let mut is_found = false;
        let running = programs
            .start(&program, &arguments, move |line| {
                if is_found {
                    return;
                }
                if let Some(address) = listening(line) {
                    is_found = true;
                    // The receiver has given up waiting.
                    drop(found.send(address));
                }
            })
            .context("the coordinator cannot be started")
            .or_exit(Exit::Internal)?;
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            let how = running.ending().describe();
            let error = anyhow!("the coordinator did not listen within {PATIENCE:?}: {how}");
            return Err(Failed::new(Exit::Internal, error));
        };
        Ok(Self { running, endpoint: format!("http://{address}") })
    }

    /// A client with its own connection.
    pub fn client(&self) -> anyhow::Result<Client> {
        let config = ClientConfig { retry: RetryPolicy::NEVER, ..ClientConfig::default() };
        Ok(Client::new(Connector::new().connect(&self.endpoint)?, config))
    }

    /// Waits until `n` workers can receive samples.
    pub async fn ready(&self, n: usize, patience: Duration) -> anyhow::Result<()> {
        let client = self.client()?;
        let all_there = async {
            loop {
                let status = client.status().await?;
                if status.workers.iter().filter(|worker| worker.is_ready()).count() >= n {
                    return anyhow::Ok(());
                }
                sleep(LOOK).await;
            }
        };
        match timeout(patience, all_there).await {
            Ok(there) => there,
            Err(_elapsed) => bail!("the coordinator did not reach {n} workers within {patience:?}"),
        }
    }

    /// CPU seconds used so far, all threads, user and system.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.running.pid());
        let stat = std::fs::read_to_string(Path::new(&path))
            .with_context(|| format!("{path}: CPU time is read on Linux only"))?;
        cpu_seconds(&stat).with_context(|| format!("{path} has no times"))
    }
}

// === private ===

/// The address, if this log line contains it.
fn listening(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let told = |key: &str| event.get(key).or_else(|| event.get("fields")?.get(key))?.as_str();
    (told("message") == Some("listening")).then(|| told("address").map(str::to_owned))?
}

/// Fields 14 and 15, counted after the name, which may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_among_other_lines() {
        assert_eq!(listening("not JSON"), None);
        assert_eq!(listening(r#"{"message":"metrics listening","address":"a:1"}"#), None);
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:7480"}"#;
        assert_eq!(listening(line).as_deref(), Some("127.0.0.1:7480"));
        let nested = r#"{"fields":{"message":"listening","address":"127.0.0.1:7480"}}"#;
        assert_eq!(listening(nested).as_deref(), Some("127.0.0.1:7480"));
    }

    #[test]
    fn a_name_with_spaces_and_brackets_shifts_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 90 0 0 0 150 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }
}
