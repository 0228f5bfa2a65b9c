//! The engine on an emulated CUDA card: our own kernels, compiled for this machine's CPU, driven by the same calls as a
//! real card (`kernels/cuda/emulated`).
//!
//! Weights, keys and values are bfloat16 there. The fixtures are random models in f32, whose logits have a deviation of
//! about 7 (Gemma 2: capped at 20). Each is compared with transformers' logits by mean KL divergence and by the RMS
//! error of a logit; the limits are one and a half times the measured values, to allow for changes of rounding.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use jury_engine::cuda::open_libraries;
use jury_engine::{
    CardWeights, DeviceKind, Engine, EngineConfig, Event, Group, ReadoutMode, SampleError,
    SampleSpec, SubmitError,
};

use crate::distance::{divergence, log_softmax, top_two};
use crate::families::{Expected, fixture};
use crate::invariance::{Subject, hold};
use crate::support::{PROMPTS, config, drive, load, load_file, outputs, run, sample, scores, user};

const CARD: DeviceKind = DeviceKind::Cuda(0);
const FAMILIES: [&str; 6] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "deepseek_v2"];

/// The card's configuration; compiles and opens its libraries first.
fn card_config() -> EngineConfig {
    static OPENED: OnceLock<()> = OnceLock::new();
    OPENED.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let made = Command::new(root.join("scripts/emulated-cuda")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = String::from_utf8(made.stdout).unwrap();
        open_libraries(Some(Path::new(folder.trim()))).unwrap();
    });
    EngineConfig { device: CARD, ..config(1) }
}

fn prompt(engine: &Engine, tokens: usize) -> Vec<u32> {
    let vocabulary = engine.model().vocabulary;
    (0..tokens).map(|index| ((index * 7919 + 13) % vocabulary) as u32).collect()
}

/// Compares a family with transformers; returns mean KL divergence and the error of logits.
fn distance(family: &str) -> (f64, f64) {
    let folder = fixture(family);
    let expected = Expected::read(&folder);
    let (mut divergences, mut squares) = (Vec::new(), Vec::new());
    let config = EngineConfig { prefill_chunk: Some(7), ..card_config() };
    expected.each(&mut load_file(&folder, &config), |expected, found| {
        divergences.push(divergence(&log_softmax(expected), &log_softmax(found)));
        squares.extend(expected.iter().zip(found).map(|(a, b)| f64::from(a - b).powi(2)));
    });
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    (mean(&divergences), mean(&squares).sqrt())
}

#[test]
fn every_family_gives_the_logits_of_transformers_in_bfloat16() {
    for family in FAMILIES {
        let (divergence, error) = distance(family);
        println!("{family}: mean KL {divergence:.1e}, error {error:.4}");
        assert!(divergence < 0.006, "{family}: mean KL {divergence}");
        assert!(error < 0.25, "{family}: error of logits {error}");
    }
}

#[test]
fn random_schedules_give_the_bits_of_lonely_samples() {
    card_config();
    for family in FAMILIES {
        hold(&Subject::tiny(family, CARD));
    }
}

#[test]
fn weights_of_8_bits_are_near_those_of_16_and_as_invariant() {
    let eight = EngineConfig { card_weights: CardWeights::Int8, ..card_config() };
    for family in ["qwen2", "gemma2", "deepseek_v2"] {
        let engines = [&card_config(), &eight].map(|config| load_file(&fixture(family), config));
        let [sixteen, eight] = engines.map(|mut engine| {
            let tokens = prompt(&engine, 40);
            log_softmax(&engine.logits_after(&tokens).unwrap())
        });
        let distance = divergence(&sixteen, &eight);
        println!("{family}: KL {distance:.1e} between weights of 16 and 8 bits");
        assert!(distance > 0.0 && distance < 0.03, "{family}: {distance}");
    }
    for family in ["qwen2", "deepseek_v2"] {
        let mut engine = load_file(&fixture(family), &eight);
        assert!(engine.is_bitwise() && engine.numerics().starts_with("cuda-int8"));
        let tokens = prompt(&engine, 30);
        let specs = || (0..6).map(|seed| sample(seed, 5.0, 9)).collect::<Vec<SampleSpec>>();
        let together = run(&mut engine, tokens.clone(), specs());
        for (spec, expected) in specs().into_iter().zip(&together) {
            assert_eq!(run(&mut engine, tokens.clone(), vec![spec])[0].tokens, expected.tokens);
        }
    }
}

