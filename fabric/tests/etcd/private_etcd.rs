//! A real etcd for one test: free ports, a temporary folder, SIGKILL at will.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use etcd_client::{Channel, Client, ConnectOptions};
use jury_fabric::connector::Connector;
use tempfile::TempDir;

use super::authority::Signed;

pub struct PrivateEtcd {
    data: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
    tls: Option<Tls>,
}

/// TLS settings of an etcd: its own certificate, and which clients it accepts.
pub struct Tls {
    pub server: Signed,
    pub client_ca: PathBuf,
}

impl PrivateEtcd {
    /// Started and ready.
    pub fn start() -> Self {
        let mut etcd = Self::not_yet_started();
        etcd.restart();
        etcd
    }

    /// Started and ready, for clients with a certificate.
    pub fn secure(tls: Tls) -> Self {
        let mut etcd = Self::not_yet_started();
        etcd.tls = Some(tls);
        etcd.restart();
        etcd
    }

    /// Its address is known, but nothing listens there.
    pub fn not_yet_started() -> Self {
        Self {
            data: tempfile::tempdir().unwrap(),
            client_port: free_port(),
            peer_port: free_port(),
            process: None,
            tls: None,
        }
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.client_port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Deletes all data; for an etcd that is not running.
    pub fn lose_data(&mut self) {
        self.data = tempfile::tempdir().unwrap();
    }

    /// Runs on the same port with the same data, and returns when it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let client_url = self.endpoint();
        let peer_url = format!("http://127.0.0.1:{}", self.peer_port);
        let mut process = Command::new(binary());
        if let Some(tls) = &self.tls {
            process.arg("--cert-file").arg(&tls.server.certificate);
            process.arg("--key-file").arg(&tls.server.key);
            process.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.client_ca);
        }
        let mut process = process
            .arg("--data-dir")
            .arg(self.data.path())
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "250"])
            .args(["--log-level", "info", "--unsafe-no-fsync"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = process.stderr.take().unwrap();
        self.process = Some(process);
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut log = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            let ready = line.contains("ready to serve client requests");
            log.push(line);
            ready
        });
        assert!(is_ready, "etcd ended before it was ready:\n{}", log.join("\n"));
        // An unread pipe would block etcd once it is full.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// A client for simulating operators and accidents.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.unwrap()
    }

    /// Same, over a connector.
    pub async fn client_over(
        &self,
        connector: &Connector,
        options: Option<ConnectOptions>,
    ) -> Client {
        let channel = Channel::Tonic(connector.connect(&self.endpoint()).unwrap());
        Client::from_channel(channel, options).await.unwrap()
    }
}

impl Drop for PrivateEtcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("JURY_ETCD") {
        return named.into();
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|file| file.is_file())
    });
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cached =
        cache.map(|cache| cache.join("jury/tools/etcd/etcd")).filter(|file| file.is_file());
    on_path.or(cached).expect("no etcd here: run `make test`, which installs etcd")
}
