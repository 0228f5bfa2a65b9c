//! Servers that were not run for these tests, simulated according to their published source: SGLang 0.5
//! (`entrypoints/openai`) and TensorRT-LLM 1.2 (`serve`).

use jury_grm::domain::{Finish, Issue, Readout, Sample};
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};
use jury_worker::backend::{Backend, BackendEvent};
use serde_json::{Value, json};

use crate::server::{Asked, Reply, Server};
use crate::{config, draw, group, samples};

const PIECES: [&str; 3] = ["The first is right.\n", "Scores: \\boxed{8", ", 7}"];
const PROMPT_TOKENS: u32 = 40;

/// The likeliest tokens at the beginning of a score, in the format that both use for a conversation.
fn scores() -> Value {
    let token = |(text, probability): (&str, f64)| json!({"token": text, "logprob": probability.ln(), "bytes": text.as_bytes()});
    let listed = [("8", 0.7), ("7", 0.1), ("9", 0.1), ("1", 0.04), ("6", 0.03), ("x", 0.02)];
    let mut first = token(listed[0]);
    first["top_logprobs"] = listed.map(token).to_vec().into();
    json!({"content": [first]})
}

fn chunk(choices: &Value, usage: &Value) -> String {
    json!({"id": "7", "object": "chat.completion.chunk", "created": 1, "model": "judge", "choices": choices, "usage": usage})
        .to_string()
}

fn completion(message: &str, logprobs: &Value) -> Reply {
    let choice = json!({
        "index": 0, "message": {"role": "assistant", "content": message, "reasoning_content": null, "tool_calls": null},
        "logprobs": logprobs, "finish_reason": "length",
    });
    let usage = json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 1, "total_tokens": PROMPT_TOKENS + 1});
    Reply::json(
        &json!({"id": "7", "object": "chat.completion", "created": 1, "model": "judge", "choices": [choice], "usage": usage}),
    )
}

fn not_found() -> Reply {
    Reply::with_status("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#)
}

/// Counts with every chunk, thoughts as null, `matched_stop` next to the reason.
fn sglang(asked: &Asked) -> Reply {
    let usage = |generated: usize| {
        json!({
            "prompt_tokens": PROMPT_TOKENS, "completion_tokens": generated, "total_tokens": 40 + generated,
            "prompt_tokens_details": {"cached_tokens": 32}, "reasoning_tokens": 0,
        })
    };
    let choice = |delta: Value, end: Value, matched: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": end, "matched_stop": matched}]);
    match asked.path.as_str() {
        "/v1/models" => Reply::json(&json!({
            "object": "list",
            "data": [{"id": "judge", "object": "model", "created": 1, "owned_by": "sglang", "root": "judge", "parent": null,
                "max_model_len": 4096}],
        })),
        "/get_server_info" => Reply::json(&json!({
            "model_path": "judge", "version": "0.5.5", "max_running_requests": 12, "max_total_num_tokens": 9,
            "enable_deterministic_inference": false, "internal_states": [],
        })),
        "/health" => Reply::with_status("200 OK", "text/plain", ""),
        "/v1/chat/completions" if asked.body["stream"] == true => {
            let role = json!({"reasoning_content": null, "role": "assistant", "content": ""});
            let mut chunks = vec![chunk(&choice(role, Value::Null, Value::Null), &usage(0))];
            for (piece, generated) in PIECES.iter().zip(1..) {
                let delta = json!({"reasoning_content": null, "content": piece});
                chunks.push(chunk(&choice(delta, Value::Null, Value::Null), &usage(generated)));
            }
            chunks.push(chunk(
                &choice(json!({"reasoning_content": null}), json!("stop"), json!(2)),
                &Value::Null,
            ));
            chunks.push(chunk(&json!([]), &usage(4)));
            chunks.push("[DONE]".to_owned());
            Reply::events(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
        }
        "/v1/chat/completions" if asked.body["logprobs"] == true => completion("8", &scores()),
        "/v1/chat/completions" => completion("8", &Value::Null),
        _ => not_found(),
    }
}

/// Counts only at the end, thoughts under both names, no context length.
fn tensorrt_llm(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/v1/models" => Reply::json(&json!({
            "object": "list", "data": [{"id": "judge", "object": "model", "created": 1, "owned_by": "tensorrt_llm"}],
        })),
        "/version" => Reply::json(&json!({"version": "1.2.0"})),
        "/health" => {
            Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        "/v1/chat/completions" if asked.body["stream"] == true => {
            let choice = |text: &str, end: Value| {
                let delta = json!({
                    "role": "assistant", "content": text, "reasoning_content": null, "reasoning": null, "tool_calls": null,
                });
                json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": end, "stop_reason": null,
                    "avg_decoded_tokens_per_iter": 1.0}])
            };
            let mut chunks = vec![chunk(&choice("", Value::Null), &Value::Null)];
            chunks.extend(PIECES.map(|piece| chunk(&choice(piece, Value::Null), &Value::Null)));
            chunks.push(chunk(&choice("", json!("stop")), &Value::Null));
            let usage =
                json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 4, "total_tokens": 44});
            chunks.push(chunk(&json!([]), &usage));
            chunks.push("[DONE]".to_owned());
            Reply::events(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
        }
        "/v1/chat/completions" if asked.body["logprobs"] == true => completion("8", &scores()),
        "/v1/chat/completions" => completion("8", &Value::Null),
        _ => not_found(),
    }
}

