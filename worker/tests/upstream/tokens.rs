//! Prompts as tokens: ours, checked against the server's.

use std::path::PathBuf;

use jury_engine::Tokenizer;
use jury_grm::domain::{FailureKind, Readout};
use jury_worker::backend::openai::{ConnectError, OpenAiBackend, OpenAiConfig, Refusal};
use jury_worker::backend::{Backend, BackendEvent};
use serde_json::{Value, json};

use crate::server::{Asked, Reply, Server};
use crate::{config, draw, group, llama_cpp, samples};

/// A tiny model with random weights, of which only the tokenizer is read.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama")
}

/// A llama-server with that tokenizer that counts `extra` more tokens than it was sent.
fn server(extra: usize) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    let tokenizer = Tokenizer::load(&folder()).expect("as our worker asks");
    move |asked| match asked.path.as_str() {
        "/tokenize" => {
            let text = asked.body["content"].as_str().expect("as our worker asks");
            Reply::json(
                &json!({"tokens": tokenizer.encode_plain(text).expect("as our worker asks")}),
            )
        }
        "/v1/completions" => completion(&asked.body, extra),
        _ => llama_cpp(asked, || panic!("a prompt came as text")),
    }
}

fn completion(body: &Value, extra: usize) -> Reply {
    let is_text = body["stream"] == true;
    let sent = body["prompt"].as_array().expect("as our worker asks").len();
    let usage =
        json!({"prompt_tokens": sent + if is_text { extra } else { 0 }, "completion_tokens": 3});
    let text = "Analysis: fine.\nScores: \\boxed{8, 7}";
    let logprobs = json!({"content": [{"top_logprobs": [{"token": "8", "logprob": -0.001}]}]});
    let answer = json!({
        "choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}], "usage": usage,
    });
    match is_text {
        true => Reply::events(&[&answer.to_string(), "[DONE]"]),
        false => Reply::json(&answer),
    }
}

async fn connect(url: &str) -> Result<OpenAiBackend, ConnectError> {
    OpenAiBackend::connect(OpenAiConfig { tokenizer: Some(folder()), ..config(url) }).await
}

#[tokio::test]
async fn special_tokens_in_a_response_stay_text() {
    let server = Server::start(server(0)).await;
    let backend = connect(&server.url).await.unwrap_or_else(|error| panic!("{error}"));
    let info = backend.info();
    assert!(info.capabilities.token_prompts && info.numerics.ends_with(":tokens"));
    let mut group = group(1, Readout::Free);
    group.messages[0].spans[1].text = "a</s>b".into();
    let events = draw(&backend, group.clone()).await;
    assert_eq!(samples(&events)[0].scores().unwrap().scores, [8.0, 7.0]);
    let prompt = jury_worker::backend::engine::engine_prompt(&group.messages);
    let tokens = Tokenizer::load(&folder()).unwrap().encode(&prompt).unwrap();
    assert_eq!(server.asked_for_texts()[0].body["prompt"], json!(tokens));
}

#[tokio::test]
async fn a_guided_text_is_continued_in_tokens() {
    let server = Server::start(server(0)).await;
    let backend = connect(&server.url).await.unwrap_or_else(|error| panic!("{error}"));
    let events = draw(&backend, group(1, Readout::Sampled)).await;
    assert_eq!(samples(&events)[0].scores().unwrap().scores, [8.0, 8.0]);
}

#[tokio::test]
async fn a_server_that_reads_another_prompt_than_ours_gives_no_samples() {
    let server = Server::start(server(1)).await;
    let backend = connect(&server.url).await.unwrap_or_else(|error| panic!("{error}"));
    let events = draw(&backend, group(1, Readout::Free)).await;
    let [BackendEvent::Failed { failure, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(failure.kind, FailureKind::Worker);
    assert!(failure.detail.contains("--tokenizer"), "{failure}");
}

#[tokio::test]
async fn a_prompt_that_cannot_fit_is_never_sent() {
    let server = Server::start(server(0)).await;
    let config =
        OpenAiConfig { tokenizer: Some(folder()), context_tokens: Some(70), ..config(&server.url) };
    let backend = OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"));
    let events = draw(&backend, group(2, Readout::Free)).await;
    let [BackendEvent::TooLong(too_long)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((too_long.limit_tokens, too_long.longest_response), (6, Some(1)));
    assert!(server.asked_for_texts().is_empty());
}

#[tokio::test]
async fn a_foreign_tokenizer_is_refused_at_the_start() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/tokenize" => Reply::json(&json!({"tokens": [1, 2, 3]})),
        _ => llama_cpp(asked, || panic!("it asked for a text")),
    })
    .await;
    let Err(error) = connect(&server.url).await else { panic!("it connected") };
    assert!(
        matches!(error, ConnectError::Refused { refusal: Refusal::OtherTokens { .. }, .. }),
        "{error}"
    );
}
