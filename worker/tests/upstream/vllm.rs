//! What vLLM 0.32 really sent with SmolLM2, byte for byte except for the model's path; `connection: close` was
//! requested.
//!
//! All prompts had 68 tokens, and the prompt dictated the answer, so that its text has a box.

use std::path::PathBuf;

use jury_engine::Tokenizer;
use jury_grm::domain::{Finish, Readout, Reproducible, Sample, Scores};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::engine::engine_prompt;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};
use jury_worker::backend::{Backend, BackendEvent};
use serde_json::{Value, json};

use crate::server::{Asked, Reply, Server};
use crate::{config, connect, draw, group, samples};

const MODELS: &[u8] = include_bytes!("vllm/judge.http");
const VERSION: &[u8] = include_bytes!("vllm/version.http");
const HEALTH: &[u8] = include_bytes!("vllm/health.http");
/// From a conversation: a text as a stream, one token, the likeliest tokens at the beginning of a score, a grammar of
/// one word, a rejection.
const CHAT: &[u8] = include_bytes!("vllm/chat.http");
const CHAT_COUNT: &[u8] = include_bytes!("vllm/chat_count.http");
const CHAT_SCORES: &[u8] = include_bytes!("vllm/chat_scores.http");
const WORD: &[u8] = include_bytes!("vllm/word.http");
const CHAT_TOO_LONG: &[u8] = include_bytes!("vllm/chat_too_long.http");
/// From token ids: the same, and the probabilities of named tokens.
const TOKENS: &[u8] = include_bytes!("vllm/tokens.http");
const TOKENS_COUNT: &[u8] = include_bytes!("vllm/tokens_count.http");
const TOKENS_LISTED: &[u8] = include_bytes!("vllm/tokens_listed.http");
const TOKENS_SCORES: &[u8] = include_bytes!("vllm/tokens_scores.http");

const PROMPT_TOKENS: usize = 68;

fn vllm(asked: &Asked, text: &'static [u8]) -> Reply {
    let body = &asked.body;
    let (is_text, is_named) = (body["stream"] == true, body["logprob_token_ids"].is_array());
    Reply::bytes(match asked.path.as_str() {
        "/v1/models" => MODELS,
        "/version" => VERSION,
        "/health" => HEALTH,
        "/v1/chat/completions" if is_text => text,
        "/v1/chat/completions" if body["logprobs"] == true => CHAT_SCORES,
        "/v1/chat/completions" if body["structured_outputs"].is_object() => WORD,
        "/v1/chat/completions" => CHAT_COUNT,
        "/v1/completions" if is_text => TOKENS,
        "/v1/completions" if is_named => TOKENS_SCORES,
        "/v1/completions" if body["logprobs"].is_number() => TOKENS_LISTED,
        "/v1/completions" => return counted(body),
        _ => {
            return Reply::with_status(
                "404 Not Found",
                "application/json",
                r#"{"detail":"Not Found"}"#,
            );
        }
    })
}

/// The answer to one token, with the count of the prompt that was sent: the worker's first prompt does not have the
/// recorded length.
fn counted(body: &Value) -> Reply {
    let recorded = String::from_utf8_lossy(TOKENS_COUNT);
    let answer = recorded.split_once("\r\n\r\n").expect("a head and a body").1;
    let mut answer: Value = serde_json::from_str(answer).expect("it was JSON");
    answer["usage"]["prompt_tokens"] = json!(body["prompt"].as_array().map_or(0, Vec::len));
    Reply::json(&answer)
}

/// One of our tokenizers; vLLM accepts any ids.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/llama")
}

