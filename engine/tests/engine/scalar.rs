//! Compares a scalar reward model with transformers, and checks that a score's bits depend on its conversation alone.
//!
//! The tiny random model of `tests/fixtures` is a `Gemma2ForSequenceClassification` with scores between -3 and 6.
//! Measured with AVX-512: floats within 4e-6 of transformers, CPU kernels within 0.04.

use std::path::Path;

use jury_engine::{
    DeviceKind, Engine, EngineConfig, Group, LoadError, Message, Prompt, Role, SampleSpec, Span,
    SubmitError, Tokenizer, inspect,
};
use safetensors::SafeTensors;

use crate::families::{MOST_LOGIT_ERROR, fixture};
use crate::support::{config, drive, load_file, outputs, run, sample};

/// Greatest difference between the CPU kernels' score and transformers'; the kernels store keys and values in 8 bits.
const MOST_OWN_ERROR: f64 = 0.1;
/// Common beginning of all sequences, in tokens.
const SHARED: usize = 32;

struct Expected {
    sequences: Vec<Vec<u32>>,
    scores: Vec<f64>,
    conversation: Vec<u32>,
}

fn expected() -> Expected {
    let bytes = std::fs::read(fixture("gemma2_reward").join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        tensors.tensor(name).unwrap().data().as_chunks().0.to_vec()
    };
    let tokens = |name| words(name).into_iter().map(u32::from_le_bytes).collect::<Vec<u32>>();
    let scores: Vec<f64> =
        words("scores").into_iter().map(|word| f32::from_le_bytes(word).into()).collect();
    let all = tokens("tokens");
    let sequences = all.chunks_exact(all.len() / scores.len()).map(<[u32]>::to_vec).collect();
    Expected { sequences, scores, conversation: tokens("conversation") }
}

fn reward(config: &EngineConfig) -> Engine {
    load_file(&fixture("gemma2_reward"), config)
}

fn score_alone(engine: &mut Engine, prompt: Vec<u32>) -> f64 {
    let state = run(engine, prompt, vec![SampleSpec::state_alone()]).remove(0).last_hidden;
    engine.scalar_head().unwrap().score(&state.unwrap()).unwrap()
}

#[test]
fn scores_are_those_of_transformers() {
    let Expected { sequences, scores, .. } = expected();
    let candle =
        EngineConfig { device: DeviceKind::CandleCpu, prefill_chunk: Some(7), ..config(2) };
    let own = EngineConfig { prefill_chunk: Some(7), ..config(2) };
    for (config, most) in [(candle, f64::from(MOST_LOGIT_ERROR)), (own, MOST_OWN_ERROR)] {
        let mut engine = reward(&config);
        assert!(engine.model().is_scalar);
        let found = sequences.iter().map(|tokens| score_alone(&mut engine, tokens.clone()));
        let gap = |(found, expected): (f64, &f64)| (found - expected).abs();
        let worst = found.zip(&scores).map(gap).fold(0.0, f64::max);
        println!("{:?}: scores within {worst:.1e}", config.device);
        assert!(worst < most, "{:?}: {worst}", config.device);
    }
}

#[test]
fn a_score_has_the_same_bits_alone_and_in_a_batch_that_computes_the_shared_beginning_once() {
    let sequences = expected().sequences;
    let alone: Vec<u64> = sequences
        .iter()
        .map(|tokens| score_alone(&mut reward(&config(1)), tokens.clone()).to_bits())
        .collect();
    for prefill_chunk in [5, 256] {
        let mut engine = reward(&EngineConfig { prefill_chunk: Some(prefill_chunk), ..config(2) });
        let groups: Vec<_> = sequences
            .iter()
            .map(|tokens| {
                let samples = vec![SampleSpec::state_alone()];
                engine.submit(Group { prompt: tokens.clone(), samples, cache_salt: None }).unwrap()
            })
            .collect();
        let outputs = outputs(drive(&mut engine));
        let head = engine.scalar_head().unwrap();
        let together: Vec<u64> = groups
            .iter()
            .map(|&group| {
                let state = outputs[&(group, 0)].last_hidden.as_ref().unwrap();
                head.score(state).unwrap().to_bits()
            })
            .collect();
        assert_eq!(together, alone, "chunks of {prefill_chunk}");
        let own: usize = sequences.iter().map(|tokens| tokens.len() - SHARED).sum();
        assert_eq!(engine.counters().prefill_tokens as usize, SHARED + own);
        assert_eq!(engine.counters().decode_tokens, 0);
    }
}

#[test]
fn a_conversation_ends_as_the_library_ends_it() {
    let tokenizer = Tokenizer::load(&fixture("gemma2_reward")).unwrap();
    let said = |role, text| Message { role, spans: vec![Span::untrusted(text)] };
    let messages = vec![said(Role::User, "the inn in a tin"), said(Role::Assistant, "the hat")];
    let tokens = tokenizer.encode_conversation(&Prompt { messages }).unwrap();
    assert_eq!(tokens, expected().conversation);
}

#[test]
fn a_scalar_model_draws_nothing() {
    let mut engine = reward(&config(1));
    let group = |spec| Group { prompt: vec![7, 8, 9], samples: vec![spec], cache_salt: None };
    for spec in [sample(1, 0.0, 4), SampleSpec { last_hidden: true, ..sample(1, 0.0, 1) }] {
        let error = engine.submit(group(spec)).unwrap_err();
        assert!(matches!(error, SubmitError::Invalid { field: "max_tokens", .. }), "{error}");
        assert!(error.to_string().contains("reward model"), "{error}");
    }
    assert!(load_file(&fixture("gemma2"), &config(1)).scalar_head().is_none());
}

#[test]
fn a_classifier_of_several_labels_is_refused_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture("gemma2_reward").join(file), folder.path().join(file)).unwrap();
    }
    let written = |name: &str, shape: Vec<usize>| {
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape, &bytes).unwrap();
        let file = safetensors::serialize([(name, view)], None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
        refusal(folder.path())
    };
    let several = written("score.weight", vec![2, 64]);
    assert!(several.contains("2 labels"), "{several}");
    let none = written("model.norm.weight", vec![64]);
    assert!(none.contains("score.weight is missing"), "{none}");
}

fn refusal(folder: &Path) -> String {
    let error = inspect(folder).unwrap_err();
    assert!(matches!(error, LoadError::Unsupported { .. } | LoadError::Corrupt { .. }), "{error}");
    error.to_string()
}
