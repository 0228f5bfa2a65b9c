//! Samples of a group: seeds, the prompt's single computation, ends, cancelling, events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jury_engine::{
    Engine, EngineConfig, Event, Finish, Group, Look, SampleSpec, SubmitError, Watch,
};

use crate::support::{config, drive, load, outputs, run, sample, user};

/// The first of several prompts whose greedy answer has more than five words and ends by itself within 100 tokens, and
/// that answer. Which prompt it is depends on the last bits of the logits, and so on the CPU's kernels.
fn prompt_with_an_end(engine: &mut Engine) -> (Vec<u32>, String) {
    let texts =
        ["Hello!", "Thank you!", "Who are you?", "Say yes.", "What is the opposite of hot?"];
    let found = texts.into_iter().find_map(|text| {
        let prompt = engine.encode(&user(text)).unwrap();
        let whole = run(engine, prompt.clone(), vec![sample(0, 0.0, 100)]).remove(0);
        let ends = whole.finish == Finish::EndOfText && whole.text.split_whitespace().count() > 5;
        ends.then_some((prompt, whole.text))
    });
    found.expect("an answer of some words that ends by itself")
}

struct StopAt(String);

impl Watch for StopAt {
    fn look(&mut self, text: &str) -> Look {
        if text.contains(&self.0) { Look::Stop } else { Look::Continue }
    }
}

#[test]
fn k_texts_differ_the_same_seed_repeats_and_another_seed_changes_them() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user("Tell me a story about a fox.")).unwrap();
    let mut texts = |seed: u64| -> Vec<String> {
        let samples = (0..8).map(|index| sample(seed + index, 0.5, 24)).collect();
        run(&mut engine, prompt.clone(), samples).into_iter().map(|output| output.text).collect()
    };
    let first = texts(100);
    let distinct: std::collections::BTreeSet<&String> = first.iter().collect();
    assert!(distinct.len() >= 7, "{first:?}");
    assert_eq!(texts(100), first);
    let other = texts(200);
    assert!(other.iter().zip(&first).filter(|(a, b)| a != b).count() >= 7, "{other:?}");
}

#[test]
fn the_prompt_of_a_group_is_computed_once_and_again_only_where_the_next_differs() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user("What is the capital of France?")).unwrap();
    let samples = |count: u64| (0..count).map(|seed| sample(seed, 0.5, 4)).collect();
    run(&mut engine, prompt.clone(), samples(8));
    let first = engine.counters();
    assert_eq!((first.prefills, first.prefill_tokens), (1, prompt.len() as u64));
    assert_eq!((first.prefix_hits, first.cached_tokens), (0, 0));
    run(&mut engine, prompt.clone(), samples(2));
    let second = engine.counters();
    assert_eq!(second.prefill_tokens - first.prefill_tokens, 1, "the last token gives the logits");
    assert_eq!((second.prefix_hits, second.cached_tokens), (1, prompt.len() as u64 - 1));
    let longer = engine.encode(&user("What is the capital of Italy?")).unwrap();
    let shared = prompt.iter().zip(&longer).take_while(|(a, b)| a == b).count() as u64;
    run(&mut engine, longer, samples(2));
    assert_eq!(engine.counters().cached_tokens - second.cached_tokens, shared);
    assert_eq!(engine.counters().finished_samples, 12);
}

#[test]
fn a_cancelled_sample_frees_its_sequence_at_the_next_step() {
    let mut engine = load(&EngineConfig { max_sequences: Some(2), ..config(2) });
    let prompt = engine.encode(&user("Count to one thousand.")).unwrap();
    let samples = (0..3).map(|seed| sample(seed, 0.5, 40)).collect();
    let group = engine.submit(Group { prompt, samples, cache_salt: None }).unwrap();
    let mut events = Vec::new();
    for _ in 0..6 {
        engine.step(&mut events);
    }
    let before = engine.counters();
    engine.cancel(group, 0);
    events.clear();
    engine.step(&mut events);
    let cancelled = events.iter().any(|event| {
        matches!(event, Event::Finished { sample: 0, output, .. } if output.finish == Finish::Cancelled)
    });
    assert!(cancelled, "{events:?}");
    // The step after the cancellation decoded the second sample and, in the freed sequence, the third twice: from the
    // prompt's logits, and after its first token.
    assert_eq!(engine.counters().decode_tokens - before.decode_tokens, 3);
    engine.cancel_group(group);
    engine.step(&mut events);
    assert!(engine.is_idle());
    assert_eq!(engine.counters().cancelled_samples, 3);
}

#[test]
fn cancelling_a_waiting_group_finishes_its_samples_without_computing() {
    let mut engine = load(&config(1));
    let prompt = engine.encode(&user("Hello")).unwrap();
    let samples = vec![sample(0, 0.0, 8), sample(1, 0.0, 8)];
    let group = engine.submit(Group { prompt, samples, cache_salt: None }).unwrap();
    engine.cancel_group(group);
    let outputs = outputs(drive(&mut engine));
    assert!(outputs.values().all(|output| output.finish == Finish::Cancelled));
    assert_eq!(outputs.len(), 2);
    assert_eq!(engine.counters().prefill_tokens, 0);
}

