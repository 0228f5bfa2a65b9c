//! The hidden state that a head of the caller's gets.

use std::fs::File;

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use jury_engine::{EngineConfig, Finish, ReadoutMode, SampleSpec};

use crate::support::{
    PROMPTS, config, drive, load, model_path, outputs, run, sample, scores, user,
};

/// Greatest difference of a logit: the engine rounds the state to 8 bits before the product, for which it is small, and
/// logits span some twenty.
const MOST_LOGIT_GAP: f32 = 0.7;

fn hidden(seed: u64, max_tokens: usize) -> SampleSpec {
    SampleSpec { last_hidden: true, ..sample(seed, 0.8, max_tokens) }
}

fn bits(hidden: Option<&Vec<f32>>) -> Vec<u32> {
    hidden.expect("asked for").iter().map(|number| number.to_bits()).collect()
}

#[test]
fn a_hidden_state_has_the_same_bits_whatever_decodes_beside_it() {
    let spec = || SampleSpec { readout: Some(scores(ReadoutMode::Expected)), ..hidden(3, 5) };
    let mut engine = load(&config(1));
    let [one, other] = [PROMPTS[0], PROMPTS[7]].map(|text| engine.encode(&user(text)).unwrap());
    let width = engine.model().embedding_length;
    let alone: Vec<_> = [hidden(1, 6), spec(), hidden(2, 0)]
        .into_iter()
        .map(|spec| bits(run(&mut engine, one.clone(), vec![spec])[0].last_hidden.as_ref()))
        .collect();
    assert!(alone.iter().all(|state| state.len() == width));
    assert!(alone[0] != alone[1] && alone[1] != alone[2]);

    let mut engine = load(&EngineConfig { prefill_chunk: 9, max_sequences: 4, ..config(2) });
    let beside = (0..3).map(|seed| sample(seed, 0.9, 9)).collect();
    engine.submit(jury_engine::Group { prompt: other, samples: beside }).unwrap();
    let samples = vec![hidden(1, 6), spec(), hidden(2, 0), sample(4, 0.5, 3)];
    let group = engine.submit(jury_engine::Group { prompt: one, samples }).unwrap();
    let outputs = outputs(drive(&mut engine));
    for (index, alone) in alone.iter().enumerate() {
        let together = &outputs[&(group, index)].last_hidden;
        assert!(bits(together.as_ref()) == *alone, "sample {index}");
    }
    assert_eq!(outputs[&(group, 3)].last_hidden, None, "it did not ask");
}

#[test]
fn a_prompt_s_hidden_state_times_the_head_gives_its_logits() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(PROMPTS[3])).unwrap();
    let logits = engine.logits_after(&prompt).unwrap();
    let before = engine.counters();
    let output = run(&mut engine, prompt, vec![hidden(0, 0)]).remove(0);
    assert_eq!((output.text.as_str(), output.generated_tokens), ("", 0));
    assert_eq!(output.finish, Finish::Limit);
    let after = engine.counters();
    assert_eq!(after.prefill_tokens - before.prefill_tokens, 1, "the rest was in the cache");
    assert_eq!(
        (after.decode_steps, after.decode_tokens),
        (before.decode_steps, before.decode_tokens)
    );

    let state = output.last_hidden.unwrap();
    let mut file = File::open(model_path()).unwrap();
    let content = Content::read(&mut file).unwrap();
    // This model multiplies with its embedding.
    let head = content.tensor(&mut file, "token_embd.weight", &Device::Cpu).unwrap();
    let head: Vec<Vec<f32>> = head.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
    let mut worst = 0.0_f32;
    for (weights, logit) in head.iter().zip(&logits) {
        let product: f32 = weights.iter().zip(&state).map(|(weight, number)| weight * number).sum();
        worst = worst.max((product - logit).abs());
    }
    println!("worst difference of a logit: {worst}");
    assert!(worst < MOST_LOGIT_GAP, "{worst}");
}
