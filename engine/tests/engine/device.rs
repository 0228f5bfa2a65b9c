//! Compares the candle device with the CPU kernels, using candle's CPU code: the same code that GPUs run, except for
//! their products.
//!
//! Both quantise activations to 8 bits, each in its own way; see `reference` for their distance from f32. The
//! tolerances below limit the distance between the two.

use std::sync::Arc;

use jury_engine::{
    DeviceKind, Engine, EngineConfig, LoadError, Readout, ReadoutMode, SampleOutput, SampleSpec,
};

use crate::distance::{divergence, log_softmax};
use crate::support::{PROMPTS, config, load, model_path, run, sample, scores, user};

/// Mean KL divergence of next-token distributions over prompts, from the CPU kernels to candle.
const MOST_MEAN_DIVERGENCE: f64 = 0.012;
/// The same for a single prompt.
const MOST_DIVERGENCE: f64 = 0.03;
/// Greatest difference of a choice's probability.
const MOST_PROBABILITY_GAP: f64 = 0.05;

fn candle_config() -> EngineConfig {
    EngineConfig { device: DeviceKind::CandleCpu, prefill_chunk: Some(16), ..config(2) }
}

#[test]
fn the_candle_device_gives_the_own_kernels_distributions_and_greedy_continuations() {
    let (mut own, mut candle) = (load(&config(2)), load(&candle_config()));
    assert_ne!(own.numerics(), candle.numerics());
    assert!(own.is_bitwise() && !candle.is_bitwise());
    let (mut sum, mut worst, mut same) = (0.0, 0.0f64, 0);
    let prompts = &PROMPTS[..8];
    for text in prompts {
        let prompt = own.encode(&user(text)).unwrap();
        let [truth, other] = [&mut own, &mut candle]
            .map(|engine| log_softmax(&engine.logits_after(&prompt).unwrap()));
        let distance = divergence(&truth, &other);
        sum += distance;
        worst = worst.max(distance);
        let texts = [&mut own, &mut candle]
            .map(|engine| run(engine, prompt.clone(), vec![sample(0, 0.0, 8)]).remove(0).text);
        same += usize::from(texts[0] == texts[1]);
    }
    let mean = sum / prompts.len() as f64;
    println!("mean KL {mean:.5}, worst {worst:.5}, {same} of {} texts equal", prompts.len());
    assert!(mean < MOST_MEAN_DIVERGENCE, "mean KL {mean}");
    assert!(worst < MOST_DIVERGENCE, "worst KL {worst}");
    assert!(same + 2 >= prompts.len(), "{same} texts of {} are equal", prompts.len());
}

/// Four samples of different lengths, whose read-outs have texts of different lengths.
fn uneven() -> Vec<SampleSpec> {
    let openings =
        [" {", " The scores are, as everybody could have known: {", " {", " Nobody liked {"];
    openings
        .into_iter()
        .zip([2, 0, 7, 4])
        .map(|(opening, most)| {
            let readout = Readout {
                opening: Arc::new(move |_| opening.to_owned()),
                ..scores(ReadoutMode::Expected)
            };
            SampleSpec { readout: Some(readout), ..sample(0, 0.0, most) }
        })
        .collect()
}

fn widest_gap(one: &SampleOutput, other: &SampleOutput) -> f64 {
    let probabilities = |output: &SampleOutput| -> Vec<f64> {
        output.readout.as_ref().unwrap().distributions[0].clone()
    };
    let (one, other) = (probabilities(one), probabilities(other));
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

#[test]
fn samples_of_uneven_lengths_share_one_prefill_and_see_only_their_own_text() {
    // Three sequences for four samples: the last one joins when the others already have several tokens.
    let mut together = load(&EngineConfig { max_sequences: Some(3), ..candle_config() });
    let prompt = together.encode(&user(PROMPTS[2])).unwrap();
    let group = run(&mut together, prompt.clone(), uneven());
    assert_eq!(together.counters().prefills, 1);
    assert_eq!(together.counters().prefill_tokens, prompt.len() as u64);

    let (mut alone, mut own) = (load(&candle_config()), load(&config(2)));
    let own = run(&mut own, prompt.clone(), uneven());
    for ((together, own), spec) in group.iter().zip(&own).zip(uneven()) {
        let alone = run(&mut alone, prompt.clone(), vec![spec]).remove(0);
        let (to_alone, to_own) = (widest_gap(together, &alone), widest_gap(together, own));
        println!("{:?}: {to_alone:.5} from alone, {to_own:.5} from own kernels", together.text);
        assert_eq!(together.text[..together.free_text_bytes], own.text[..own.free_text_bytes]);
        assert!(to_alone < MOST_PROBABILITY_GAP, "{to_alone} from alone");
        assert!(to_own < MOST_PROBABILITY_GAP, "{to_own} from the own kernels");
    }
    for (one, other) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        let gap = widest_gap(&group[one], &group[other]);
        assert!(gap > MOST_PROBABILITY_GAP, "samples {one} and {other} are {gap} apart");
    }
}

#[test]
fn a_gpu_that_is_not_built_in_is_an_error() {
    let device = DeviceKind::Metal(99);
    let result = Engine::load(&model_path(), &EngineConfig { device, ..config(1) });
    assert!(matches!(result, Err(LoadError::Device(_))), "{device:?}");
}
