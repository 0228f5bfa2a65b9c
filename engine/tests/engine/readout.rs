//! Guided read-out: its shape, its distributions compared with plain logits, and how it ends.

use std::sync::Arc;

use jury_engine::{Finish, Group, Readout, ReadoutMode, SampleSpec};

use crate::support::{config, drive, load, outputs, run, sample, scores, user};

const QUESTION: &str = "Rate 'Paris' and 'London' as answers to 'Capital of France?' from 1 to 10.";

fn guided(seed: u64, max_tokens: usize, mode: ReadoutMode) -> SampleSpec {
    SampleSpec { readout: Some(scores(mode)), ..sample(seed, 0.5, max_tokens) }
}

#[test]
fn a_guided_sample_ends_with_legal_scores_and_distributions() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(QUESTION)).unwrap();
    let samples = (0..6).map(|seed| guided(seed, 6, ReadoutMode::Sampled)).collect();
    for output in run(&mut engine, prompt, samples) {
        let readout = output.readout.expect("asked for");
        assert_eq!(readout.forced, output.finish == Finish::Limit, "{}", output.text);
        assert!(readout.mass > 0.0 && readout.mass <= 1.000_001, "{}", readout.mass);
        assert_eq!((readout.choices.len(), readout.distributions.len()), (2, 2));
        for distribution in &readout.distributions {
            assert_eq!(distribution.len(), 10);
            assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        let [first, second] = [readout.choices[0] + 1, readout.choices[1] + 1];
        let appended = &output.text[output.free_text_bytes..];
        assert_eq!(appended, format!("\n\nScores:\n\\boxed{{{first}, {second}}}"));
        let digits = [first, second].iter().filter(|&&score| score == 10).count();
        assert!(output.generated_tokens <= 6 + 2 + digits);
        if readout.forced {
            assert_eq!(output.generated_tokens, 6 + 2 + digits);
        }
    }
}

#[test]
fn a_slot_s_distribution_is_that_of_the_plain_logits() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(QUESTION)).unwrap();
    let digit = |score: usize| -> u32 {
        let mut ids = engine.encode(&user(&score.to_string())).unwrap();
        let empty = engine.encode(&user("")).unwrap();
        let start = ids.iter().zip(&empty).take_while(|(a, b)| a == b).count();
        ids.swap_remove(start)
    };
    let digits: Vec<u32> = (0..=9).map(digit).collect();
    let mut one_slot = scores(ReadoutMode::Expected);
    one_slot.slots = 1;
    one_slot.opening = Arc::new(|_| String::new());
    let spec = SampleSpec { readout: Some(one_slot), ..sample(0, 0.5, 0) };
    let output = run(&mut engine, prompt.clone(), vec![spec]).remove(0);
    let readout = output.readout.expect("asked for");
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    };
    let first = softmax(&engine.logits_after(&prompt).unwrap());
    let mut branch = prompt.clone();
    branch.push(digits[1]);
    let second = softmax(&engine.logits_after(&branch).unwrap());
    let mut expected: Vec<f64> = (1..=9).map(|score| first[digits[score] as usize]).collect();
    expected.push(expected[0] * second[digits[0] as usize]);
    // A lone "1" must be followed by a token that begins with the closing brace.
    let one: f64 = expected[0];
    expected[0] = readout.distributions[0][0] * readout.mass;
    assert!(expected[0] <= one, "the terminator takes a part");
    for (score, (found, expected)) in readout.distributions[0].iter().zip(&expected).enumerate() {
        let found = found * readout.mass;
        assert!(
            (found - expected).abs() <= 1e-4 * expected,
            "score {}: {found} {expected}",
            score + 1
        );
    }
    assert_eq!(output.text, format!("{}}}", readout.choices[0] + 1));
    assert_eq!(output.free_text_bytes, 0);
}