#[test]
fn attention_gives_the_same_bits_whether_prompts_are_read_together_or_not() {
    let apart = EngineConfig { card_shares: false, ..card_config() };
    let [together, apart] = [card_config(), apart].map(|config| {
        let mut engine = load_file(&fixture("qwen3"), &config);
        let tokens = prompt(&engine, 70);
        let specs = (0..5).map(|seed| SampleSpec { last_hidden: true, ..sample(seed, 5.0, 8) });
        let outputs = run(&mut engine, tokens, specs.collect());
        outputs.into_iter().map(|output| (output.tokens, output.last_hidden)).collect::<Vec<_>>()
    });
    assert_eq!(together, apart);
}

#[test]
fn a_real_model_says_what_the_own_kernels_say() {
    let mut card = load(&card_config());
    let mut own = load(&config(2));
    for text in &PROMPTS[..2] {
        let tokens = own.encode(&user(text)).unwrap();
        let [truth, found] =
            [&mut own, &mut card].map(|engine| log_softmax(&engine.logits_after(&tokens).unwrap()));
        let distance = divergence(&truth, &found);
        println!("{text}: KL {distance:.1e}");
        assert!(distance < 0.03, "{text}: {distance}");
        // Two tokens may be almost equally likely; the CPU kernels round to 8 bits.
        let (best, ours) = (top_two(&truth)[0], top_two(&found)[0]);
        assert!(truth[ours] > truth[best] - 0.3, "{text}: {ours} instead of {best}");
    }
}

#[test]
fn an_engine_works_on_another_thread_than_it_was_loaded_on() {
    let mut engine = load_file(&fixture("llama"), &card_config());
    let tokens = prompt(&engine, 12);
    let work = move || run(&mut engine, tokens, vec![sample(1, 1.0, 5)]).remove(0).tokens;
    assert_eq!(std::thread::spawn(work).join().unwrap().len(), 5);
}

#[test]
fn greedy_samples_take_the_greatest_logit_and_share_one_prefill() {
    let mut engine = load_file(&fixture("qwen3"), &card_config());
    let tokens = prompt(&engine, 70);
    let samples = (0..3).map(|seed| sample(seed, 0.0, 6)).collect();
    let outputs = run(&mut engine, tokens.clone(), samples);
    assert_eq!(engine.counters().prefills, 1);
    assert_eq!(engine.counters().prefill_tokens, 70);
    let mut text = tokens;
    for (index, &token) in outputs[0].tokens.iter().enumerate() {
        let logits = engine.logits_after(&text).unwrap();
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Computed as a prompt's row there and as a sample's row here: rounding may differ, but the choice must not.
        assert!(logits[token as usize] > top - 0.1, "token {index} is not the greatest");
        text.push(token);
    }
    assert!(outputs.iter().all(|output| output.tokens == outputs[0].tokens));
}

#[test]
fn draws_follow_the_seed_and_not_the_batch() {
    let mut engine = load_file(&fixture("llama"), &card_config());
    let tokens = prompt(&engine, 30);
    // Random models make very confident predictions.
    let specs = || (0..8).map(|seed| sample(seed, 5.0, 12)).collect::<Vec<SampleSpec>>();
    let together = run(&mut engine, tokens.clone(), specs());
    let distinct: std::collections::HashSet<_> =
        together.iter().map(|output| output.tokens.clone()).collect();
    assert!(distinct.len() > 4, "{} texts of 8", distinct.len());
    for (spec, expected) in specs().into_iter().zip(&together) {
        assert_eq!(run(&mut engine, tokens.clone(), vec![spec])[0].tokens, expected.tokens);
    }
}

#[test]
fn read_outs_are_those_of_the_reference() {
    let candle = EngineConfig { device: DeviceKind::CandleCpu, ..config(1) };
    let engines = [card_config(), candle].map(|config| load_file(&fixture("qwen2"), &config));
    let [card, reference] = engines.map(|mut engine| {
        let tokens = prompt(&engine, 20);
        let readout = jury_engine::Readout {
            opening: std::sync::Arc::new(|_| " {".to_owned()),
            ..scores(ReadoutMode::Expected)
        };
        let spec = SampleSpec { readout: Some(readout), ..sample(0, 0.0, 4) };
        let hidden = SampleSpec { last_hidden: true, ..sample(0, 0.0, 1) };
        let outputs = run(&mut engine, tokens, vec![spec, hidden]);
        let read = outputs[0].readout.clone().unwrap();
        (read.distributions[0].clone(), read.mass, outputs[1].last_hidden.clone().unwrap())
    });
    for (ours, exact) in card.0.iter().zip(&reference.0) {
        assert!((ours - exact).abs() < 0.05, "{card:?} instead of {reference:?}");
    }
    assert!((card.1 / reference.1 - 1.0).abs() < 0.2, "mass {} and {}", card.1, reference.1);
    let error = card.2.iter().zip(&reference.2).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 0.1, "a hidden state is off by {error}");
}

