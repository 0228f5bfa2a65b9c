//! `/v1/score` and `/v1/score/stream`: what callers see, and what their going away does.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use jury_grm::domain::FailureKind;
use jury_proto::v1::WorkerState;
use jury_worker::backend::scripted::{Act, Ending, ScriptHandle, ScriptedBackend};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::door::Door;
use crate::served::{Served, post};

pub(crate) fn item() -> Value {
    json!({"id": "capital", "query": "The capital of France?", "responses": ["Paris", "Lyon"]})
}

fn hanging() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|_, _| Act::hangs())
}

#[tokio::test]
async fn the_verdict_over_http_is_the_verdict() {
    let door = Door::open(ScriptedBackend::new()).await;
    let body = json!({"item": item(), "settings": {"k": 4}, "request_id": "r"});
    let answer = door.post("/v1/score", &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let request = jury_grm::domain::ScoreRequest::from_json(&body.to_string()).unwrap().0;
    let verdict = door.coordinator().score(request).await.unwrap();
    assert_eq!(answer.text, serde_json::to_string(&*verdict).unwrap());
}

#[tokio::test]
async fn what_has_no_reward_is_null_with_a_reason_and_never_0() {
    let unreadable =
        ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox)));
    let door = Door::open(unreadable).await;
    let answer = door.post("/v1/score", &json!({"item": item()})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let verdict = answer.json();
    assert_eq!(
        (&verdict["status"], &verdict["rewards"]),
        (&json!("UNSCORED"), &json!([null, null]))
    );
    assert_eq!(verdict["reasons"][1]["code"], "parse_failed");
}

#[tokio::test]
async fn a_malformed_request_is_400_with_its_field() {
    let door = Door::open(ScriptedBackend::new()).await;
    let answer = door.post("/v1/score", &json!({"item": item(), "settings": {"k": 0}})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("INVALID_ARGUMENT"), &json!("settings.k"))
    );
    assert_eq!(error["message"], "settings.k: must be between 1 and 256, is 0");
    let in_query = door.post("/v1/score?k=4", &json!({"item": item()})).await;
    assert_eq!(in_query.status, StatusCode::BAD_REQUEST);
    let streamed = door.post("/v1/score/stream", &json!({"item": {}})).await;
    assert_eq!(streamed.status, StatusCode::BAD_REQUEST, "before the stream begins");
}

#[tokio::test]
async fn keys_that_nobody_looks_at_are_told() {
    let door = Door::open(ScriptedBackend::new()).await;
    let body = json!({"item": item(), "budget": 1, "settings": {"max_tokens": 5}});
    let answer = door.post("/v1/score", &body).await;
    assert_eq!(answer.headers["jury-unknown-fields"], "budget, settings.max_tokens");
}

