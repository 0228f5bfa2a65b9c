//! Memory of many samples of a long prompt: the prompt's keys and values are stored once, however many samples it has.
//!
//! The peak is that of the whole process, so `make test-models` runs this test in a separate process.

use std::fs;

use jury_engine::measure::{Workload, prompt, run};
use jury_engine::{EngineConfig, inspect};

use crate::support::{cached, load_file};

const FILE: &str = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf";
const PROMPT_TOKENS: usize = 4096;
const SAMPLES: usize = 32;
const GENERATED_TOKENS: usize = 512;
/// Limit for everything: weights, keys and values, the program.
const MOST_BYTES: u64 = 4 << 30;
/// Limit for a process that has loaded nothing.
const MOST_BYTES_BEFORE: u64 = 256 << 20;

/// The process's peak memory in bytes: the kernel's high-water mark.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[test]
#[ignore = "needs a further model and minutes: `make test-models` runs it"]
fn a_prompt_of_4096_tokens_with_32_samples_of_512_fits_4_gib_with_the_weights() {
    let before = peak_bytes();
    assert!(before < MOST_BYTES_BEFORE, "{} MiB before it starts: run it alone", mebibytes(before));
    let path = cached(FILE, "`make test-models` fetches it");
    let info = inspect(&path).unwrap();
    let kv_bytes = info.kv_bytes_needed(PROMPT_TOKENS, SAMPLES, GENERATED_TOKENS);
    // Not a page more than needed: a sample without room would wait, and `run` would report that as an error.
    let budget = EngineConfig { kv_budget_bytes: Some(kv_bytes), ..EngineConfig::default() };
    let mut engine = load_file(&path, &budget);
    let loaded = peak_bytes();
    let prompt = prompt(&engine, PROMPT_TOKENS, 1).unwrap();
    assert_eq!(prompt.len(), PROMPT_TOKENS);
    let work = Workload { prompt, samples: SAMPLES, generated: GENERATED_TOKENS, seed: 0 };
    let timing = run(&mut engine, &[work]).unwrap();
    let peak = peak_bytes();
    println!(
        "peak {} MiB ({} MiB when loaded), file {} MiB, keys and values {} MiB ({kv_bytes} bytes); \
         prefill {:.0} tokens/s, decoding {:.0} tokens/s, {:.0} s",
        mebibytes(peak),
        mebibytes(loaded),
        mebibytes(info.file_bytes),
        mebibytes(kv_bytes),
        timing.prefill_rate(),
        timing.decode_rate(),
        timing.seconds(),
    );
    // The first token of each comes from the prompt's logits.
    assert_eq!(timing.decode_tokens, (SAMPLES * (GENERATED_TOKENS - 1)) as u64);
    assert_eq!(timing.decode_tokens, timing.decode_tokens_asked);
    assert!(peak <= MOST_BYTES, "{} MiB", mebibytes(peak));
}