#[test]
fn an_engine_left_to_itself_takes_the_card() {
    let anywhere = EngineConfig { device: DeviceKind::Auto, ..card_config() };
    assert!(load_file(&fixture("llama"), &anywhere).numerics().starts_with("cuda-bf16"));
}

#[test]
fn a_card_that_is_not_there_is_told() {
    let config = EngineConfig { device: DeviceKind::Cuda(7), ..card_config() };
    let error = Engine::load(&fixture("llama"), &config).unwrap_err().to_string();
    assert!(error.contains("no CUDA card 7: 1 found"), "{error}");
}

/// Runs an ignored test of this file in a separate process, with a differently emulated card.
fn in_a_process_of_its_own(test: &str, variable: &str, value: &str) {
    let own = std::env::current_exe().unwrap();
    let name = format!("card::{test}");
    let arguments = ["--ignored", "--exact", &name, "--nocapture"];
    let run = Command::new(own).args(arguments).env(variable, value).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_lost_card_ends_its_samples_as_lost() {
    in_a_process_of_its_own("loses_its_card", "JURY_EMULATED_LOSE_AFTER", "400");
}

#[test]
#[ignore = "a_lost_card_ends_its_samples_as_lost runs it"]
fn loses_its_card() {
    let mut engine = load_file(&fixture("llama"), &card_config());
    let tokens = prompt(&engine, 30);
    let samples = (0..40).map(|seed| sample(seed, 1.0, 60)).collect();
    engine.submit(Group { prompt: tokens.clone(), samples, cache_salt: None }).unwrap();
    let events = drive(&mut engine);
    let lost =
        |event: &&Event| matches!(event, Event::Failed { error: SampleError::Lost { .. }, .. });
    let finished = |event: &&Event| matches!(event, Event::Finished { .. });
    let (lost, finished) =
        (events.iter().filter(lost).count(), events.iter().filter(finished).count());
    println!("{finished} finished, {lost} lost: {:?}", engine.lost());
    assert!(lost > 0);
    assert_eq!(lost + finished, 40, "every sample has ended once");
    assert!(engine.lost().unwrap().contains("LAUNCH_FAILED"));
    let again = Group { prompt: tokens, samples: vec![sample(0, 1.0, 4)], cache_salt: None };
    assert!(matches!(engine.submit(again), Err(SubmitError::Lost { .. })));
    assert!(engine.is_idle());
}

#[test]
fn a_card_that_is_too_small_says_what_is_needed() {
    in_a_process_of_its_own("has_a_small_card", "JURY_EMULATED_MEMORY", "104857600");
}

#[test]
#[ignore = "a_card_that_is_too_small_says_what_is_needed runs it"]
fn has_a_small_card() {
    let error = Engine::load(&fixture("llama"), &card_config()).unwrap_err().to_string();
    assert!(
        error.contains("GiB of the card's memory") && error.contains("0.06 GiB are free"),
        "{error}"
    );
    // By default, the engine takes a device that can run the model.
    let anywhere = EngineConfig { device: DeviceKind::Auto, ..card_config() };
    assert!(load_file(&fixture("llama"), &anywhere).numerics().starts_with("cpu"));
}

#[test]
fn steps_that_repeat_are_recorded_and_give_the_same_text() {
    let mut engine = load_file(&fixture("gemma2"), &card_config());
    let tokens = prompt(&engine, 40);
    let spec = || vec![sample(3, 0.9, 50), sample(4, 0.9, 50), sample(5, 0.9, 50)];
    let first = run(&mut engine, tokens.clone(), spec());
    let second = run(&mut engine, tokens.clone(), spec());
    let mut fresh = load_file(&fixture("gemma2"), &card_config());
    fresh.submit(Group { prompt: tokens, samples: spec(), cache_salt: None }).unwrap();
    let third: Vec<_> = outputs(drive(&mut fresh)).into_values().collect();
    for ((first, second), third) in first.iter().zip(&second).zip(&third) {
        assert_eq!(first.tokens, second.tokens);
        assert_eq!(first.tokens, third.tokens);
    }
}
