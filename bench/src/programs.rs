//! Other programs that are measured beside ours. None outlives this process, however it ends: a task of the runtime
//! owns each of them and kills it when this process ends, fails, or is stopped by Ctrl-C or SIGTERM. If this process
//! is killed itself, `guard` kills them.
//!
//! Not guaranteed: the end of processes that a program has started itself.

mod guard;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use jury_terminal::exit::{Exit, Failed, OrExit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::guard::Guard;

/// Lines of a program's stderr that are shown when it fails.
const LAST_LINES: usize = 8;
/// How long a failed program may take to exit by itself, so that its last output is read.
const PATIENCE: Duration = Duration::from_secs(2);

/// All programs of a run; a cheap handle. Its blocking methods must be called from threads outside the runtime.
#[derive(Debug, Clone)]
pub struct Programs {
    runtime: Handle,
    /// Cancelled when every program has to end.
    stop: CancellationToken,
    /// Counts the running programs.
    running: TaskTracker,
}

/// A program that runs beside us until this is dropped. Dropping waits for its end.
#[derive(Debug)]
pub struct Running {
    runtime: Handle,
    stop: CancellationToken,
    running: TaskTracker,
    task: Option<JoinHandle<Ending>>,
    pid: u32,
}

/// How a program ended that should have continued.
#[derive(Debug, Default)]
pub struct Ending {
    /// `None` if it had to be killed.
    status: Option<ExitStatus>,
    last_lines: LastLines,
}

/// The last lines that a program wrote.
#[derive(Debug, Default)]
pub struct LastLines(VecDeque<String>);

/// A program that was found and works.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub program: PathBuf,
    /// Its version, as it reports it.
    pub version: String,
}

/// A program of llama.cpp that `scripts/llama-cpp` has installed into `tools`.
pub fn installed(tools: &Path, name: &str) -> Option<PathBuf> {
    let program = tools.join("llama-cpp").join("bin").join(name);
    program.is_file().then_some(program)
}

/// The line with a program's version, or a text for unknown.
pub fn version(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("version:"));
    line.map_or_else(|| "of an unknown version".to_owned(), |line| line.trim().to_owned())
}

// === impl Programs ===

impl Programs {
    /// Programs that end when `stop` is cancelled. Must be called inside a tokio runtime.
    pub fn until(stop: CancellationToken) -> Self {
        Self { runtime: Handle::current(), stop, running: TaskTracker::new() }
    }

    /// The named llama.cpp program; otherwise the one that `scripts/llama-cpp` installed into `tools`; otherwise the
    /// one in PATH.
    pub fn find_llama_cpp(
        &self,
        name: &str,
        named: Option<PathBuf>,
        tools: Option<&Path>,
    ) -> Result<Found, Failed> {
        let program =
            named.or_else(|| installed(tools?, name)).unwrap_or_else(|| PathBuf::from(name));
        let output = self
            .output(&program, &["--version".to_owned()])
            .with_context(|| {
                format!(
                    "{} cannot be run; scripts/llama-cpp installs it, --no-peer does without",
                    program.display()
                )
            })
            .or_exit(Exit::NoInput)?;
        let said = [output.stdout, output.stderr].concat();
        Ok(Found { version: version(&String::from_utf8_lossy(&said)), program })
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// If it cannot be started, or was ended because this process has to end.
    pub fn output(&self, program: &Path, arguments: &[String]) -> io::Result<Output> {
        let work = async {
            let mut command = command(program, arguments);
            let (child, guard) = spawn(command.stdout(Stdio::piped()))?;
            let ended = tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(io::ErrorKind::Interrupted.into()),
                output = child.wait_with_output() => output,
            };
            guard.end().await;
            ended
        };
        self.runtime.block_on(self.running.track_future(work))
    }

    /// Starts a program that keeps running beside us; `on_line` receives what it writes to stderr.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        &self,
        program: &Path,
        arguments: &[String],
        on_line: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<Running> {
        let _inside = self.runtime.enter();
        let (mut child, guard) = spawn(command(program, arguments).stdout(Stdio::null()))?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stop = self.stop.child_token();
        let stopped = stop.clone();
        let task = self.running.spawn(async move {
            let mut last_lines = LastLines::default();
            let until_end = async {
                read(stderr, &mut last_lines, on_line).await;
                child.wait().await.ok()
            };
            let status = tokio::select! {
                biased;
                () = stopped.cancelled() => None,
                status = until_end => status,
            };
            if status.is_none() {
                // If it has already ended, it cannot and need not be killed.
                drop(child.kill().await);
            }
            guard.end().await;
            Ending { status, last_lines }
        });
        let (runtime, running) = (self.runtime.clone(), self.running.clone());
        Ok(Running { runtime, stop, running, task: Some(task), pid })
    }

    /// Ends all programs and waits until they have ended.
    pub async fn end(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

// === impl Running ===

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits briefly for it to exit after something went wrong, then kills it.
    pub fn ending(mut self) -> Ending {
        let Some(mut task) = self.task.take() else { return Ending::default() };
        // Counted before the check, so that the runtime and its timers either still exist or are not used.
        let _counted = self.running.token();
        let ended = self.runtime.block_on(async {
            if self.stop.is_cancelled() {
                return task.await;
            }
            match timeout(PATIENCE, &mut task).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    self.stop.cancel();
                    task.await
                }
            }
        });
        ended.unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            drop(self.runtime.block_on(task));
        }
    }
}

// === impl Ending ===

impl Ending {
    /// A description for troubleshooting.
    pub fn describe(&self) -> String {
        let how = match self.status {
            Some(status) => format!("it ended ({status})"),
            None => "it was still running".to_owned(),
        };
        format!("{how}{}", self.last_lines.describe())
    }
}

// === impl LastLines ===

impl LastLines {
    /// The last lines of a complete text.
    pub fn of(text: &[u8]) -> Self {
        let mut last_lines = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            last_lines.push(line.to_owned());
        }
        last_lines
    }

    fn push(&mut self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        if self.0.len() == LAST_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    /// A suffix for an error message; empty if nothing was written.
    pub fn describe(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let lines: Vec<String> = self.0.iter().map(|line| format!("\n  {line}")).collect();
        format!("; it wrote last:{}", lines.concat())
    }
}

// === private ===

fn command(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn spawn(command: &mut Command) -> io::Result<(Child, Guard)> {
    let child = command.spawn()?;
    let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
    let guard = Guard::of(pid)?;
    Ok((child, guard))
}

/// Reads to the end, whatever bytes a line contains.
async fn read(stderr: ChildStderr, last_lines: &mut LastLines, mut on_line: impl FnMut(&str)) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        on_line(&line);
        last_lines.push(line);
    }
}

#[cfg(test)]
mod tests;
