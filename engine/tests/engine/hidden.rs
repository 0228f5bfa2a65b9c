//! The hidden state that is returned for a head outside the engine: the one after all of a sample's text.

use std::fs::File;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use jury_engine::{DeviceKind, Engine, EngineConfig, Finish, Readout, ReadoutMode, SampleSpec};
use safetensors::SafeTensors;

use crate::families::{Expected, MOST_LOGIT_ERROR, fixture};
use crate::support::{
    PROMPTS, config, drive, load, load_file, model_path, outputs, run, sample, scores, user,
};

/// Greatest difference of a logit: the engine rounds the state to 8 bits before the product. This is small, since
/// logits span about twenty.
const MOST_LOGIT_GAP: f32 = 0.7;

fn hidden(seed: u64, max_tokens: usize) -> SampleSpec {
    SampleSpec { last_hidden: true, ..sample(seed, 0.8, max_tokens) }
}

fn bits(hidden: Option<&Vec<f32>>) -> Vec<u32> {
    hidden.expect("asked for").iter().map(|number| number.to_bits()).collect()
}

/// The tiny llama in floats on candle, whose states are exact, and the matrix of its head: its embedding table.
fn tiny_in_floats() -> (Engine, Vec<Vec<f32>>) {
    let folder = fixture("llama");
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let head = tensors.tensor("model.embed_tokens.weight").unwrap();
    let (numbers, width) = (head.data().as_chunks().0, head.shape()[1]);
    let numbers: Vec<f32> = numbers.iter().map(|&word| f32::from_le_bytes(word)).collect();
    let head = numbers.chunks_exact(width).map(<[f32]>::to_vec).collect();
    let config = EngineConfig { device: DeviceKind::CandleCpu, ..config(2) };
    (load_file(&folder, &config), head)
}

fn product(head: &[Vec<f32>], state: &[f32]) -> Vec<f32> {
    let row = |row: &Vec<f32>| row.iter().zip(state).map(|(weight, number)| weight * number).sum();
    head.iter().map(row).collect()
}

fn greatest_gap(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// One digit after a brace, or several with braces between.
fn digits(slots: usize, closing: &str) -> Readout {
    Readout {
        opening: Arc::new(|_| " {".to_owned()),
        slots,
        choices: (1..=9).map(|digit| digit.to_string()).collect(),
        separator: "}".to_owned(),
        closing: closing.to_owned(),
        mode: ReadoutMode::Expected,
    }
}

#[test]
fn a_prompt_s_state_times_the_head_gives_the_logits_of_transformers() {
    let (mut engine, head) = tiny_in_floats();
    let expected = Expected::read(&fixture("llama"));
    for (tokens, logits) in expected.sequences.iter().zip(&expected.logits) {
        let state = run(&mut engine, tokens.clone(), vec![hidden(0, 0)]).remove(0).last_hidden;
        let gap = greatest_gap(&product(&head, &state.unwrap()), logits.last().unwrap());
        assert!(gap < MOST_LOGIT_ERROR, "{gap}");
    }
}

#[test]
fn a_free_text_s_state_is_that_of_its_last_token() {
    let (mut engine, head) = tiny_in_floats();
    let prompt = Expected::read(&fixture("llama")).sequences.remove(0);
    let mut text = prompt.clone();
    for drawn in 1..=4 {
        let logits = engine.logits_after(&text).unwrap();
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        text.push(best as u32);
        let greedy = SampleSpec { ignores_end: true, ..sample(0, 0.0, drawn) };
        let spec = SampleSpec { last_hidden: true, ..greedy };
        let output = run(&mut engine, prompt.clone(), vec![spec]).remove(0);
        assert_eq!(output.generated_tokens, drawn);
        let gap = greatest_gap(
            &product(&head, &output.last_hidden.unwrap()),
            &engine.logits_after(&text).unwrap(),
        );
        assert!(gap < MOST_LOGIT_ERROR, "{drawn} tokens: {gap}");
    }
}

#[test]
fn a_guided_text_s_state_knows_its_last_choice_and_its_closing_brace() {
    let (mut engine, head) = tiny_in_floats();
    let prompt = Expected::read(&fixture("llama")).sequences.remove(1);
    let mut read = |readout| {
        let spec = SampleSpec { readout: Some(readout), ..hidden(5, 3) };
        run(&mut engine, prompt.clone(), vec![spec]).remove(0)
    };
    let one = read(digits(1, "}"));
    assert!(one.text.ends_with('}'));
    // Another slot after the same brace makes the model predict what would follow it.
    let two = read(digits(2, "}")).readout.unwrap();
    assert_eq!(one.readout.unwrap().choices[0], two.choices[0]);
    let logits = product(&head, &one.last_hidden.unwrap());
    let vocabulary = std::fs::read(fixture("llama").join("tokenizer.json")).unwrap();
    let vocabulary: serde_json::Value = serde_json::from_slice(&vocabulary).unwrap();
    let weight = |digit: usize| {
        let token = vocabulary["model"]["vocab"][digit.to_string()].as_u64().unwrap();
        f64::from(logits[token as usize]).exp()
    };
    let total: f64 = (1..=9).map(weight).sum();
    for (digit, probability) in (1..).zip(&two.distributions[1]) {
        let expected = weight(digit) / total;
        assert!((probability - expected).abs() < 1e-3, "{digit}: {probability}, {expected}");
    }
    let other = read(digits(1, "}}")).last_hidden;
    assert!(product(&head, &other.unwrap()) != logits, "the closing text counts");
}

#[test]
fn a_state_costs_one_step_and_changes_nothing_else() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(PROMPTS[5])).unwrap();
    let mut steps = |last_hidden, readout: Option<Readout>| {
        let before = engine.counters().steps;
        let spec = SampleSpec { last_hidden, readout, ..sample(9, 0.7, 5) };
        let output = run(&mut engine, prompt.clone(), vec![spec]).remove(0);
        (engine.counters().steps - before, output)
    };
    steps(false, None); // the prompt is in the cache from here on
    for readout in [None, Some(scores(ReadoutMode::Sampled))] {
        let (without, plain) = steps(false, readout.clone());
        let (with, mut asked) = steps(true, readout);
        assert_eq!(with, without + 1);
        assert!(asked.last_hidden.take().is_some());
        assert_eq!(asked, plain);
    }
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
    // Again, with the prompt in the cache.
    let cached = run(&mut engine, one.clone(), vec![hidden(1, 6), spec()]);
    assert!(engine.counters().cached_tokens > 0);
    for (cached, alone) in cached.iter().zip(&alone) {
        assert!(bits(cached.last_hidden.as_ref()) == *alone);
    }

    let mut engine =
        load(&EngineConfig { prefill_chunk: Some(9), max_sequences: Some(4), ..config(2) });
    let beside = (0..3).map(|seed| sample(seed, 0.9, 9)).collect();
    engine.submit(jury_engine::Group { prompt: other, samples: beside, cache_salt: None }).unwrap();
    let samples = vec![hidden(1, 6), spec(), hidden(2, 0), sample(4, 0.5, 3)];
    let group =
        engine.submit(jury_engine::Group { prompt: one, samples, cache_salt: None }).unwrap();
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
    // This model's head is its embedding table.
    let head = content.tensor(&mut file, "token_embd.weight", &Device::Cpu).unwrap();
    let head: Vec<Vec<f32>> = head.dequantize(&Device::Cpu).unwrap().to_vec2().unwrap();
    let worst = greatest_gap(&product(&head, &state), &logits);
    println!("worst difference of a logit: {worst}");
    assert!(worst < MOST_LOGIT_GAP, "{worst}");
}
