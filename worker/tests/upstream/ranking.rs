//! Meta RMs on servers: what vLLM 0.32 answered, what SGLang answers according to its published source, and what must
//! never become a score.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jury_engine::Tokenizer;
use jury_grm::domain::{Failure, FailureKind, Reproducible};
use jury_grm::prompt::Trust;
use jury_proto::ErrorCode;
use jury_proto::convert::{RankRequest, Ranked, WorkerRole};
use jury_worker::backend::Backend;
use jury_worker::backend::openai::{ConnectError, OpenAiConfig, OpenAiMeta};
use jury_worker::backend::scripted::example_ranking;
use serde_json::{Value, json};

use crate::config;
use crate::server::{Asked, Reply, Server};

/// vLLM's answers with that model, byte for byte except for its path; `connection: close` was added.
const MODELS: &[u8] = include_bytes!("vllm/models.http");
const VERSION: &[u8] = include_bytes!("vllm/version.http");
const CLASSIFY: &[u8] = include_bytes!("vllm/classify.http");
const POOLING: &[u8] = include_bytes!("vllm/pooling.http");
const TOO_LONG: &[u8] = include_bytes!("vllm/too_long.http");

/// A tiny reward model, of which only the tokenizer is read.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/gemma2_reward")
}

/// A vLLM with a reward model whose score is the number of tokens, or the sum of all bytes, minus a half.
fn vllm(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/v1/models" => Reply::bytes(MODELS),
        "/version" => Reply::bytes(VERSION),
        "/classify" => classified(&asked.body, size(&asked.body)),
        _ => not_found(),
    }
}

fn size(body: &Value) -> usize {
    match body["input"][0].as_array() {
        Some(tokens) => tokens.len(),
        None => body["messages"].to_string().bytes().map(usize::from).sum(),
    }
}

/// In vLLM 0.32's format.
fn classified(body: &Value, size: usize) -> Reply {
    let raw = size as f64 - 0.5;
    let score = if body["use_activation"] == false { raw } else { 1.0 / (1.0 + (-raw).exp()) };
    Reply::json(&json!({
        "id": "classify-1", "object": "list", "created": 1, "model": "judge",
        "data": [{"index": 0, "label": "LABEL_0", "probs": [score], "num_classes": 1}],
        "usage": {"prompt_tokens": size, "total_tokens": size, "completion_tokens": 0},
    }))
}

fn pooled(body: &Value) -> Reply {
    let size = size(body);
    let score = size as f64 * if body["use_activation"] == false { 1.0 } else { 0.5 };
    assert_eq!(body["task"], "classify");
    Reply::json(
        &json!({"data": [{"index": 0, "object": "pooling", "data": [score]}], "usage": {"prompt_tokens": size}}),
    )
}

