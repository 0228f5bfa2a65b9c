//! A cluster with mutual TLS everywhere.

use std::path::Path;

use super::authority::{Authority, Signed};
use super::process::{Process, jury, model_path, text};
use super::sandbox::{ITEM, ready, score, stable_bytes};

/// Exit code of a server that cannot be reached.
const UNAVAILABLE: i32 = 69;

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

/// The options of a process that presents `signed`, and trusts or accepts certificates signed by `ca`.
fn options<'a>(signed: &'a Signed, ca: &'a Path, role: &'a str) -> [&'a str; 6] {
    let (certificate, key) = (path(&signed.certificate), path(&signed.key));
    ["--tls-cert", certificate, "--tls-key", key, role, path(ca)]
}

#[test]
fn a_verdict_over_mutual_tls_is_the_verdict_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "lab");
    let item = folder.path().join("item.json");
    std::fs::write(&item, ITEM).unwrap();
    let (item, model) = (path(&item), model_path());

    let of_worker = authority.sign("worker", &["worker.lab"]);
    let serve = ["--model", &model, "--threads", "1", "--listen", "127.0.0.1:0"];
    let mutual = options(&of_worker, &authority.ca, "--tls-client-ca");
    let named = ["--tls-client-name", "127.0.0.1"];
    let line = [&["worker"], &serve[..], &mutual, &named].concat();
    let mut worker = Process::jury("worker", &line);
    let worker_at = format!("https://{}", text(&worker.wait_for("listening"), "address"));

    let of_coordinator = authority.sign("coordinator", &["127.0.0.1"]);
    let listen = ["--listen", "127.0.0.1:0"];
    let mutual = options(&of_coordinator, &authority.ca, "--tls-client-ca");
    let fleet = ["--worker", &worker_at, "--tls-server-name", "worker.lab"];
    let trust = ["--tls-ca", path(&authority.ca)];
    let line = [&["coordinator"], &listen[..], &mutual, &fleet, &trust].concat();
    let mut coordinator = Process::jury("coordinator", &line);
    let plain = ready(&mut coordinator, 1);
    let endpoint = plain.replace("http://", "https://");

    let of_client = authority.sign("trainer", &["trainer"]);
    let ours = options(&of_client, &authority.ca, "--tls-ca");
    let served = score(item, &[&["--endpoint", &endpoint], &ours[..]].concat());
    assert_eq!(served["status"], "OK", "{served}");
    let embedded = score(item, &["--model", &model]);
    assert_eq!(stable_bytes(&served), stable_bytes(&embedded));
    let status = jury(&[&["status", "--endpoint", &endpoint], &ours[..]].concat());
    assert!(status.stdout.contains("ready"), "{}{}", status.stdout, status.stderr);

    let strangers = Authority::new(folder.path(), "elsewhere");
    let stranger = strangers.sign("stranger", &["trainer"]);
    let late = authority.sign_until("late", &["trainer"], 2020);
    for (more, told) in [
        (&["--endpoint", &endpoint, "--tls-ca", path(&authority.ca)][..], "--tls-cert"),
        (&["--endpoint", &endpoint], "--tls-ca"),
        (&["--endpoint", &plain], "write https://"),
        (
            &[&["--endpoint", &endpoint], &options(&stranger, &authority.ca, "--tls-ca")[..]]
                .concat(),
            "does not trust",
        ),
        // A trainer's certificate opens the coordinator, and no worker.
        (
            &[&["--endpoint", &worker_at, "--tls-server-name", "worker.lab"], &ours[..]].concat(),
            "--tls-client-name",
        ),
        (
            &[&["--endpoint", &endpoint], &options(&late, &authority.ca, "--tls-ca")[..]].concat(),
            "has expired",
        ),
    ] {
        let ended = jury(&[&["status"], more].concat());
        assert_eq!(ended.code, Some(UNAVAILABLE), "{more:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{more:?}: {}", ended.stderr);
    }
    assert_eq!(coordinator.terminate(), Some(0));
    assert_eq!(worker.terminate(), Some(0));
}
