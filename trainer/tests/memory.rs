//! Memory that a training step takes with a real model: `make test-models`. One test per process, because the peak is
//! per process.

#![allow(clippy::unwrap_used)] // Tests may.

use std::ops::ControlFlow;
use std::path::PathBuf;

use jury_trainer::model::{LoraConfig, Model, Sequence, Tuning};
use jury_trainer::optimiser::OptimiserConfig;
use jury_trainer::sft::{SftConfig, fine_tune};

/// Tokens of the sequence, and how many of them are trained on.
const TOKENS: usize = 1500;
const COMPLETION: usize = 300;

/// Peak memory of this process in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    kilobytes << 10
}

/// The peak of loading and one whole step, including the checkpoint.
fn peak_of_a_step(tuning: Tuning) -> f64 {
    let model: PathBuf =
        std::env::var_os("JURY_TRAINING_MODEL").expect("make test-models names it").into();
    let model = Model::load(&model, tuning, 1).unwrap();
    let tokens = (0..TOKENS as u32).map(|at| 1000 + at * 7 % 20_000).collect();
    let sequences = [Sequence { tokens, start: TOKENS - COMPLETION }];
    let optimiser = OptimiserConfig {
        learning_rate: 1e-5,
        warmup: 0,
        cosine_steps: None,
        weight_decay: 0.0,
        clip: 1.0,
    };
    let config = SftConfig { seed: 1, epochs: 1, batch: 1, checkpoint_every: 1, optimiser };
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let go_on = |_: &_| ControlFlow::Continue(());
    let run = fine_tune(&model, "model", &sequences, &config, &checkpoint, go_on).unwrap();
    assert!(run.is_complete && run.history[0].loss > 0.0);
    let gib = peak() as f64 / f64::from(1 << 30);
    println!("{TOKENS} tokens, {COMPLETION} of them learned: {gib:.1} GiB at most");
    gib
}

#[test]
#[ignore = "needs a model: make test-models"]
fn an_adapter_of_the_half_billion_model_learns_1500_tokens_in_12_gib() {
    assert!(peak_of_a_step(Tuning::Lora(LoraConfig::all_matrices())) < 12.0);
}

#[test]
#[ignore = "needs a model: make test-models"]
fn all_weights_of_the_half_billion_model_learn_1500_tokens() {
    assert!(peak_of_a_step(Tuning::Full) < 20.0);
}
