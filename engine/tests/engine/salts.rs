//! Salts separate prompts in the cache, and do not affect the samples.

use jury_engine::{Engine, EngineConfig, Group};

use crate::families::fixture;
use crate::low_rank::{bits, prompt};
use crate::support::{config, drive, load_file, outputs, sample};

/// A little more than a page.
const PROMPT_TOKENS: usize = 70;

fn engine() -> Engine {
    load_file(&fixture("qwen2"), &EngineConfig { prefill_chunk: Some(16), ..config(1) })
}

fn group(salt: Option<&str>) -> Group {
    let samples = (0..2).map(|seed| {
        let mut spec = sample(seed, 0.8, 6);
        spec.last_hidden = true;
        spec
    });
    let prompt = prompt(7, PROMPT_TOKENS);
    Group { prompt, samples: samples.collect(), cache_salt: salt.map(Into::into) }
}

/// A sample's text, and the bits of its last state.
type Print = (String, Vec<u32>);

/// Draws groups together; returns the number of prompt tokens computed, the number found in the cache, and the prints
/// of each group's samples.
fn draw(engine: &mut Engine, salts: &[Option<&str>]) -> (u64, u64, Vec<Vec<Print>>) {
    let before = engine.counters();
    let ids: Vec<_> = salts.iter().map(|&salt| engine.submit(group(salt)).unwrap()).collect();
    let outputs = outputs(drive(engine));
    let print = |id, at| {
        let output = &outputs[&(id, at)];
        (output.text.clone(), bits(output.last_hidden.as_ref().unwrap()))
    };
    let prints = ids.into_iter().map(|id| (0..2).map(|at| print(id, at)).collect()).collect();
    let after = engine.counters();
    let computed = after.prefill_tokens - before.prefill_tokens;
    (computed, after.cached_tokens - before.cached_tokens, prints)
}

#[test]
fn a_prompt_is_found_again_by_its_own_salt_alone_and_its_samples_are_the_same() {
    let mut engine = engine();
    let all = PROMPT_TOKENS as u64;
    let (computed, cached, expected) = draw(&mut engine, &[None]);
    assert_eq!((computed, cached), (all, 0));
    for salt in ["a", "b"] {
        let (computed, cached, prints) = draw(&mut engine, &[Some(salt)]);
        assert_eq!((computed, cached), (all, 0), "{salt}: another's prompt");
        assert_eq!(prints, expected);
    }
    for salt in [None, Some("b"), Some("a")] {
        let (computed, cached, prints) = draw(&mut engine, &[salt]);
        assert_eq!((computed, cached), (1, all - 1), "{salt:?}: its own");
        assert_eq!(prints, expected);
    }
}

#[test]
fn groups_that_come_together_share_within_a_salt() {
    let all = PROMPT_TOKENS as u64;
    let salts = [Some("a"), Some("b"), Some("a"), None, Some("b")];
    let (computed, cached, prints) = draw(&mut engine(), &salts);
    assert_eq!((computed, cached), (3 * all + 2, 2 * (all - 1)));
    assert!(prints.iter().all(|print| *print == prints[0]));
}

#[test]
fn prompts_of_all_salts_make_room_for_new_ones() {
    let page_bytes = engine().model().kv_bytes_per_token * 64;
    let small = EngineConfig { kv_budget_bytes: Some(4 * page_bytes), ..config(1) };
    let mut engine = load_file(&fixture("qwen2"), &small);
    let expected = draw(&mut engine, &[None]).2;
    for salt in 0..20 {
        assert_eq!(draw(&mut engine, &[Some(&salt.to_string())]).2, expected);
    }
}