#[tokio::test]
async fn a_long_conversation_with_keys_of_other_programs_has_a_short_header() {
    let door = Door::open(ScriptedBackend::new()).await;
    let turn = |role| json!({"role": role, "content": "hi", "annotations": [], "audio": null});
    let turns: Vec<_> = ["user", "assistant"].into_iter().cycle().take(301).map(turn).collect();
    let body = json!({"item": {"query": turns, "responses": ["a", "b"]}});
    for path in ["/v1/score", "/v1/score/stream"] {
        let answer = door.post(path, &body).await;
        let told = &answer.headers["jury-unknown-fields"];
        assert_eq!(told, "item.query[].annotations, item.query[].audio", "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused() {
    let door = Door::open(ScriptedBackend::new()).await;
    let of_type = |media_type: &str, body: Vec<u8>| {
        let request = Request::post("/v1/score").header("content-type", media_type);
        request.body(Body::from(body)).unwrap()
    };
    let json = "application/json; charset=utf-8";
    let large = door.send(of_type(json, vec![b' '; (16 << 20) + 1])).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let form = door.send(of_type("application/x-www-form-urlencoded", b"{}".to_vec())).await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for broken in [b"{".to_vec(), vec![0xff], Vec::new()] {
        assert_eq!(door.send(of_type(json, broken)).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_body_of_more_values_than_an_item_needs_is_refused_before_a_tree_is_built() {
    let door = Door::open(ScriptedBackend::new()).await;
    let of = |n_lists: usize, n_numbers: usize| {
        let lists = "[],".repeat(n_lists);
        format!("{{\"item\": {}, \"x\": [{lists}{}0]}}", item(), "0,".repeat(n_numbers))
    };
    for path in [
        "/v1/score",
        "/v1/score/stream",
        "/slime",
        "/get_reward",
        "/verify",
        "/v1/chat/completions",
    ] {
        for (body, kind) in
            [(of(131_072, 0), "texts, lists and objects"), (of(0, 1 << 20), "numbers")]
        {
            let request = Request::post(path).header("content-type", "application/json");
            let refused = door.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
            assert!(refused.text.contains(kind), "{path}: {}", refused.text);
        }
    }
    let request = Request::post("/v1/score").header("content-type", "application/json");
    let judged = door.send(request.body(Body::from(of(131_000, 1_000_000))).unwrap()).await;
    assert_eq!(judged.status, StatusCode::OK, "{}", judged.text);
}

#[tokio::test]
async fn a_call_under_its_key_is_judged_once_and_held_to_its_payload() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    let key = [("idempotency-key", "r-1")];
    let first = door.post_with("/v1/score", &key, &json!({"item": item()})).await;
    let n_groups = handle.groups().len();
    let again = door.post_with("/v1/score", &key, &json!({"item": item()})).await;
    assert_eq!((again.text, handle.groups().len()), (first.text, n_groups));
    let other = door.post_with("/v1/score", &key, &json!({"item": item(), "seed": 1})).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.json()["error"]["code"], "REQUEST_ID_REUSED");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_ten_seconds_has_its_answer_in_nine() {
    let door = Door::open(hanging()).await;
    let wait = [("prefer", "wait=10")];
    let answer = door.post_with("/v1/score", &wait, &json!({"item": item()})).await;
    let verdict = answer.json();
    assert_eq!(verdict["run"]["total_ms"], 9000);
    assert_eq!(verdict["reasons"][0]["code"], "budget");
}

/// Fills the worker and the queue of one.
async fn fill(door: &Door, handle: &ScriptHandle) {
    let full = json!({"item": item(), "settings": {"k": 64}});
    for n_requests in 1..=2 {
        let (router, body) = (door.coordinator(), full.to_string());
        tokio::spawn(async move {
            let request = jury_grm::domain::ScoreRequest::from_json(&body).unwrap().0;
            router.score(request).await
        });
        loop {
            let status = door.coordinator().status();
            if status.requests_running + status.requests_queued == n_requests {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    handle.wait_for_groups(1).await;
}

#[tokio::test]
async fn a_full_queue_is_429_with_the_time_to_wait_also_for_a_stream() {
    let backend = hanging();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    fill(&door, &handle).await;
    for path in ["/v1/score", "/v1/score/stream"] {
        let answer = door.post(path, &json!({"item": item()})).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "OVERLOADED");
        assert_eq!(answer.json()["error"]["retry_delay_ms"], 500);
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn a_stream_tells_progress_and_ends_with_the_verdict() {
    let held = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0 => Act::now(Ending::BySeed),
        _ => Act::held(Ending::BySeed),
    });
    let handle = held.handle();
    let door = Door::open(held).await;
    let body = json!({"item": item(), "settings": {"k": 2}});
    let release = async {
        handle.wait_for_groups(2).await;
        handle.release_all();
    };
    let (answer, ()) = tokio::join!(door.post("/v1/score/stream", &body), release);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let mut events = answer.events();
    let (name, verdict) = events.pop().unwrap();
    assert_eq!((name.as_str(), &verdict["status"]), ("verdict", &json!("OK")));
    assert!(!events.is_empty());
    for (name, step) in events {
        assert_eq!((name.as_str(), &step["samples_asked"]), ("progress", &json!(2)));
    }
}

#[tokio::test]
async fn a_door_that_closes_is_not_ready_and_takes_nothing_new() {
    let door = Door::open(ScriptedBackend::new()).await;
    door.coordinator().close();
    assert_eq!(door.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(door.get("/healthz").await.status, StatusCode::OK);
    let answer = door.post("/v1/score", &json!({"item": item()})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["error"]["code"], "SHUTTING_DOWN");
}

#[tokio::test]
async fn a_fleet_of_meta_rms_alone_is_not_ready() {
    let meta = ScriptedBackend::new().as_meta("judge-of-judges");
    let door = Door::open_before_workers(jury_embedded::default_config(), meta);
    let is_ready = |worker: &jury_proto::v1::WorkerStatus| worker.state() == WorkerState::Ready;
    while !door.coordinator().status().workers.iter().any(is_ready) {
        tokio::task::yield_now().await;
    }
    let answer = door.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["error"]["code"], "NO_WORKER");
}

#[tokio::test]
async fn an_empty_query_is_none_and_an_encoded_body_is_415() {
    let door = Door::open(ScriptedBackend::new()).await;
    let body = json!({"item": item()});
    assert_eq!(door.post("/v1/score?", &body).await.status, StatusCode::OK);
    let identity = door.post_with("/v1/score", &[("content-encoding", "identity")], &body).await;
    assert_eq!(identity.status, StatusCode::OK);
    let zipped = door.post_with("/v1/score", &[("content-encoding", "gzip")], &body).await;
    assert_eq!(zipped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(zipped.json()["error"]["field"], "Content-Encoding");
}

#[tokio::test]
async fn an_answer_before_the_body_is_read_reaches_a_client_that_is_still_sending() {
    let door = Door::open(ScriptedBackend::new()).await;
    let served = Served::start(&door).await;
    let body = "x".repeat(8 << 20);
    let length = format!("Content-Length: {}", body.len());
    let other_type = post("/v1/score", &length).replace("application/json", "text/plain");
    for (head, status) in [(post("/nowhere", &length), "404"), (other_type, "415")] {
        let mut connection = served.send(&format!("{head}{body}")).await;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn a_page_that_lets_its_name_point_here_is_not_answered_without_tenants() {
    let door = Door::open(ScriptedBackend::new()).await;
    let served = Served::start(&door).await;
    for (host, status) in [("evil.example", "421"), ("127.0.0.1:7490", "200"), ("localhost", "200")]
    {
        let head = format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut connection = served.send(&head).await;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"), "{host}");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_cancels_its_samples() {
    let body = json!({"item": item(), "settings": {"k": 4}}).to_string();
    for path in ["/v1/score", "/v1/score/stream"] {
        let backend = hanging();
        let handle = backend.handle();
        let door = Door::open(backend).await;
        let served = Served::start(&door).await;
        let connection = served.begin(path, &body).await;
        handle.wait_for_groups(2).await;
        drop(connection);
        handle.wait_until_idle().await;
    }
}