#[test]
fn expected_takes_the_most_probable_choice_and_any_branch_leaves_no_trace() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(QUESTION)).unwrap();
    let both = vec![guided(1, 8, ReadoutMode::Expected), guided(1, 8, ReadoutMode::Sampled)];
    let outputs = run(&mut engine, prompt.clone(), both);
    let [expected, sampled] = [0, 1].map(|index| outputs[index].readout.clone().unwrap());
    // The free text is the same, therefore the first slot is as well; only the way of choosing differs.
    assert_eq!(expected.distributions[0], sampled.distributions[0]);
    let top = expected.distributions[0].iter().copied().fold(0.0, f64::max);
    assert_eq!(expected.distributions[0][expected.choices[0]], top);
    // A read-out without "10" as a choice has no branches; the rest of its distribution is the same.
    let mut digits = scores(ReadoutMode::Expected);
    digits.choices = (2..=9).map(|score| score.to_string()).collect();
    let spec = SampleSpec { readout: Some(digits), ..sample(1, 0.5, 8) };
    let plain = run(&mut engine, prompt, vec![spec]).remove(0).readout.unwrap();
    for (index, probability) in plain.distributions[0].iter().enumerate() {
        let both = expected.distributions[0][index + 1] * expected.mass.max(1e-300);
        assert!(probability.is_finite() && both.is_finite());
        let ratio = probability / expected.distributions[0][index + 1];
        let other = plain.distributions[0][0] / expected.distributions[0][1];
        assert!((ratio / other - 1.0).abs() < 1e-9, "{ratio} {other}");
    }
}

#[test]
fn an_opening_longer_than_its_room_fails_the_sample_alone() {
    let mut engine = load(&config(1));
    let prompt = engine.encode(&user("Hi")).unwrap();
    let mut long = scores(ReadoutMode::Sampled);
    long.opening = Arc::new(|text| "word ".repeat(text.len() * 100));
    let bad = SampleSpec { readout: Some(long), ..sample(0, 0.5, 4) };
    engine
        .submit(Group { prompt, samples: vec![bad, sample(1, 0.5, 4)], cache_salt: None })
        .unwrap();
    let events = drive(&mut engine);
    let failed =
        events.iter().any(|event| matches!(event, jury_engine::Event::Failed { sample: 0, .. }));
    assert!(failed, "{events:?}");
    let rest: Vec<_> =
        events.into_iter().filter(|e| !matches!(e, jury_engine::Event::Failed { .. })).collect();
    assert_eq!(outputs(rest).len(), 1);
}

#[test]
fn fixed_text_takes_no_step_of_its_own_however_long_it_is() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user(QUESTION)).unwrap();
    let empty = engine.encode(&user("")).unwrap().len();
    let text =
        "\n\nAll responses have been weighed against the criteria, one by one. Scores:\n\\boxed{";
    let fixed = [text, ", the score of the second response is "];
    let [opening, separator] = fixed.map(|text| engine.encode(&user(text)).unwrap().len() - empty);
    assert!(opening > 12 && separator > 6);
    let readout = Readout {
        opening: Arc::new(move |_| text.to_owned()),
        separator: fixed[1].to_owned(),
        ..scores(ReadoutMode::Expected)
    };
    engine
        .submit(Group {
            prompt,
            samples: vec![SampleSpec { readout: Some(readout), ..sample(0, 0.5, 0) }],
            cache_salt: None,
        })
        .unwrap();
    let (mut events, mut steps) = (Vec::new(), 0);
    while !engine.is_idle() {
        engine.step(&mut events);
        steps += 1;
    }
    // The prompt; then two slots with two nodes each: the beginning, and what follows a "1".
    assert_eq!(steps, 1 + 2 * 2);
    let computed = engine.counters().readout_tokens as usize;
    // Tokens at the joints may merge.
    let fixed = opening + separator;
    assert!(computed.abs_diff(fixed + 3) <= 3, "{computed} tokens for {fixed} of fixed text");
    assert_eq!(outputs(events).len(), 1);
}