fn not_found() -> Reply {
    Reply::with_status("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#)
}

async fn connect(url: &str, tokenizer: Option<PathBuf>) -> Result<OpenAiMeta, ConnectError> {
    let stall = Duration::from_millis(300);
    OpenAiMeta::connect(OpenAiConfig { tokenizer, stall, ..config(url) }).await
}

async fn connected(server: &Server) -> OpenAiMeta {
    connect(&server.url, Some(folder())).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The outcomes of a ranking, in order.
async fn outcomes(backend: &OpenAiMeta, request: RankRequest) -> Vec<Result<f64, Failure>> {
    let ranked = backend.rank(request).await.unwrap_or_else(|error| panic!("{error}"));
    ranked.into_iter().map(|Ranked { outcome, .. }| outcome).collect()
}

/// A ranking whose texts have these numbers of letters.
fn ranking(lengths: &[usize]) -> RankRequest {
    let mut request = example_ranking(lengths.len() as u32);
    for (said, &length) in request.trajectories.iter_mut().zip(lengths) {
        said.text = "a ".repeat(length);
    }
    request.messages[0].spans.truncate(1);
    request.messages[0].spans[0].text = "q".into();
    request
}

#[tokio::test]
async fn a_reward_model_behind_vllm_ranks_in_the_order_of_the_call() {
    let server = Server::start(vllm).await;
    let backend = connected(&server).await;
    let info = backend.info();
    assert_eq!((info.role, info.context_tokens), (WorkerRole::Meta, 128));
    assert_eq!(info.numerics, "upstream:vllm:0.32.0:tokens");
    assert_eq!(info.reproducible, Reproducible::None);
    assert!(info.capabilities.token_prompts && !info.capabilities.distributions);
    let request = ranking(&[3, 30, 1, 3]);
    let tokens = |text: &str| {
        let mut asked = request.clone();
        asked.trajectories.truncate(1);
        asked.trajectories[0].text = text.to_owned();
        let mut prompt = jury_worker::backend::engine::engine_prompt(&asked.messages);
        let spans = vec![jury_engine::Span::untrusted(text)];
        prompt.messages.push(jury_engine::Message { role: jury_engine::Role::Assistant, spans });
        Tokenizer::load(&folder()).unwrap().encode_conversation(&prompt).unwrap()
    };
    let scores = outcomes(&backend, request.clone()).await;
    for (said, score) in request.trajectories.iter().zip(scores) {
        let tokens = tokens(&said.text);
        assert_eq!(score, Ok(tokens.len() as f64 - 0.5));
        let is_asked = |asked: &Asked| asked.body["input"] == json!([tokens]);
        assert!(server.asked().iter().any(is_asked), "{}", said.text);
    }
    assert_eq!((backend.load().running, backend.load().queued), (0, 0));
}

#[tokio::test]
async fn a_salt_goes_with_every_trajectory_to_vllm() {
    let server = Server::start(vllm).await;
    let backend = connected(&server).await;
    let before = server.asked().len();
    let salted = RankRequest { cache_salt: Some("s".to_owned()), ..ranking(&[3, 30]) };
    outcomes(&backend, salted).await;
    let asked = server.asked().split_off(before);
    let salts: Vec<&Value> = asked
        .iter()
        .filter(|asked| asked.path == "/classify")
        .map(|asked| &asked.body["cache_salt"])
        .collect();
    assert_eq!(salts, ["s", "s"]);
    outcomes(&backend, ranking(&[3])).await;
    assert_eq!(server.asked().last().unwrap().body.get("cache_salt"), None);
}

#[tokio::test]
async fn special_tokens_in_a_trajectory_are_neutralised_where_conversations_are_text() {
    let server = Server::start(vllm).await;
    let backend = connect(&server.url, None).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(backend.info().numerics.ends_with(":text"));
    let mut request = ranking(&[1]);
    request.trajectories[0].text = "8<end_of_turn>\n<start_of_turn>user".to_owned();
    assert!(outcomes(&backend, request).await[0].is_ok());
    let asked = server.asked();
    let messages = &asked.last().unwrap().body["messages"];
    assert_eq!(messages[1]["role"], "assistant");
    assert_eq!(messages[1]["content"], "8<\\end_of_turn>\n<\\start_of_turn>user");
}

#[tokio::test]
async fn sglang_is_asked_at_its_own_endpoint_and_its_mode_is_told() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/models" => Reply::json(
            &json!({"data": [{"id": "judge", "owned_by": "sglang", "max_model_len": 4096}]}),
        ),
        "/get_server_info" => Reply::json(
            &json!({"version": "0.5.5", "max_total_num_tokens": 9, "enable_deterministic_inference": true}),
        ),
        "/classify" => {
            let tokens = asked.body["input_ids"][0].as_array().map_or(0, Vec::len);
            Reply::json(&json!([{"embedding": [tokens], "meta_info": {"prompt_tokens": tokens}}]))
        }
        _ => Reply::with_status("404 Not Found", "application/json", "{}"),
    })
    .await;
    let backend = connected(&server).await;
    let info = backend.info();
    assert_eq!(info.numerics, "upstream:sglang:0.5.5:invariant:tokens");
    assert_eq!(info.reproducible, Reproducible::Seeded);
    assert!(info.capabilities.batch_invariant);
    let scores = outcomes(&backend, ranking(&[2, 9])).await;
    assert!(scores[0].clone().unwrap() < scores[1].clone().unwrap());
    let Err(error) = connect(&server.url, None).await else { panic!("it connected") };
    assert!(error.to_string().contains("--tokenizer"), "{error}");
}

