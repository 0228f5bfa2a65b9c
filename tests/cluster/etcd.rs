//! A private etcd: its own data folder and free ports, which it keeps after a restart.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, text};

/// A running etcd; killed when dropped.
pub struct Etcd {
    data: PathBuf,
    client_port: u16,
    peer_port: u16,
    process: Process,
}

impl Etcd {
    /// Starts an empty one under `folder` and waits until it serves.
    pub fn start(folder: &Path) -> Self {
        let (client_port, peer_port) = (free_port(), free_port());
        let data = folder.join("etcd");
        let process = spawn(&data, client_port, peer_port);
        Self { data, client_port, peer_port, process }
    }

    /// SIGKILL, then the same data on the same ports.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.data, self.client_port, self.peer_port);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// The endpoint for clients.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }
}

fn spawn(data: &Path, client_port: u16, peer_port: u16) -> Process {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(binary());
    command
        .args(["--name", "sandbox", "--logger", "zap", "--log-outputs", "stderr"])
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("sandbox={peer}")]);
    let mut process = Process::start("etcd", command);
    process.wait_until("ready to serve client requests", |event| {
        text(event, "msg") == "ready to serve client requests"
    });
    process
}

/// The binary that `scripts/etcd` names, installed if necessary.
fn binary() -> String {
    if let Ok(binary) = std::env::var("JURY_ETCD") {
        return binary;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/etcd");
    let output = Command::new(script).output().expect("scripts/etcd runs");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success() && !path.is_empty(), "no etcd: run `make test`");
    path
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
