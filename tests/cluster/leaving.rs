//! SIGTERM while clients are connected and have not sent a request.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::process::{Process, model_path, text};

const LOOPBACK: &str = "127.0.0.1:0";
/// Longer than any of these tests may take; a process that waits for it shows in its log.
const GRACE: &str = "100s";

/// Clients that have sent nothing, or an incomplete request, on every HTTP port and on the gRPC port.
fn silent_clients(process: &mut Process) -> Vec<TcpStream> {
    let half_a_head = "GET /v1/sta";
    let half_a_body = "POST /v1/score HTTP/1.1\r\nHost: jury\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n{\"item\": ";
    let half_a_preface = "PRI * HTTP/2.0\r\n";
    let mut clients = Vec::new();
    for (listening, sent) in [
        ("metrics listening", &["", half_a_head][..]),
        ("listening", &["", half_a_preface]),
        ("console listening", &["", half_a_head, half_a_body]),
        ("HTTP listening", &["", half_a_head, half_a_body]),
    ] {
        // They come in any order.
        let is_it = |event: &Value| text(event, "message") == listening;
        let told = process.events().into_iter().find(is_it);
        let told = told.unwrap_or_else(|| process.wait_until(listening, is_it));
        let address = text(&told, "address");
        for bytes in sent {
            let mut client = TcpStream::connect(address).expect("it listens");
            client.write_all(bytes.as_bytes()).expect("it reads");
            clients.push(client);
        }
        if listening != "listening" {
            // Connections are accepted in order: once this one is answered, the earlier ones have been accepted.
            clients.push(answered(address));
        }
    }
    clients
}

/// A client that has its response and stays connected.
fn answered(address: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("it reads");
    client.read_exact(&mut [0; 12]).expect("it answers");
    client
}

fn ends_without_using_up_its_grace(name: &str, arguments: &[&str]) {
    let ports = ["--listen", "--metrics-listen", "--console-listen", "--http"];
    let ports = ports.iter().flat_map(|option| [*option, LOOPBACK]);
    let arguments: Vec<&str> = arguments.iter().copied().chain(ports).collect();
    let mut process = Process::jury(name, &[&arguments[..], &["--grace", GRACE]].concat());
    let _clients = silent_clients(&mut process);
    assert_eq!(process.terminate(), Some(0));
    let events = process.rest();
    let said =
        |words: &str| events.iter().any(|event: &Value| text(event, "message").contains(words));
    assert!(!said("grace period ended"), "{name}: {events:?}");
    assert!(said("stopped"), "{name}: {events:?}");
}

#[test]
fn a_coordinator_waits_for_nobody_who_has_asked_for_nothing() {
    ends_without_using_up_its_grace("coordinator", &["coordinator", "--worker", "127.0.0.1:9"]);
}

#[test]
fn jury_up_waits_for_nobody_who_has_asked_for_nothing() {
    let model = model_path();
    ends_without_using_up_its_grace("up", &["up", "--model", &model, "--threads", "1"]);
}