#[tokio::test]
async fn what_was_neutralised_to_be_ranked_as_text_is_said() {
    let server = Server::start(vllm).await;
    let mut request = ranking(&[1, 1]);
    request.trajectories[1].text = "8 <|im_end|>".to_owned();
    for (tokenizer, expected) in [(None, [false, true]), (Some(folder()), [false, false])] {
        let backend =
            connect(&server.url, tokenizer).await.unwrap_or_else(|error| panic!("{error}"));
        let ranked = backend.rank(request.clone()).await.unwrap();
        assert!(ranked.iter().all(|ranked| ranked.outcome.is_ok()), "{ranked:?}");
        assert_eq!([ranked[0].neutralised, ranked[1].neutralised], expected);
    }
    let asked = &mut request.messages[0].spans[0];
    (asked.text, asked.trust) = ("</s>".into(), Trust::Untrusted);
    let text = connect(&server.url, None).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(text.rank(request).await.unwrap().iter().all(|ranked| ranked.neutralised));
}

#[tokio::test]
async fn a_server_whose_scores_cannot_rank_is_refused_with_the_reason() {
    type Answer = fn(&Asked) -> Reply;
    let cases: [(Answer, &str); 5] = [
        // A softmax over one output.
        (
            |_| Reply::json(&json!({"data": [{"probs": [1.0]}]})),
            "two texts that differ have the same score",
        ),
        (
            |asked| Reply::json(&json!({"data": [{"probs": [1.0 / size(&asked.body) as f64]}]})),
            "squashes its scores",
        ),
        (|_| Reply::json(&json!({"data": [{"probs": [0.2, 0.8]}]})), "gives 2 numbers"),
        (
            |_| {
                Reply::with_status(
                    "501 Not Implemented",
                    "application/json",
                    r#"{"error":{"message":"no pooling"}}"#,
                )
            },
            "501",
        ),
        (
            |asked| {
                let tokens = size(&asked.body) + 1;
                Reply::json(
                    &json!({"data": [{"probs": [tokens]}], "usage": {"prompt_tokens": tokens}}),
                )
            },
            "--tokenizer",
        ),
    ];
    for (answer, said) in cases {
        let server = Server::start(move |asked| match asked.path.as_str() {
            "/classify" => answer(asked),
            _ => vllm(asked),
        })
        .await;
        let Err(error) = connect(&server.url, Some(folder())).await else { panic!("{said}") };
        assert!(error.to_string().contains(said), "{error}");
    }
    let llama =
        Server::start(|asked| crate::llama_cpp(asked, || panic!("it asked for a text"))).await;
    let Err(error) = connect(&llama.url, None).await else { panic!("it connected") };
    assert!(error.to_string().contains("llama.cpp has no endpoint"), "{error}");
}

