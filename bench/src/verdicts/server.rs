//! llama-server as a process, from start to end.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use jury_terminal::exit::{Exit, Failed, OrExit};

use crate::programs::{Programs, Running};

/// The text before its address in its log.
const LISTENING: &str = "listening on http://";
/// Interval for polling whether its model is loaded; there is no event for it.
const PAUSE: Duration = Duration::from_millis(20);

/// A llama-server that is ready. Stops when dropped.
pub struct Server {
    /// Host and port.
    pub address: String,
    running: Running,
}

// === impl Server ===

impl Server {
    /// Starts it and waits until its model is loaded.
    pub fn start(
        programs: &Programs,
        program: &Path,
        arguments: &[String],
        agent: &ureq::Agent,
    ) -> Result<Self, Failed> {
        let (found, address) = mpsc::sync_channel(1);
        let on_line = move |line: &str| {
            if let Some((_, address)) = line.split_once(LISTENING) {
                drop(found.try_send(address.trim().to_owned()));
            }
        };
        let running = programs
            .start(program, arguments, on_line)
            .with_context(|| program.display().to_string())
            .or_exit(Exit::Unavailable)?;
        // If there is no address, it has ended.
        let address = address.recv().unwrap_or_default();
        let server = Self { address, running };
        match server.wait(agent) {
            Ok(()) => Ok(server),
            Err(error) => Err(server.failed(&error)),
        }
    }

    /// An error from communicating with it, with its exit status and last output.
    pub fn failed(self, error: &anyhow::Error) -> Failed {
        let ending = self.running.ending().describe();
        Failed::new(Exit::Unavailable, anyhow!("llama-server: {error:#}; {ending}"))
    }

    fn wait(&self, agent: &ureq::Agent) -> anyhow::Result<()> {
        if self.address.is_empty() {
            return Err(anyhow!("it does not listen"));
        }
        let health = format!("http://{}/health", self.address);
        loop {
            match agent.get(&health).call() {
                Ok(_) => return Ok(()),
                Err(ureq::Error::StatusCode(503)) => std::thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
