//! Drafts of the next tokens save steps and do not affect the samples.

use jury_engine::{Counters, EngineConfig, ReadoutMode, SampleOutput, SampleSpec};

use crate::support::{config, load, run, sample, scores, user};

/// Samples that repeat earlier text: greedy and drawn, with and without a read-out.
fn specs(count: usize) -> Vec<SampleSpec> {
    let spec = |index: usize| SampleSpec {
        readout: (index % 2 == 1).then(|| scores(ReadoutMode::Sampled)),
        last_hidden: index == 0,
        ..sample(index as u64, [0.0, 0.3, 0.8][index], 60 + index)
    };
    (0..count).map(spec).collect()
}

fn outputs(drafts: bool, samples: usize) -> (Vec<SampleOutput>, Counters) {
    let mut engine = load(&EngineConfig { drafts, ..config(2) });
    let text = "The first response names the river, the second response names the lake. ".repeat(4);
    let prompt = engine.encode(&user(&format!("Repeat word by word: {text}"))).unwrap();
    let outputs = run(&mut engine, prompt, specs(samples));
    (outputs, engine.counters())
}

#[test]
fn drafts_save_steps_and_change_nothing_else() {
    for samples in 1..=3 {
        let (expected, without) = outputs(false, samples);
        let (found, with) = outputs(true, samples);
        assert_eq!(found, expected);
        assert_eq!((without.drafted_tokens, without.accepted_tokens), (0, 0));
        assert!(
            with.accepted_tokens > 0 && with.accepted_tokens <= with.drafted_tokens,
            "{with:?}"
        );
        assert!(with.decode_steps < without.decode_steps, "{with:?}, {without:?}");
        assert_eq!(with.decode_tokens, without.decode_tokens);
    }
}

#[test]
fn many_samples_do_not_draft() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user("Count: one, two, three, one, two, three, one, two")).unwrap();
    run(&mut engine, prompt, (0..4).map(|seed| sample(seed, 0.0, 5)).collect());
    assert_eq!(engine.counters().drafted_tokens, 0);
}
