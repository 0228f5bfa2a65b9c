//! A door that is asked to stop while callers are connected.
//!
//! Time is paused once everybody is connected, so the grace is passed over at once if it is waited for, and seen on the
//! clock.

use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::door::Door;
use crate::score::item;
use crate::served::{GRACE, Served, post};

/// Returns once an earlier connection is accepted: they are in order.
async fn after_a_whole_call(served: &Served) -> TcpStream {
    let mut later = served.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut answer = [0; 12];
    later.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    later
}

#[tokio::test]
async fn who_has_not_sent_a_whole_request_does_not_hold_up_the_end() {
    let by_length = post("/v1/score", "Content-Length: 4096");
    let by_chunks = post("/v1/score/stream", "Transfer-Encoding: chunked");
    for sent in [
        String::new(),
        "GET /v1/sta".to_owned(),
        by_length.clone(),
        format!("{by_length}{{\"item\": {{\"qu"),
        format!("{by_chunks}9\r\n{{\"item\": \r\n"),
        format!("{}{{", post("/get_reward", "Content-Length: 2")),
    ] {
        let door = Door::open(ScriptedBackend::new()).await;
        let served = Served::start(&door).await;
        let _silent = served.send(&sent).await;
        let _idle = after_a_whole_call(&served).await;
        tokio::time::pause();
        let before = Instant::now();
        served.stop.cancel();
        served.serving.await.unwrap().unwrap();
        assert!(before.elapsed() < GRACE, "{sent:?} was sent");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_call_that_runs_when_the_end_begins_keeps_its_grace_beside_silent_callers() {
    let held = ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed));
    let handle = held.handle();
    let door = Door::open(held).await;
    let body = json!({"item": item(), "settings": {"k": 4}}).to_string();
    let served = Served::start(&door).await;
    let mut half_a_head = served.send("GET /v1/sta").await;
    let mut half_a_body = served.send(&post("/v1/score", "Content-Length: 9")).await;
    let mut connection = served.begin("/v1/score", &body).await;
    handle.wait_for_groups(2).await;
    tokio::time::pause();
    served.stop.cancel();
    tokio::time::sleep(GRACE / 2).await;
    assert!(!door.coordinator().is_open());
    assert!(!served.serving.is_finished());
    handle.release_all();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"status\":\"OK\""), "{answer}");
    served.serving.await.unwrap().unwrap();
    for silent in [&mut half_a_head, &mut half_a_body] {
        assert!(!matches!(silent.read(&mut [0; 64]).await, Ok(1..)), "nothing was asked for");
    }
}

#[tokio::test]
async fn a_call_that_outlives_the_grace_is_cut() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let handle = hanging.handle();
    let door = Door::open(hanging).await;
    let body = json!({"item": item(), "settings": {"k": 4}}).to_string();
    let served = Served::start(&door).await;
    let mut connection = served.begin("/v1/score", &body).await;
    handle.wait_for_groups(2).await;
    tokio::time::pause();
    let before = Instant::now();
    served.stop.cancel();
    served.serving.await.unwrap().unwrap();
    assert!(before.elapsed() >= GRACE);
    assert!(!matches!(connection.read(&mut [0; 64]).await, Ok(1..)), "there is no answer");
    handle.wait_until_idle().await;
}
