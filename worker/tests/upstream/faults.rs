//! Faults that upstreams must not have but sometimes do: each becomes a typed failure, never a number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jury_grm::domain::{Failure, FailureKind, Finish, Readout};
use jury_worker::backend::BackendEvent;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig};

use crate::server::{Reply, Server};
use crate::{BOX, config, connect, draw, group, llama_cpp, samples};

/// How a group's only sample fails if the request for its text gets `reply`, and how often it was requested.
async fn failure(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (String, usize) {
    let (failure, asked) = fails(reply).await;
    assert_eq!(failure.kind, FailureKind::Worker);
    (failure.detail, asked)
}

async fn fails(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Failure, usize) {
    let server = Server::start(move |asked| llama_cpp(asked, &reply)).await;
    let config = OpenAiConfig { stall: Duration::from_millis(300), ..config(&server.url) };
    let backend = OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"));
    let events = draw(&backend, group(1, Readout::Free)).await;
    assert!(samples(&events).is_empty(), "{events:?}");
    let Some(BackendEvent::Failed { index: 0, failure }) = events.last() else {
        panic!("{events:?}")
    };
    (failure.clone(), server.asked_for_texts().len())
}

#[tokio::test]
async fn what_is_no_answer_fails_the_sample_at_once() {
    const TEXT: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
    type Make = fn() -> Reply;
    let cases: [(Make, &str); 12] = [
        (
            || Reply::with_status("200 OK", "text/html", "<html><h1>Login</h1>"),
            "text/html instead of JSON",
        ),
        (|| Reply::events(&["<html>"]), "cannot be used"),
        (
            || Reply::bytes("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n<html>\n"),
            "<html>",
        ),
        (|| Reply::json(&serde_json::json!({"error": {"message": "CUDA error"}})), "CUDA error"),
        (|| Reply::events(&[TEXT, r#"{"error":{"message":"engine died"}}"#]), "engine died"),
        (|| Reply::json(&serde_json::json!({"choices": [{"text": "\\boxed{8, 7}"}]})), "no stream"),
        (
            || Reply::events(&[r#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}]}"#]),
            "sent 2",
        ),
        (|| Reply::events(&[TEXT, "{\"choices\":[{\"de"]), "cannot be used"),
        (|| Reply::events(&["[DONE]"]), "ended before"),
        (
            || Reply::events(&[r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, "[DONE]"]),
            "no text",
        ),
        (|| Reply::events(&[r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#]), "abort"),
        (|| Reply::with_status("301 Moved", "text/html", "elsewhere"), "answered 301"),
    ];
    for (make, said) in cases {
        let (detail, _) = failure(make).await;
        assert!(detail.contains(said), "{detail:?} says nothing of {said:?}");
    }
}

#[tokio::test]
async fn what_the_upstream_refuses_is_not_asked_again_and_is_no_loss_of_a_worker() {
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "422 Unprocessable",
    ] {
        let reply =
            move || Reply::with_status(status, "application/json", r#"{"error":{"message":"no"}}"#);
        let (Failure { kind, detail }, asked) = fails(reply).await;
        assert_eq!(kind, FailureKind::Rejected, "{status}");
        assert!(detail.contains(&status[..3]) && detail.ends_with("no"), "{detail}");
        assert_eq!(asked, 1, "{status}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_is_no_sample() {
    // The recorded box closes in the last tenth; half of the cuts are in the middle of a line.
    for tenth in 0..9 {
        let (detail, asked) = failure(move || Reply::bytes(&BOX[..BOX.len() * tenth / 10])).await;
        assert!(
            detail.contains("ended before") || detail.contains("cannot be"),
            "{tenth}: {detail}"
        );
        assert!(asked >= 1, "{tenth}");
    }
}

#[tokio::test]
async fn a_stream_that_stalls_fails_within_the_time_for_that() {
    let (detail, asked) = failure(|| Reply::bytes(&BOX[..BOX.len() / 2]).and_hang()).await;
    assert!(detail.contains("sent nothing for 300ms"), "{detail}");
    assert_eq!(asked, 1);
    let (detail, _) = failure(|| Reply::bytes("").and_hang()).await;
    assert!(detail.contains("sent nothing for 300ms"), "{detail}");
}

#[tokio::test]
async fn an_upstream_that_is_busy_is_asked_again_and_the_sample_is_drawn() {
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        llama_cpp(asked, || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::with_status("503 Service Unavailable", "text/plain", "loading"),
            1 => Reply::bytes(&BOX[..BOX.len() / 2]),
            _ => Reply::bytes(BOX),
        })
    })
    .await;
    let events = draw(&connect(&server.url).await, group(1, Readout::Free)).await;
    assert_eq!(samples(&events)[0].scores().unwrap().scores, [8.0, 7.0]);
    assert_eq!(server.asked_for_texts().len(), 3);
}

#[tokio::test]
async fn an_upstream_that_stays_broken_is_asked_three_times() {
    let (detail, asked) = failure(|| Reply::with_status("500 Oops", "text/plain", "oops")).await;
    assert!(detail.contains("answered 500: oops"), "{detail}");
    assert_eq!(asked, 3);
}

#[tokio::test]
async fn a_stream_that_goes_on_without_text_fails_like_one_that_is_silent() {
    const TEXT: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    const EMPTY: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}\n\n";
    for babble in [EMPTY, ": ping\n\n"] {
        for begun in [&[][..], &[TEXT]] {
            let (detail, asked) = failure(move || Reply::events(begun).and_babble(babble)).await;
            assert!(detail.contains("events without any text for 300ms"), "{detail}");
            assert_eq!(asked, 1);
        }
    }
}

#[tokio::test]
async fn a_text_that_has_ended_is_a_sample_however_the_stream_goes_on() {
    const WHOLE: &str =
        r#"{"choices":[{"index":0,"delta":{"content":"nothing more"},"finish_reason":"stop"}]}"#;
    type Make = fn() -> Reply;
    let ends: [Make; 3] = [
        || Reply::events(&[WHOLE]),
        || Reply::events(&[WHOLE]).and_hang(),
        || Reply::events(&[WHOLE]).and_babble(": ping\n\n"),
    ];
    for end in ends {
        let server = Server::start(move |asked| llama_cpp(asked, end)).await;
        let config = OpenAiConfig { stall: Duration::from_millis(300), ..config(&server.url) };
        let backend = OpenAiBackend::connect(config).await.unwrap();
        let events = draw(&backend, group(1, Readout::Free)).await;
        let [sample] = samples(&events)[..] else { panic!("{events:?}") };
        assert_eq!(sample.finish, Finish::EndOfText);
        assert_eq!(server.asked_for_texts().len(), 1);
    }
}

#[tokio::test]
async fn an_upstream_that_ignores_its_limit_is_cut_off() {
    let endless = || {
        let text =
            r#"{"choices":[{"index":0,"delta":{"content":"word "}}],"usage":{"prompt_tokens":9}}"#;
        Reply::events(&[text; 500]).and_hang()
    };
    let server = Server::start(move |asked| llama_cpp(asked, endless)).await;
    let events = draw(&connect(&server.url).await, group(1, Readout::Free)).await;
    assert_eq!(samples(&events)[0].generated_tokens, 65);
    server.wait_for_closed(1).await;
}

#[tokio::test]
async fn scores_in_a_thought_are_never_read() {
    for field in ["reasoning_content", "reasoning"] {
        let thought =
            format!(r#"{{"choices":[{{"delta":{{"{field}":"Scores: \\boxed{{8, 7}}"}}}}]}}"#);
        let reply = move || {
            let end = r#"{"choices":[{"delta":{"content":"."},"finish_reason":"stop"}]}"#;
            Reply::events(&[&thought, end, "[DONE]"])
        };
        let server = Server::start(move |asked| llama_cpp(asked, &reply)).await;
        let events = draw(&connect(&server.url).await, group(1, Readout::Free)).await;
        assert_eq!(samples(&events)[0].failure().unwrap().kind, FailureKind::NoBox);
    }
}

#[tokio::test]
async fn guided_scores_are_never_taken_from_text_where_probabilities_are_missing() {
    let server = Server::start(|asked| match asked.body["logprobs"] == true {
        true => Reply::bytes(crate::COUNT),
        false => llama_cpp(asked, || Reply::bytes(BOX)),
    })
    .await;
    let backend = connect(&server.url).await;
    let events = draw(&backend, group(1, Readout::Expected)).await;
    let Some(BackendEvent::Failed { failure, .. }) = events.last() else { panic!("{events:?}") };
    assert!(failure.detail.contains("log-probabilities"), "{failure}");
}