#[test]
fn the_watch_sees_the_growing_text_and_ends_it() {
    struct Counting(Arc<AtomicUsize>);
    impl Watch for Counting {
        fn look(&mut self, text: &str) -> Look {
            self.0.store(text.len(), Ordering::Relaxed);
            Look::Continue
        }
    }
    let mut engine = load(&config(1));
    let (prompt, whole) = prompt_with_an_end(&mut engine);
    let stop = whole.split_whitespace().nth(3).expect("an answer of some words").to_owned();
    let seen = Arc::new(AtomicUsize::new(0));
    let mut stopped = sample(0, 0.0, 30);
    stopped.watch = Box::new(StopAt(stop.clone()));
    let mut counted = sample(0, 0.0, 5);
    counted.watch = Box::new(Counting(Arc::clone(&seen)));
    let outputs = run(&mut engine, prompt, vec![stopped, counted, sample(0, 0.0, 100)]);
    assert_eq!(outputs[0].finish, Finish::Stopped);
    assert!(outputs[0].text.contains(&stop), "{stop:?} in {}", outputs[0].text);
    assert!(outputs[0].text.len() < whole.len() && whole.starts_with(&outputs[0].text));
    assert_eq!((outputs[1].finish, outputs[1].generated_tokens), (Finish::Limit, 5));
    assert_eq!(outputs[1].free_text_bytes, seen.load(Ordering::Relaxed));
    assert_eq!(outputs[2].finish, Finish::EndOfText);
    assert_eq!(outputs[2].text, whole);
    assert!(!whole.contains("<|im_end|>"), "{whole}");
}

#[test]
fn more_samples_than_sequences_and_than_memory_all_finish() {
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user("Name a fruit.")).unwrap();
    let token_bytes = engine.model().kv_bytes_per_token;
    let expected: Vec<String> =
        run(&mut engine, prompt.clone(), (0..5).map(|s| sample(s, 0.7, 12)).collect())
            .into_iter()
            .map(|output| output.text)
            .collect();
    // Room for the prompt's page and two pages of samples.
    let small = EngineConfig {
        kv_budget_bytes: Some(token_bytes * 64 * 3),
        max_sequences: Some(4),
        ..config(2)
    };
    let mut engine = load(&small);
    for _ in 0..3 {
        let samples = (0..5).map(|seed| sample(seed, 0.7, 12)).collect();
        engine.submit(Group { prompt: prompt.clone(), samples, cache_salt: None }).unwrap();
    }
    let texts: Vec<String> =
        outputs(drive(&mut engine)).into_values().map(|output| output.text).collect();
    assert_eq!(texts.len(), 15);
    for group in texts.chunks(5) {
        assert_eq!(group, expected);
    }
}

#[test]
fn groups_that_can_never_run_are_refused_with_their_figures() {
    let token_bytes = load(&config(1)).model().kv_bytes_per_token;
    let mut engine = load(&EngineConfig {
        context_limit: Some(256),
        kv_budget_bytes: Some(token_bytes * 64 * 3),
        ..config(1)
    });
    let submit = |engine: &mut Engine, tokens: usize, max_tokens: usize| {
        engine.submit(Group {
            prompt: vec![5; tokens],
            samples: vec![sample(0, 0.5, max_tokens)],
            cache_salt: None,
        })
    };
    let long = submit(&mut engine, 200, 100).unwrap_err();
    assert_eq!(long, SubmitError::TooLong { prompt_tokens: 200, context: 256, over_by: 44 });
    let large = submit(&mut engine, 129, 65).unwrap_err();
    assert_eq!(large, SubmitError::TooLarge { needed_tokens: 64 * 5, room_tokens: 64 * 3 });
    assert_eq!(engine.room_tokens(), 64 * 3);
    for (field, group) in [
        ("prompt", Group { prompt: vec![], samples: vec![sample(0, 0.5, 1)], cache_salt: None }),
        (
            "prompt",
            Group { prompt: vec![u32::MAX], samples: vec![sample(0, 0.5, 1)], cache_salt: None },
        ),
        ("samples", Group { prompt: vec![1], samples: vec![], cache_salt: None }),
        (
            "temperature",
            Group { prompt: vec![1], samples: vec![sample(0, f32::NAN, 1)], cache_salt: None },
        ),
        (
            "max_tokens",
            Group { prompt: vec![1], samples: vec![sample(0, 0.5, 0)], cache_salt: None },
        ),
    ] {
        match engine.submit(group) {
            Err(SubmitError::Invalid { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(engine.is_idle());
}

#[test]
fn a_sample_that_ignores_the_end_draws_all_its_tokens() {
    let mut engine = load(&config(2));
    let (prompt, _) = prompt_with_an_end(&mut engine);
    let endless = SampleSpec { ignores_end: true, ..sample(0, 0.0, 100) };
    let outputs = run(&mut engine, prompt, vec![sample(0, 0.0, 100), endless]);
    assert_eq!(outputs[0].finish, Finish::EndOfText);
    assert_eq!((outputs[1].finish, outputs[1].generated_tokens), (Finish::Limit, 100));
    // The end token is reported separately and is not one of the text's tokens; when ends are ignored, it is one of
    // them.
    let end = outputs[0].end.expect("the token that ended the text");
    assert_eq!(outputs[0].tokens.len() + 1, outputs[0].generated_tokens);
    assert_eq!((outputs[1].end, outputs[1].tokens[outputs[0].tokens.len()]), (None, end));
}
