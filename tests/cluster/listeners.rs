//! TLS at the listeners that browsers, scrapers and trainers without gRPC use, in the real program: they accept only
//! TLS, reject strangers, and replace certificates during running calls.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::{Authority, Signed};
use super::https::{Answer, Https};
use super::process::{Process, text};
use super::tiny;

const HERE: [&str; 1] = ["127.0.0.1"];

/// `jury up` with every available listener, and its certificate files.
struct Up {
    process: Process,
    door: String,
    console: String,
    metrics: String,
    files: Files,
    _model: TempDir,
}

/// A certificate, its key, and the CA of accepted clients.
struct Files {
    in_use: Signed,
    client_ca: PathBuf,
}

// === impl Up ===

impl Up {
    fn start(folder: &Path, authority: &Authority) -> Self {
        let model_folder = tempfile::tempdir().expect("a temporary folder");
        let model = tiny::model(model_folder.path(), "llama");
        let files = Files::in_folder(folder);
        files.put(authority);
        let of = |path: &Path| path.to_str().expect("a temporary path is UTF-8").to_owned();
        let certificate =
            [of(&files.in_use.certificate), of(&files.in_use.key), of(&files.client_ca)];
        let mut line = vec!["up", "--model", &model, "--threads", "1"];
        for listener in ["--listen", "--http", "--console-listen", "--metrics-listen"] {
            line.extend([listener, "127.0.0.1:0"]);
        }
        for (option, file) in
            ["--tls-cert", "--tls-key", "--tls-client-ca"].iter().zip(&certificate)
        {
            line.extend([option, file.as_str()]);
        }
        let mut process = Process::jury("up", &line);
        let [metrics, console, door] = ["metrics listening", "console listening", "HTTP listening"]
            .map(|said| text(&process.wait_for(said), "address").to_owned());
        Self { process, door, console, metrics, files, _model: model_folder }
    }
}

// === impl Files ===

impl Files {
    fn in_folder(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        let in_use = Signed { certificate: file("tls.crt"), key: file("tls.key") };
        Self { in_use, client_ca: file("ca.crt") }
    }

    /// Replaces them by those of `authority`, one after another.
    fn put(&self, authority: &Authority) {
        let signed = authority.sign("server", &HERE);
        for (from, to) in [
            (&signed.key, &self.in_use.key),
            (&signed.certificate, &self.in_use.certificate),
            (&authority.ca, &self.client_ca),
        ] {
            let new = to.with_extension("new");
            std::fs::copy(from, &new).expect("the folder is ours");
            std::fs::rename(new, to).expect("the folder is ours");
        }
    }
}

#[test]
fn the_door_and_the_console_speak_tls_alone_and_to_those_of_the_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let mut up = Up::start(folder.path(), &ours);
    let get = |address: &str, path: &str, shown: Option<&Signed>| -> io::Result<Answer> {
        Https::connect(address, &ours.ca, shown)?.get(path)
    };
    let client = ours.sign("trainer", &["trainer"]);
    for (address, path) in [(&up.door, "/v1/status"), (&up.console, "/")] {
        let answer = get(address, path, Some(&client)).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let stranger = theirs.sign("stranger", &["trainer"]);
        let late = ours.sign_until("late", &["trainer"], 2020);
        for (shown, alert) in [
            (None, "CertificateRequired"),
            (Some(&stranger), "UnknownCA"),
            (Some(&late), "CertificateExpired"),
        ] {
            let told = get(address, path, shown).unwrap_err().to_string();
            assert!(told.contains(alert), "{path}: {told}");
        }
    }
    let figures = get(&up.metrics, "/metrics", None).unwrap();
    assert_eq!(figures.status, 200, "whoever scrapes seldom has a certificate");
    assert!(figures.body.contains("jury_tls_handshakes_refused_total 6\n"), "{}", figures.body);
    for address in [&up.door, &up.console, &up.metrics] {
        let told = without_tls(address);
        assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("https://"), "{told}");
    }
    assert_eq!(up.process.terminate(), Some(0));
}

#[test]
fn certificates_and_authorities_are_replaced_under_calls_that_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let before = Authority::new(folder.path(), "before");
    let after = Authority::new(folder.path(), "after");
    let mut up = Up::start(folder.path(), &before);
    let old = before.sign("old", &["trainer"]);
    let new = after.sign("new", &["trainer"]);

    // Half a request to the HTTP server, and a browser's connection to the console.
    let mut asking = Https::connect(&up.door, &before.ca, Some(&old)).unwrap();
    let body =
        json!({"item": {"id": "capital", "query": "Which?", "responses": ["This.", "That."]},
        "settings": {"k": 2, "max_critique_tokens": 8}, "budget_ms": 300_000})
        .to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let head = "POST /v1/score HTTP/1.1\r\nHost: jury\r\nContent-Type: application/json";
    asking.send(&format!("{head}\r\nContent-Length: {}\r\n\r\n{first}", body.len())).unwrap();
    let mut watching = Https::connect(&up.console, &before.ca, Some(&old)).unwrap();
    assert_eq!(watching.get("/").unwrap().status, 200);

    up.files.put(&after);
    // Repeatedly, since the program may check between one file and the next.
    let mut answer = None;
    while answer.is_none() {
        up.process.wait_for("certificates reloaded");
        let connected = Https::connect(&up.console, &after.ca, Some(&new));
        answer = connected.and_then(|mut connected| connected.get("/")).ok();
    }
    assert_eq!(answer.map(|answer| answer.status), Some(200));
    for address in [&up.door, &up.console] {
        let told = Https::connect(address, &before.ca, Some(&new)).err().unwrap().to_string();
        assert!(told.contains("UnknownIssuer"), "the old certificate is served: {told}");
        let connected = Https::connect(address, &after.ca, Some(&old));
        let told = connected.and_then(|mut connected| connected.get("/")).unwrap_err().to_string();
        assert!(told.contains("UnknownCA"), "the old authority's clients are let in: {told}");
    }

    asking.send(rest).unwrap();
    let answer = asking.answer().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let verdict: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(verdict["item_id"], "capital", "{verdict}");
    let page = watching.get("/").unwrap();
    assert!(page.status == 200 && page.body.contains("capital"), "{}", page.body);
    drop((asking, watching));
    assert_eq!(up.process.terminate(), Some(0));
}

/// The response to a caller without TLS.
fn without_tls(address: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("it listens");
    write!(connection, "GET / HTTP/1.1\r\nHost: jury\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    answer
}
