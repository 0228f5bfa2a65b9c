//! Measures several prompts whose samples decode together from their first token on.
//!
//! Groups submitted at once become ready one after the other. Early ones would decode while later ones are prefilled,
//! or finish before the last is ready, so their rate would not be that of any particular batch. Therefore the prompts
//! are first computed alone, and the groups then find them in the cache.

use std::time::Instant;

use super::{MeasureError, Timing, Workload, decoded, group};
use crate::engine::Engine;
use crate::event::{Counters, Event};
use crate::model::kv::PAGE_TOKENS;
use crate::request::{Group, SampleSpec};

/// Runs the workloads together: all prompts from a cold cache, then all samples. The time between the two is not
/// counted.
///
/// # Errors
/// See [`MeasureError`].
pub fn run_together(engine: &mut Engine, workloads: &[Workload]) -> Result<Timing, MeasureError> {
    if !engine.is_idle() {
        return Err(MeasureError::Busy);
    }
    engine.flush_prefix_cache();
    let begin = engine.counters();
    let started = Instant::now();
    for workload in workloads {
        let samples = vec![SampleSpec::state_alone()];
        engine.submit(Group { prompt: workload.prompt.clone(), samples, cache_salt: None })?;
    }
    let mut events = Vec::new();
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    let prefill_seconds = started.elapsed().as_secs_f64();
    let prefilled = engine.counters();
    events.retain(|event| matches!(event, Event::Failed { .. }));

    for workload in workloads {
        engine.submit(group(workload))?;
    }
    let is_ready =
        |counters: &Counters| counters.prefills - prefilled.prefills >= workloads.len() as u64;
    while !is_ready(&engine.counters()) && !engine.is_idle() {
        engine.step(&mut events);
    }
    let ready = engine.counters();
    let all_ready = Instant::now();
    while !engine.is_idle() {
        engine.step(&mut events);
    }
    let decode_seconds = all_ready.elapsed().as_secs_f64();
    for event in events {
        if let Event::Failed { error, .. } = event {
            return Err(error.into());
        }
    }
    let end = engine.counters();
    check(&begin, &prefilled, &ready, &end, workloads)?;
    let asked: u64 = workloads.iter().map(|work| (work.samples * work.generated) as u64).sum();
    let before = decoded(&ready, &prefilled);
    let after = decoded(&end, &ready);
    // If nothing had been decoded yet, the first tokens come from the prompts' logits.
    let samples: u64 = workloads.iter().map(|work| work.samples as u64).sum();
    let first_tokens = if before == 0 { samples } else { 0 };
    Ok(Timing {
        prefill_tokens: prefilled.prefill_tokens - begin.prefill_tokens,
        prefill_seconds,
        decode_tokens: after.saturating_sub(first_tokens),
        decode_seconds,
        decode_tokens_asked: asked.saturating_sub(before + first_tokens),
        shared_tokens: prefilled.cached_tokens - begin.cached_tokens,
    })
}

/// Checks that prompts were computed once, then found in the cache except for their last pages, and that no sample
/// waited.
fn check(
    begin: &Counters,
    prefilled: &Counters,
    ready: &Counters,
    end: &Counters,
    workloads: &[Workload],
) -> Result<(), MeasureError> {
    let groups = workloads.len() as u64;
    let asked: u64 = workloads.iter().map(|workload| workload.prompt.len() as u64).sum();
    let phase = |from: &Counters, to: &Counters| {
        let prefills = to.prefills - from.prefills;
        let computed = to.prefill_tokens - from.prefill_tokens;
        let cached = to.cached_tokens - from.cached_tokens;
        let found = MeasureError::NotOnce { prefills, computed, cached, groups, asked };
        (prefills == groups && computed + cached == asked, computed, found)
    };
    let (is_once, _, first) = phase(begin, prefilled);
    let (is_cached, computed, second) = phase(prefilled, end);
    if !is_once {
        return Err(first);
    }
    if !is_cached || computed > groups * PAGE_TOKENS as u64 {
        return Err(second);
    }
    let generated = workloads.iter().map(|workload| workload.generated).max().unwrap_or(0);
    let steps = end.decode_steps - ready.decode_steps;
    match steps > generated as u64 {
        true => Err(MeasureError::NotTogether { steps, generated }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(prefills: u64, computed: u64, cached: u64, decode_steps: u64) -> Counters {
        let (prefill_tokens, cached_tokens) = (computed, cached);
        Counters { prefills, prefill_tokens, cached_tokens, decode_steps, ..Counters::default() }
    }

    #[test]
    fn prompts_are_computed_once_found_again_and_their_samples_decode_together() {
        let workload = || Workload { prompt: vec![0; 100], samples: 4, generated: 8, seed: 0 };
        let workloads = [workload(), workload()];
        let held = |prefilled: Counters, end: Counters| {
            check(&Counters::default(), &prefilled, &prefilled, &end, &workloads)
        };
        let once = counters(2, 190, 10, 0);
        assert!(held(once, counters(4, 262, 138, 8)).is_ok());
        let twice = held(counters(2, 200, 10, 0), counters(4, 272, 138, 8));
        assert!(matches!(twice, Err(MeasureError::NotOnce { .. })));
        let forgotten = held(once, counters(4, 380, 20, 8));
        assert!(matches!(forgotten, Err(MeasureError::NotOnce { .. })));
        let waited = held(once, counters(4, 262, 138, 9));
        assert!(matches!(waited, Err(MeasureError::NotTogether { steps: 9, generated: 8 })));
    }
}
