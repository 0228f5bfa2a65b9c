//! Tenants with real processes: tokens made by `jury tenants new-token`, over TLS, from a file that changes.

use std::path::Path;

use super::authority::Authority;
use super::process::{Process, jury, text};
use super::tiny;

/// Exit code for a caller without permission.
const NO_PERMISSION: i32 = 77;

/// A token and its digest.
fn new_token() -> [String; 2] {
    let made = jury(&["tenants", "new-token"]);
    let of = |name: &str| {
        let line = made.stdout.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", made.stdout)).trim().to_owned()
    };
    [of("token"), of("digest")]
}

/// Replaces the file at `path` by one with a single tenant.
fn write(path: &Path, digest: &str) {
    let new = path.with_extension("new");
    let tenant = format!("[[tenant]]\nname = \"search\"\ntoken_digests = [\"{digest}\"]\n");
    std::fs::write(&new, tenant).expect("the folder is ours");
    std::fs::rename(new, path).expect("the folder is ours");
}

#[test]
fn a_token_opens_the_service_until_the_file_of_tenants_has_another() {
    let folder = tempfile::tempdir().unwrap();
    let [token, digest] = new_token();
    let [next, next_digest] = new_token();
    let file = folder.path().join("tenants.toml");
    write(&file, &digest);
    let authority = Authority::new(folder.path(), "lab");
    let signed = authority.sign("coordinator", &["127.0.0.1"]);
    let model = tiny::model(folder.path(), "llama");

    let tenants = ["--tenants", file.to_str().unwrap()];
    let certificate = ["--tls-cert", signed.certificate.to_str().unwrap()];
    let key = ["--tls-key", signed.key.to_str().unwrap()];
    let serve = ["up", "--model", &model, "--threads", "1", "--listen", "127.0.0.1:0"];
    let mut up = Process::jury("up", &[&serve[..], &tenants, &certificate, &key].concat());
    let endpoint = format!("https://{}", text(&up.wait_for("listening"), "address"));

    let trust = ["--tls-ca", authority.ca.to_str().unwrap()];
    let status =
        |token: &[&str]| jury(&[&["status", "--endpoint", &endpoint], &trust[..], token].concat());
    let without = status(&[]);
    assert_eq!(without.code, Some(NO_PERMISSION), "{}", without.stderr);
    assert!(without.stderr.contains("wants a token"), "{}", without.stderr);
    let later = status(&["--token", &next]);
    assert_eq!(later.code, Some(NO_PERMISSION), "{}", later.stderr);
    assert!(!later.stderr.contains(&next), "a token is shown: {}", later.stderr);
    let now = status(&["--token", &token]);
    assert_eq!(now.code, Some(0), "{}", now.stderr);
    assert!(now.stdout.contains("tenant search"), "{}", now.stdout);

    write(&file, &next_digest);
    up.wait_for("the file of tenants was read again");
    assert_eq!(status(&["--token", &next]).code, Some(0));
    assert_eq!(status(&["--token", &token]).code, Some(NO_PERMISSION));
    assert_eq!(up.terminate(), Some(0));
}