async fn connected(server: &Server, tokenizer: Option<PathBuf>) -> OpenAiBackend {
    let config = OpenAiConfig { tokenizer, ..config(&server.url) };
    OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A group whose prompt has `n` tokens.
fn of_tokens(n: usize, readout: Readout) -> (SampleGroup, Vec<u32>) {
    let tokenizer = Tokenizer::load(&folder()).expect("it is a fixture");
    let mut group = group(1, readout);
    group.messages[0].spans.truncate(1);
    let texts = (0..400).map(|length| "q".repeat(length)).chain((0..400).map(|n| "a ".repeat(n)));
    for text in texts {
        group.messages[0].spans[0].text = text.into();
        let tokens = tokenizer.encode(&engine_prompt(&group.messages)).expect("it has a template");
        if tokens.len() == n {
            return (group, tokens);
        }
    }
    panic!("no text has {n} tokens");
}

fn assert_read_out(scores: &Scores, n_scores: usize) {
    let distributions = scores.score_distribution.as_ref().expect("they were read");
    assert_eq!((scores.scores.len(), distributions.len()), (n_scores, n_scores));
    for (score, distribution) in scores.scores.iter().zip(distributions) {
        assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // By its log-probabilities 8 had 0.57, 7 and 9 had 0.06 each, and the other single digits 0.03 or less.
        assert!(distribution[7] > 0.6 && distribution[6] > distribution[5], "{distribution:?}");
        assert!(*score > 6.5 && *score < 7.5, "{score}");
    }
    let mass = scores.readout_mass.expect("it was read");
    assert!(mass > 0.8 && mass < 0.9, "{mass}");
}

fn assert_is_its_text(sample: &Sample) {
    assert_eq!(sample.scores().expect("it has a box").scores, [8.0, 7.0]);
    assert_eq!((sample.critique.trim(), sample.finish), ("The first is right.", Finish::Box));
    // The box closes with its nineteenth token; the worker did not wait for what followed.
    assert_eq!((sample.prompt_tokens, sample.generated_tokens), (68, 19));
}

#[tokio::test]
async fn what_vllm_is_and_can_do_is_found_out() {
    let server = Server::start(|asked| vllm(asked, CHAT)).await;
    for (tokenizer, prompts) in [(None, "text"), (Some(folder()), "tokens")] {
        let info = connected(&server, tokenizer).await.info();
        assert_eq!((info.model.as_str(), info.context_tokens, info.capacity), ("judge", 2048, 32));
        assert_eq!(info.numerics, format!("upstream:vllm:0.32.0:{prompts}"));
        assert_eq!(info.reproducible, Reproducible::None);
        let can = info.capabilities;
        assert!(can.seeds && can.cancel && can.distributions && can.log_probabilities);
        assert_eq!(
            (can.token_prompts, can.constrained_output),
            (prompts == "tokens", prompts == "text")
        );
    }
}

#[tokio::test]
async fn a_text_that_vllm_streamed_becomes_a_sample_with_its_counts() {
    let server = Server::start(|asked| vllm(asked, CHAT)).await;
    let events = draw(&connect(&server.url).await, group(2, Readout::Free)).await;
    assert_eq!(events[0], BackendEvent::Accepted { prompt_tokens: 68, cached_tokens: 0 });
    let drawn = samples(&events);
    assert_eq!(drawn.len(), 2);
    drawn.into_iter().for_each(assert_is_its_text);
    let asked = &server.asked_for_texts()[0].body;
    assert_eq!(
        asked["stream_options"],
        json!({"include_usage": true, "continuous_usage_stats": true})
    );
    assert_eq!((&asked["top_k"], &asked["n"]), (&json!(-1), &json!(1)));
}

#[tokio::test]
async fn scores_are_read_from_the_log_probabilities_of_a_conversation_that_vllm_continues() {
    let server = Server::start(|asked| vllm(asked, CHAT)).await;
    let events = draw(&connect(&server.url).await, group(1, Readout::Expected)).await;
    let drawn = samples(&events);
    assert_read_out(drawn[0].scores().expect("it has scores"), 2);
    let asked = server.asked();
    let continued = asked.iter().find(|asked| asked.body["continue_final_message"] == true);
    let messages = continued.expect("it was asked").body["messages"].clone();
    let begun =
        messages.as_array().and_then(|turns| turns.last()).expect("a turn")["content"].clone();
    let begun = begun.as_str().expect("a text");
    assert!(begun.starts_with("The first is right.") && begun.ends_with("\\boxed{"), "{begun:?}");
}

#[tokio::test]
async fn token_ids_go_to_vllm_as_they_are_and_its_text_and_named_tokens_are_read() {
    let server = Server::start(|asked| vllm(asked, CHAT)).await;
    let backend = connected(&server, Some(folder())).await;
    let (free, tokens) = of_tokens(PROMPT_TOKENS, Readout::Free);
    let events = draw(&backend, free).await;
    assert_eq!(events[0], BackendEvent::Accepted { prompt_tokens: 68, cached_tokens: 0 });
    assert_is_its_text(samples(&events)[0]);
    assert_eq!(server.asked_for_texts()[0].body["prompt"], json!(tokens));
    let (guided, _) = of_tokens(PROMPT_TOKENS, Readout::Expected);
    let events = draw(&backend, guided).await;
    assert_read_out(samples(&events)[0].scores().expect("it has scores"), 2);
    let (other, _) = of_tokens(PROMPT_TOKENS + 1, Readout::Free);
    let events = draw(&backend, other).await;
    let [BackendEvent::Failed { failure, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(failure.detail.contains("read a prompt of 68 tokens where 69 were sent"), "{failure}");
}

/// It stops counting once it knows that the text is too long.
#[tokio::test]
async fn a_text_beyond_vllms_context_is_too_long_by_as_much_as_it_tells() {
    let server = Server::start(|asked| vllm(asked, CHAT_TOO_LONG)).await;
    let events = draw(&connect(&server.url).await, group(2, Readout::Free)).await;
    let [BackendEvent::TooLong(too_long)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((too_long.prompt_tokens, too_long.limit_tokens), (2049, 2048 - 64));
}

#[tokio::test]
async fn a_stream_of_vllm_that_is_cut_is_no_sample() {
    for tenth in [1, 5, 8] {
        let server =
            Server::start(move |asked| vllm(asked, &CHAT[..CHAT.len() * tenth / 10])).await;
        let events = draw(&connect(&server.url).await, group(1, Readout::Free)).await;
        assert!(samples(&events).is_empty(), "{events:?}");
    }
}