async fn connect(url: &str, context_tokens: Option<u32>) -> OpenAiBackend {
    let config = OpenAiConfig { context_tokens, ..config(url) };
    OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

fn assert_is_its_text(sample: &Sample, generated_tokens: u32) {
    assert_eq!(sample.scores().expect("it has a box").scores, [8.0, 7.0]);
    assert_eq!((sample.finish, sample.prompt_tokens), (Finish::Box, PROMPT_TOKENS));
    assert_eq!(sample.generated_tokens, generated_tokens);
    assert!(!sample.issues.contains(&Issue::NeutralisedSpecials));
}

#[tokio::test]
async fn samples_are_drawn_from_sglang_free_and_guided() {
    let server = Server::start(sglang).await;
    let backend = connect(&server.url, None).await;
    let info = backend.info();
    assert_eq!(info.numerics, "upstream:sglang:0.5.5:text");
    assert_eq!((info.context_tokens, info.capacity), (4096, 12));
    assert!(info.capabilities.distributions && info.capabilities.seeds && info.capabilities.cancel);
    let events = draw(&backend, group(3, Readout::Free)).await;
    assert_eq!(events[0], BackendEvent::Accepted { prompt_tokens: 40, cached_tokens: 32 });
    let drawn = samples(&events);
    assert_eq!(drawn.len(), 3);
    drawn.into_iter().for_each(|sample| assert_is_its_text(sample, 3));
    let asked = &server.asked_for_texts()[0].body;
    assert_eq!(asked["top_k"], -1);
    assert!(asked["seed"].as_u64().is_some_and(|seed| seed < 1 << 31));
    let events = draw(&backend, group(1, Readout::Expected)).await;
    let scores = samples(&events)[0].scores().expect("it has scores").clone();
    let distributions = scores.score_distribution.expect("they were read");
    assert!(distributions.iter().all(|distribution| distribution[7] > 0.6), "{distributions:?}");
    let continued = |asked: &Asked| asked.body["continue_final_message"] == true;
    assert!(server.asked().iter().any(continued));
}

#[tokio::test]
async fn samples_are_drawn_from_tensorrt_llm_which_counts_at_the_end() {
    let server = Server::start(tensorrt_llm).await;
    let refused = OpenAiBackend::connect(config(&server.url)).await;
    let Err(error) = refused else { panic!("nobody told its context") };
    assert!(error.to_string().contains("--context-tokens"), "{error}");
    let backend = connect(&server.url, Some(4096)).await;
    let info = backend.info();
    assert_eq!(info.numerics, "upstream:tensorrt-llm:1.2.0:text");
    assert!(info.capabilities.log_probabilities && info.capabilities.seeds);
    assert!(!info.capabilities.distributions, "it does not continue a turn that is text");
    let events = draw(&backend, group(3, Readout::Free)).await;
    assert_eq!(events[0], BackendEvent::Accepted { prompt_tokens: 40, cached_tokens: 0 });
    let drawn = samples(&events);
    assert_eq!(drawn.len(), 3);
    drawn.into_iter().for_each(|sample| assert_is_its_text(sample, 3));
    let asked = &server.asked_for_texts()[0].body;
    assert_eq!(
        (&asked["top_k"], &asked["stream_options"]),
        (&json!(0), &json!({"include_usage": true}))
    );
    let events = draw(&backend, group(1, Readout::Expected)).await;
    let Some(BackendEvent::Failed { failure, .. }) = events.last() else { panic!("{events:?}") };
    assert!(failure.detail.contains("readout = free"), "{failure}");
}
