//! A real gateway, smg, in front of a real llama-server (`make upstream-tests`): what it forwards, and how a worker
//! handles what it does not forward.

use std::process::Command;

use jury_grm::domain::Readout;
use jury_worker::backend::Backend;
use jury_worker::backend::openai::{Flavour, OpenAiBackend, OpenAiConfig, metric};

use crate::live::{brief, cancel_and_draw, llama_server, metrics, model};
use crate::programs::{Program, free_port, named, start};
use crate::{config, draw, samples};

fn smg(upstream: &Program) -> Program {
    let (port, metrics) = (free_port(), free_port());
    // It logs to stdout.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 1>&2"]).arg(named("JURY_SMG"));
    command.args(["launch", "--worker-urls", &upstream.url, "--host", "127.0.0.1"]);
    command.args([
        "--port",
        &port,
        "--prometheus-host",
        "127.0.0.1",
        "--prometheus-port",
        &metrics,
    ]);
    let (process, _) = start(command, "Workflow completed");
    Program { process, url: format!("http://127.0.0.1:{port}") }
}

/// A worker behind the gateway, which does not report the context length.
fn behind(gateway: &Program, flavour: Option<Flavour>) -> OpenAiConfig {
    OpenAiConfig { flavour, context_tokens: Some(2048), ..config(&gateway.url) }
}

#[tokio::test]
#[ignore = "needs a real llama-server and smg: make upstream-tests"]
async fn a_server_behind_a_gateway_is_any_server_and_draws_from_text() {
    let server = llama_server(2);
    let gateway = smg(&server);
    let backend = OpenAiBackend::connect(behind(&gateway, None)).await;
    let backend = backend.unwrap_or_else(|error| panic!("{error}"));
    let told = backend.info();
    println!("{}: {:?}", told.numerics, told.capabilities);
    assert_eq!(told.numerics, "upstream:openai:unknown:text");
    assert!(told.capabilities.many_per_call && told.capabilities.log_probabilities);
    assert!(!told.capabilities.seeds && !told.capabilities.cancel);
    let events = draw(&backend, brief(2, Readout::Free)).await;
    let drawn = samples(&events);
    assert_eq!(drawn.len(), 2, "{events:?}");
    for sample in drawn {
        assert!((1..=24).contains(&sample.generated_tokens), "{sample:?}");
        assert!(sample.prompt_tokens > 20, "{sample:?}");
    }
}

#[tokio::test]
#[ignore = "needs a real llama-server and smg: make upstream-tests"]
async fn a_server_that_is_named_behind_a_gateway_reads_scores_too() {
    let server = llama_server(2);
    let gateway = smg(&server);
    let backend = OpenAiBackend::connect(behind(&gateway, Some(Flavour::LlamaCpp))).await;
    let backend = backend.unwrap_or_else(|error| panic!("{error}"));
    assert!(backend.info().capabilities.distributions, "{:?}", backend.info());
    let events = draw(&backend, brief(2, Readout::Expected)).await;
    for sample in samples(&events) {
        let scores = sample.scores().unwrap_or_else(|| panic!("{events:?}"));
        assert!(scores.score_distribution.is_some(), "{scores:?}");
    }
    // The gateway accepts only text.
    let with_tokens =
        OpenAiConfig { tokenizer: Some(model()), ..behind(&gateway, Some(Flavour::LlamaCpp)) };
    let refused = OpenAiBackend::connect(with_tokens).await.err().expect("no token ids pass");
    println!("{refused}");
}

#[tokio::test]
#[ignore = "needs a real llama-server and smg: make upstream-tests"]
async fn a_cancel_passes_a_gateway() {
    let server = llama_server(1);
    let gateway = smg(&server);
    let backend = OpenAiBackend::connect(behind(&gateway, None)).await;
    cancel_and_draw(&backend.unwrap_or_else(|error| panic!("{error}"))).await;
    let page = metrics(&server.url).await;
    let predicted = metric(&page, "llamacpp:tokens_predicted_total").expect("it counts tokens");
    assert!(predicted < 1000.0, "{predicted} tokens were generated");
}
