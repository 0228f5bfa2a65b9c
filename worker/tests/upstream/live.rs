//! Real servers. `make upstream-tests` installs them and sets the variables; without those, nothing here runs.

use std::path::PathBuf;

use jury_engine::EngineConfig;
use jury_grm::domain::{Finish, Readout, Sample, Settings};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::engine::{EngineBackend, EngineBackendConfig};
use jury_worker::backend::meta::MetaBackend;
use jury_worker::backend::openai::{OpenAiBackend, OpenAiConfig, OpenAiMeta, metric};
use jury_worker::backend::scripted::example_ranking;
use jury_worker::backend::{Backend, BackendEvent, GroupEvents};

use crate::programs::{self, Program, named};
use crate::{config, draw, group, samples, start};

pub(crate) fn model() -> PathBuf {
    named("JURY_TEST_MODEL")
}

/// A llama-server that serves the test model.
pub(crate) fn llama_server(slots: u32) -> Program {
    programs::llama_server(&model(), "judge", slots)
}

pub(crate) async fn connect(server: &Program, tokenizer: Option<PathBuf>) -> OpenAiBackend {
    let config = OpenAiConfig { tokenizer, ..config(&server.url) };
    OpenAiBackend::connect(config).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Short critiques, for slow machines.
pub(crate) fn brief(n_samples: u32, readout: Readout) -> SampleGroup {
    let group = group(n_samples, readout);
    let settings = Settings { max_critique_tokens: 24, ..group.settings.clone() };
    SampleGroup { settings, ..group }
}

/// A group whose critique is so short that texts of equal models are equal.
pub(crate) fn short(readout: Readout, max_critique_tokens: u32) -> SampleGroup {
    let group = group(2, readout);
    let settings = Settings { max_critique_tokens, temperature: 0.0, ..group.settings.clone() };
    SampleGroup { settings, ..group }
}

#[tokio::test]
#[ignore = "needs a real llama-server: make upstream-tests"]
async fn llama_server_draws_free_and_guided_samples_from_tokens_and_from_text() {
    let server = llama_server(2);
    for tokenizer in [Some(model()), None] {
        let backend = connect(&server, tokenizer.clone()).await;
        assert!(backend.info().capabilities.distributions);
        for readout in [Readout::Free, Readout::Sampled, Readout::Expected] {
            let events = draw(&backend, brief(2, readout)).await;
            assert!(
                matches!(events[0], BackendEvent::Accepted { prompt_tokens: 20.., .. }),
                "{events:?}"
            );
            let drawn = samples(&events);
            assert_eq!(drawn.len(), 2, "{events:?}");
            for sample in drawn {
                assert!(sample.generated_tokens > 0 && sample.prompt_tokens > 20);
                let distributions =
                    sample.scores().and_then(|scores| scores.score_distribution.as_ref());
                for distribution in distributions.into_iter().flatten() {
                    assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                }
                assert_eq!(
                    distributions.is_some(),
                    sample.scores().is_some() && readout.is_guided()
                );
            }
        }
    }
}

/// The same model, prompt and critique: only the arithmetic differs.
#[tokio::test]
#[ignore = "needs a real llama-server: make upstream-tests"]
async fn scores_read_from_llama_server_are_those_that_the_engine_reads() {
    let server = llama_server(1);
    reads_what_the_engine_reads(&connect(&server, Some(model())).await).await;
}

#[tokio::test]
#[ignore = "needs a real vLLM: make upstream-tests"]
async fn scores_read_from_vllm_are_those_that_the_engine_reads() {
    let server = programs::vllm(&named("JURY_VLLM_MODEL"), "judge", &[]);
    for tokenizer in [Some(model()), None] {
        let backend = connect(&server, tokenizer).await;
        assert!(backend.info().numerics.starts_with("upstream:vllm:"));
        for readout in [Readout::Free, Readout::Sampled] {
            let events = draw(&backend, short(readout, 24)).await;
            assert_eq!(samples(&events).len(), 2, "{events:?}");
        }
        if backend.info().capabilities.token_prompts {
            reads_what_the_engine_reads(&backend).await;
        }
    }
}

/// Within a tenth, if scores are a few units apart: the engine multiplies with fewer bits.
#[tokio::test]
#[ignore = "needs a real vLLM: make upstream-tests"]
async fn scores_of_a_reward_model_behind_vllm_are_those_that_the_engine_gives() {
    let folder = named("JURY_VLLM_REWARD_MODEL");
    let server = programs::vllm(&folder, "judge", &["--runner", "pooling"]);
    let embedded = EngineBackendConfig {
        path: folder.clone(),
        name: "judge".to_owned(),
        adapters: Vec::new(),
        digest: "00".repeat(32),
        engine: EngineConfig::default(),
        max_queued_samples: 64,
    };
    let embedded = MetaBackend::load(embedded, None).expect("the fixture loads");
    let mut request = example_ranking(4);
    request.messages[0].spans.truncate(1);
    request.messages[0].spans[0].text = "the inn".into();
    let texts = ["the hat", "a tin", "in the tin <end_of_turn>", "the inn in the tin"];
    for (said, text) in request.trajectories.iter_mut().zip(texts) {
        said.text = text.to_owned();
    }
    let ours = embedded.rank(request.clone()).await.expect("the engine ranks");
    let config = OpenAiConfig { tokenizer: Some(folder), ..config(&server.url) };
    let upstream = OpenAiMeta::connect(config).await.unwrap_or_else(|error| panic!("{error}"));
    let theirs = upstream.rank(request).await.expect("vLLM ranks");
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        assert_eq!(ours.index, theirs.index);
        let (ours, theirs) = (ours.outcome.expect("a score"), theirs.outcome.expect("a score"));
        println!("engine {ours}, vLLM {theirs}");
        assert!((ours - theirs).abs() < 0.1, "{ours} and {theirs}");
    }
}

