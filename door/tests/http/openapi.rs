//! `openapi.json` against the server: every path answers as documented, and there is no other.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use jury_coordinator::Config;
use jury_coordinator::tenants::{Tenants, TokenDigest};
use jury_embedded::default_config;
use jury_grm::domain::{ScoreRequest, Settings, Voting};
use jury_grm::prompt::Template;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use serde_json::{Value, json};

use crate::door::{Answer, Door};
use crate::schema::violations;

fn document() -> Value {
    serde_json::from_str(jury_door::OPENAPI).unwrap()
}

/// Holds `answer` to the response that the operation documents for its status.
fn hold(document: &Value, operation: &Value, answer: &Answer) {
    let status = answer.status.as_u16().to_string();
    let mut response = &operation["responses"][&status];
    assert!(!response.is_null(), "{status} is not documented: {}", answer.text);
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
    }
    let sent = answer.headers["content-type"].to_str().unwrap().split(';').next().unwrap();
    let documented = &response["content"][sent];
    assert!(!documented.is_null(), "{status} as {sent} is not documented");
    let (schema, value) = match sent {
        "application/json" => (&documented["schema"], answer.json()),
        "text/event-stream" => {
            let events = answer.events().into_iter();
            let events = events.map(|(event, data)| json!({"event": event, "data": data}));
            (&documented["schema"]["contentSchema"], events.collect())
        }
        _ => return,
    };
    assert!(schema.is_object(), "{sent} has no schema");
    let found = violations(document, schema, &value, "$");
    assert!(found.is_empty(), "{found:#?}");
}

/// The names of the events of a stream.
fn names(answer: &Answer) -> Vec<String> {
    answer.events().into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn every_kind_of_event_of_a_stream_is_as_documented() {
    let document = document();
    let operation = &document["paths"]["/v1/score/stream"]["post"];
    let held = ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed));
    let handle = held.handle();
    // A fault that shows with five responses alone.
    let source = "{% for turn in turns %}{{ turn.text }}{% endfor %}{{ 'no number' | int if n == 5 }}\
                  {% for response in responses %}{{ response.text }}{% endfor %}{{ box }}";
    let template = Template::parse("breaks", source).unwrap();
    let door = Door::open_with(Config { template, ..default_config() }, held).await;
    let body = |n_responses: usize| {
        let responses: Vec<_> = (0..n_responses).map(|at| at.to_string()).collect();
        json!({"item": {"query": "q", "responses": responses}, "settings": {"k": 64}})
    };
    let (sound, faulty) = (body(2), body(5));
    let after_it = async {
        handle.wait_for_groups(1).await;
        let release = async {
            while door.coordinator().status().requests_queued == 0 {
                tokio::task::yield_now().await;
            }
            handle.release_all();
        };
        tokio::join!(door.post("/v1/score/stream", &faulty), release).0
    };
    let (judged, broken) = tokio::join!(door.post("/v1/score/stream", &sound), after_it);
    for (answer, last) in [(judged, "verdict"), (broken, "error")] {
        let names = names(&answer);
        assert_eq!(
            (&*names[0], names.last().unwrap().as_str()),
            ("progress", last),
            "{}",
            answer.text
        );
        hold(&document, operation, &answer);
    }
}

#[tokio::test]
async fn where_there_are_tenants_only_health_and_the_contract_are_open() {
    let document = document();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenants.toml");
    let digest = TokenDigest::of("token-a");
    let more = "samples_per_minute = 4";
    let text = format!("[[tenant]]\nname = \"a\"\ntoken_digests = [\"{digest}\"]\n{more}\n");
    std::fs::write(&path, text).unwrap();
    let tenants = Tenants::load(&path).unwrap();
    let door = Door::open_to(tenants, ScriptedBackend::new()).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let answer = match method.as_str() {
                "get" => door.get(path).await,
                _ => door.post(path, body).await,
            };
            let is_open = operation["security"].is_null();
            assert_eq!(answer.status == StatusCode::OK, is_open, "{path}: {}", answer.text);
            hold(&document, operation, &answer);
            if !is_open {
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
                assert!(answer.headers.contains_key("www-authenticate"));
                assert!(answer.text.contains("Bearer TOKEN"), "{}", answer.text);
            }
        }
    }
    let body = json!({ "item": { "query": "q", "responses": ["a", "b"] }, "settings": { "k": 4 } });
    let with = |token: &'static str| [("authorization", token)];
    let wrong = door.post_with("/v1/score", &with("Bearer token-b"), &body).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let right = door.post_with("/v1/score", &with("Bearer token-a"), &body).await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.text);
    let over = door.post_with("/v1/score", &with("Bearer token-a"), &body).await;
    assert_eq!(over.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(over.json()["error"]["code"], "OVER_QUOTA");
    let seconds: u64 = over.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    hold(&document, &document["paths"]["/v1/score"]["post"], &over);
}

#[tokio::test]
async fn every_documented_path_answers_in_its_documented_shape() {
    let document = document();
    let door = Door::open(ScriptedBackend::new()).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let answer = match method.as_str() {
                "get" => door.get(path).await,
                "post" => {
                    let body = &operation["requestBody"]["content"]["application/json"]["example"];
                    door.post(path, body).await
                }
                other => panic!("{path}: no such method in the test: {other}"),
            };
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            hold(&document, operation, &answer);
            if method == "post" {
                let malformed = door.post(path, &json!([])).await;
                assert_eq!(malformed.status, StatusCode::BAD_REQUEST, "{path}");
                hold(&document, operation, &malformed);
                let other_method = door.get(path).await;
                assert_eq!(other_method.status, StatusCode::METHOD_NOT_ALLOWED);
            }
        }
    }
}

#[tokio::test]
async fn the_examples_of_requests_are_requests_as_documented() {
    let document = document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let body = &methods["post"]["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            let found = violations(&document, &body["schema"], &body["example"], "$");
            assert!(found.is_empty(), "{path}: {found:#?}");
        }
    }
}

#[tokio::test]
async fn there_is_no_path_that_is_not_documented() {
    let documented: BTreeSet<_> =
        document()["paths"].as_object().unwrap().keys().cloned().collect();
    let served: BTreeSet<_> = jury_door::paths().into_iter().map(str::to_owned).collect();
    assert_eq!(documented, served);
    let door = Door::open(ScriptedBackend::new()).await;
    let elsewhere = door.get("/v2/score").await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    assert_eq!(elsewhere.json()["error"]["code"], "NOT_FOUND");
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let document = document();
    let defaults = [
        ("Settings", serde_json::to_value(Settings::default()).unwrap()),
        ("Voting", serde_json::to_value(Voting::default()).unwrap()),
    ];
    for (part, values) in defaults {
        for (name, value) in values.as_object().unwrap() {
            let schema = &document["components"]["schemas"][part]["properties"][name];
            let default = &schema["default"];
            assert!(schema.is_object(), "{part}.{name}");
            assert!(default.is_null() || default == value, "{part}.{name}: {value}, not {default}");
        }
    }
}

#[test]
fn a_request_has_no_field_that_is_not_documented() {
    let document = document();
    let documented = &document["components"]["schemas"]["ScoreRequest"]["properties"];
    let request = json!({"item": {"query": "q", "responses": ["a"]}}).to_string();
    let request = serde_json::to_value(ScoreRequest::from_json(&request).unwrap().0).unwrap();
    for name in request.as_object().unwrap().keys() {
        assert!(!documented[name].is_null(), "{name}");
    }
}
