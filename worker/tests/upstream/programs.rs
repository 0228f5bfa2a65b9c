//! Real servers as processes; each ends when its value is dropped. `make upstream-tests` installs them and names them
//! in variables.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that accepts requests.
pub struct Program {
    pub process: Child,
    pub url: String,
}

/// A llama-server with `slots` slots of 2,048 tokens.
pub fn llama_server(model: &Path, name: &str, slots: u32) -> Program {
    let mut command = Command::new(named("JURY_LLAMA_SERVER"));
    command.args(["--port", "0", "--metrics", "-t", "1", "--alias", name, "-m"]);
    command.arg(model).args(["-np", &slots.to_string(), "-c", &(2048 * slots).to_string()]);
    let (process, line) = start(command, "listening on ");
    let url = line.split_once("listening on ").expect("it was waited for").1.trim().to_owned();
    Program { process, url }
}

/// A vLLM that serves a folder with float weights; `more` are further options.
pub fn vllm(model: &Path, name: &str, more: &[&str]) -> Program {
    let port = free_port();
    let mut command = Command::new(named("JURY_VLLM"));
    command.arg("serve").arg(model).args(["--served-model-name", name, "--host", "127.0.0.1"]);
    command.args(["--port", &port, "--max-model-len", "2048", "--enforce-eager"]);
    command.args(["--dtype", "float32"]).args(more);
    for (variable, value) in [
        ("VLLM_CPU_KVCACHE_SPACE", "1"),
        // Threads that are bound to a core spin on it, whatever else needs the core.
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        ("OMP_NUM_THREADS", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
        ("HF_HUB_OFFLINE", "1"),
        ("NO_COLOR", "1"),
    ] {
        command.env(variable, value);
    }
    let (process, _) = start(command, "Application startup complete");
    Program { process, url: format!("http://127.0.0.1:{port}") }
}

/// The path in a variable.
pub fn named(variable: &str) -> PathBuf {
    let named = std::env::var_os(variable);
    named.unwrap_or_else(|| panic!("make upstream-tests sets {variable}")).into()
}

/// A free port, for programs that do not accept port 0.
pub fn free_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port().to_string()
}

/// Waits for the log line that says that the program is ready, and returns it.
pub fn start(mut command: Command, ready: &str) -> (Child, String) {
    // A separate process group, since vLLM's engine is a child process.
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut lines = log.lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines.by_ref() {
        if line.contains(ready) {
            // The log must be read, or the program blocks on it.
            std::thread::spawn(move || lines.for_each(drop));
            return (process, line);
        }
        said.push(line);
    }
    // It has closed its log, so it is ending.
    let status = process.wait();
    panic!("{command:?} ended, {status:?}:\n{}", said.join("\n"));
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        drop(Command::new("kill").args(["-9", "--", &group]).status());
        drop(self.process.wait());
    }
}
