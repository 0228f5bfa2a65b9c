//! Seeds and salts of a real vLLM (`make upstream-tests`), checked by its own counts and texts.

use jury_grm::domain::{Readout, Sample};
use jury_grm::prompt::{Span, Trust};
use jury_proto::convert::SampleGroup;
use jury_worker::backend::openai::{OpenAiBackend, metric};

use crate::live::{brief, connect, metrics, model};
use crate::programs::{self, Program, named};
use crate::{draw, samples};

/// Tokens of a block of its cache, the smallest size that it accepts on a CPU: prompts share only whole blocks.
const BLOCK: u32 = 128;

/// A sample of a prompt of many blocks, for a tenant with this salt.
fn long(salt: Option<&str>) -> SampleGroup {
    let mut group = brief(1, Readout::Free);
    let text =
        "The capital of France is Paris, and has been for most of a thousand years. ".repeat(20);
    let span = Span { text: text.into(), trust: Trust::Trusted, response: None };
    group.messages[0].spans.insert(0, span);
    group.cache_salt = salt.map(str::to_owned);
    group
}

async fn one(backend: &OpenAiBackend, group: SampleGroup) -> Sample {
    let events = draw(backend, group).await;
    let drawn = samples(&events);
    // Such a short text need not have scores.
    assert!(drawn.len() == 1 && !drawn[0].critique.is_empty(), "{events:?}");
    drawn[0].clone()
}

#[tokio::test]
#[ignore = "needs a real vLLM: make upstream-tests"]
async fn vllm_shares_prompts_within_a_salt_alone_and_with_one_place_repeats_a_seed() {
    let alone = ["--max-num-seqs", "1", "--block-size", &BLOCK.to_string()];
    let server = programs::vllm(&named("JURY_VLLM_MODEL"), "judge", &alone);
    let backend = connect(&server, Some(model())).await;
    shares_prompts_within_a_salt_alone(&backend, &server).await;
    repeats_a_seed(&backend).await;
}

async fn shares_prompts_within_a_salt_alone(backend: &OpenAiBackend, server: &Program) {
    let hits = async || {
        let page = metrics(&server.url).await;
        metric(&page, "vllm:prefix_cache_hits_total").expect("it counts hits")
    };
    let mut seen = Vec::new();
    for salt in [Some("a"), Some("a"), Some("b"), None, Some("b"), None] {
        let before = hits().await;
        let sample = one(backend, long(salt)).await;
        assert!(sample.prompt_tokens > 2 * BLOCK, "{sample:?}");
        // The last token is computed whatever the cache contains.
        let whole_blocks = f64::from((sample.prompt_tokens - 1) / BLOCK * BLOCK);
        seen.push((hits().await - before) / whole_blocks);
    }
    println!("of the whole blocks of the prompt were cached: {seen:?}");
    assert_eq!(seen, [0.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
}

/// Shown only for this case: with one slot, which batches nothing, and a prompt that is in the server's cache.
async fn repeats_a_seed(backend: &OpenAiBackend) {
    let mut texts = Vec::new();
    for seed in [5, 6, 5, 5 + (1 << 40)] {
        let mut group = long(None);
        group.samples[0].seed = seed;
        texts.push(one(backend, group).await.critique);
    }
    assert_eq!(texts[0], texts[2]);
    assert_ne!(texts[0], texts[1]);
    // On a CPU, vLLM uses only the lowest 32 bits.
    assert_ne!(texts[0], texts[3]);
}