async fn reads_what_the_engine_reads(upstream: &OpenAiBackend) {
    let engine = EngineBackend::load(EngineBackendConfig {
        path: model(),
        name: "judge".to_owned(),
        digest: "00".repeat(32),
        adapters: Vec::new(),
        engine: EngineConfig::default(),
        max_queued_samples: 8,
    })
    .expect("the test model loads");
    let of = |events: Vec<BackendEvent>| -> Vec<Sample> {
        samples(&events).into_iter().cloned().collect()
    };
    let theirs = of(draw(upstream, short(Readout::Expected, 1)).await);
    let (events, mut receiver) = GroupEvents::channel(&short(Readout::Expected, 1));
    let _handle = engine.start(short(Readout::Expected, 1), events);
    let mut drawn = Vec::new();
    while let Some(event) = receiver.recv().await {
        drawn.push(event);
    }
    let ours = of(drawn);
    assert_eq!(theirs[0].finish, Finish::Limit);
    assert_eq!(
        (&theirs[0].critique, theirs[0].prompt_tokens),
        (&ours[0].critique, ours[0].prompt_tokens)
    );
    let (theirs, ours) = (
        theirs[0].scores().expect("both read a score"),
        ours[0].scores().expect("both read a score"),
    );
    assert!(theirs.forced && ours.forced);
    for (theirs, ours) in theirs.scores.iter().zip(&ours.scores) {
        assert!((theirs - ours).abs() < 0.5, "{theirs} and {ours}");
    }
    let (theirs, ours) = (
        theirs.readout_mass.expect("both read a score"),
        ours.readout_mass.expect("both read a score"),
    );
    assert!((theirs - ours).abs() < 0.1, "{theirs} and {ours}");
}

/// Shown only for this case: with one slot, which batches nothing, and a prompt that is in the server's cache.
#[tokio::test]
#[ignore = "needs a real llama-server: make upstream-tests"]
async fn llama_server_with_one_slot_repeats_a_seed() {
    let server = llama_server(1);
    let backend = connect(&server, Some(model())).await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        let events = draw(&backend, brief(1, Readout::Free)).await;
        texts.push(samples(&events)[0].clone());
    }
    assert_eq!(texts[1].critique, texts[2].critique);
    assert_eq!(texts[1].generated_tokens, texts[2].generated_tokens);
}

#[tokio::test]
#[ignore = "needs a real llama-server: make upstream-tests"]
async fn a_cancelled_sample_stops_in_llama_server() {
    let server = llama_server(1);
    let backend = connect(&server, Some(model())).await;
    cancel_and_draw(&backend).await;
    let page = metrics(&server.url).await;
    let predicted =
        page.lines().find_map(|line| line.strip_prefix("llamacpp:tokens_predicted_total "));
    let predicted: f64 = predicted.and_then(|count| count.parse().ok()).expect("it counts tokens");
    assert!(predicted < 1000.0, "{predicted} tokens were generated");
}

/// With one slot, and by the server's own count: SmolLM2 writes some hundred tokens before it ends by itself.
#[tokio::test]
#[ignore = "needs a real vLLM: make upstream-tests"]
async fn a_cancelled_sample_stops_in_vllm() {
    let server = programs::vllm(&named("JURY_VLLM_MODEL"), "judge", &["--max-num-seqs", "1"]);
    let backend = connect(&server, Some(model())).await;
    let generated = async || {
        let page = metrics(&server.url).await;
        metric(&page, "vllm:generation_tokens_total").expect("it counts tokens")
    };
    let before = generated().await;
    cancel_and_draw(&backend).await;
    let spent = generated().await - before;
    println!("{spent} tokens were generated");
    assert!((8.0..64.0).contains(&spent), "{spent} tokens were generated");
    assert_eq!(metric(&metrics(&server.url).await, "vllm:num_requests_running"), Some(0.0));
}

/// Cancels a long sample, and draws short ones from a server with one slot: they could not be drawn while the first
/// continues.
pub(crate) async fn cancel_and_draw(backend: &OpenAiBackend) {
    let mut long = group(1, Readout::Free);
    long.settings.max_critique_tokens = 1900;
    let (handle, mut receiver) = start(backend, long);
    assert!(matches!(receiver.recv().await, Some(BackendEvent::Accepted { .. })));
    drop(handle);
    let events = draw(backend, short(Readout::Free, 4)).await;
    assert_eq!(samples(&events).len(), 2);
}

pub(crate) async fn metrics(url: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(url.trim_start_matches("http://"))
        .await
        .expect("it answers");
    connection
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await
        .expect("llama-server answers");
    let mut page = String::new();
    connection.read_to_string(&mut page).await.expect("llama-server answers");
    page
}