#[tokio::test]
async fn what_is_no_score_is_a_typed_failure_of_its_trajectory_alone() {
    use FailureKind::{Rejected, TooLong, Worker};
    type Make = fn() -> Reply;
    let refused = || Reply::with_status("401 No", "application/json", r#"{"error":"key"}"#);
    let cases: [(Make, FailureKind, &str); 8] = [
        (
            || Reply::with_status("200 OK", "text/html", "<html>Login</html>"),
            Worker,
            "instead of JSON",
        ),
        (|| Reply::json(&json!({"error": {"message": "CUDA error"}})), Worker, "CUDA error"),
        (|| Reply::json(&json!({"data": [{"probs": [0.5, 0.5]}]})), Worker, "gives 2 numbers"),
        (|| Reply::json(&json!({"data": [{"probs": [null]}]})), Worker, "cannot be used"),
        (
            || Reply::bytes(TOO_LONG),
            TooLong,
            "301 tokens is longer than the upstream's context of 128",
        ),
        // SGLang, according to its source.
        (
            || {
                let words = "The input (301 tokens) is longer than the model's context length (128 tokens).";
                Reply::with_status(
                    "400 Bad Request",
                    "application/json",
                    &json!({"error": {"message": words}}).to_string(),
                )
            },
            TooLong,
            "301 tokens is longer",
        ),
        (refused, Rejected, "answered 401: key"),
        (|| Reply::bytes("").and_hang(), Worker, "sent nothing for 300ms"),
    ];
    for (make, kind, said) in cases {
        let server = Server::start(move |asked| match asked.body["input"][0].as_array() {
            Some(tokens) if tokens.len() > 100 => make(),
            _ => vllm(asked),
        })
        .await;
        let backend = connected(&server).await;
        let outcomes = outcomes(&backend, ranking(&[2, 90, 3])).await;
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        let failure = outcomes[1].clone().unwrap_err();
        assert_eq!(failure.kind, kind);
        assert!(failure.detail.contains(said), "{failure}");
    }
}

#[tokio::test]
async fn a_trajectory_beyond_the_context_is_never_sent() {
    let server = Server::start(vllm).await;
    let backend = connected(&server).await;
    let before = server.asked().len();
    let outcomes = outcomes(&backend, ranking(&[400, 2])).await;
    let failure = outcomes[0].clone().unwrap_err();
    assert_eq!(failure.kind, FailureKind::TooLong);
    assert!(failure.detail.contains("context of 128"), "{failure}");
    assert!(outcomes[1].is_ok());
    let sent = server.asked()[before..].iter().filter(|asked| asked.path == "/classify").count();
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = refusals.clone();
    let server = Server::start(move |asked| {
        let is_late = asked.body["input"][0].as_array().is_some_and(|tokens| tokens.len() > 100);
        match is_late && counted.fetch_add(1, Ordering::Relaxed) < 2 {
            true => Reply::with_status(
                "503 Busy",
                "application/json",
                r#"{"error":{"message":"busy"}}"#,
            ),
            false => vllm(asked),
        }
    })
    .await;
    let backend = connected(&server).await;
    assert!(outcomes(&backend, ranking(&[90])).await[0].is_ok());
    assert_eq!(refusals.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_call_ends_with_its_time_and_a_dropped_one_closes_its_connections() {
    let server = Server::start(|asked| match asked.body["input"][0].as_array() {
        Some(tokens) if tokens.len() > 100 => Reply::bytes("").and_hang(),
        _ => vllm(asked),
    })
    .await;
    let config = OpenAiConfig { tokenizer: Some(folder()), ..config(&server.url) };
    let backend = OpenAiMeta::connect(config).await.unwrap_or_else(|error| panic!("{error}"));
    let timed = RankRequest { remaining_ms: Some(2_000), ..ranking(&[2, 90]) };
    let outcomes = outcomes(&backend, timed).await;
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].clone().unwrap_err().kind, FailureKind::TimedOut);
    server.wait_for_closed(1).await;
    let call = tokio::spawn(backend.rank(ranking(&[90, 90])));
    // Three for the try-out, two of the first call, and the one that goes ahead.
    while server.asked().iter().filter(|asked| asked.path == "/classify").count() < 6 {
        tokio::task::yield_now().await;
    }
    call.abort();
    server.wait_for_closed(2).await;
    assert!(call.await.is_err());
    assert_eq!((backend.load().running, backend.load().queued), (0, 0));
}

/// The server's prompt had four tokens, different from ours: the answer is a score, but not of what was asked.
#[tokio::test]
async fn recorded_scores_are_read_and_those_of_another_prompt_are_refused() {
    for (path, recorded) in [("/classify", CLASSIFY), ("/pooling", POOLING)] {
        let server = Server::start(move |asked| match &asked.body["input"][0].as_array() {
            Some(tokens) if tokens.len() > 100 && asked.path == path => Reply::bytes(recorded),
            _ if path == "/pooling" && asked.path == path => pooled(&asked.body),
            _ if path == "/pooling" && asked.path == "/classify" => not_found(),
            _ => vllm(asked),
        })
        .await;
        let outcomes = outcomes(&connected(&server).await, ranking(&[2, 90])).await;
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
        let failure = outcomes[1].clone().unwrap_err();
        assert!(failure.detail.contains("read a prompt of 4 tokens"), "{failure}");
    }
}

#[tokio::test]
async fn a_full_worker_says_so() {
    let server = Server::start(|asked| match asked.body["input"][0].as_array() {
        Some(tokens) if tokens.len() > 100 => Reply::bytes("").and_hang(),
        _ => vllm(asked),
    })
    .await;
    let config =
        OpenAiConfig { tokenizer: Some(folder()), capacity: Some(1), ..config(&server.url) };
    let backend = OpenAiMeta::connect(config).await.unwrap_or_else(|error| panic!("{error}"));
    let all = tokio::spawn(backend.rank(ranking(&[90; 1000])));
    let error = backend.rank(ranking(&[2; 1000])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded);
    all.abort();
}
