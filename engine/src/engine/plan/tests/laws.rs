//! Invariants of a single step, for any workload.

use crate::engine::plan::{State, StepPlan, chunk_beside};

/// Checks a plan against the state that it was made from.
pub(super) fn check(state: &State, plan: &StepPlan) {
    let (leaving, decoding): (Vec<usize>, Vec<usize>) =
        (0..state.sequences.len()).partition(|&sequence| state.sequences[sequence].cancelled);
    assert_eq!(plan.leave, leaving, "cancelled sequences leave at once");
    assert_eq!(plan.decode, decoding, "all others decode");
    let sequences = plan.decode.len() + plan.join.len();
    assert!(sequences <= state.limits.max_sequences);
    let prefill: usize = plan.prefill.iter().map(|chunk| chunk.tokens).sum();
    assert!(prefill <= chunk_beside(sequences, state.limits.prefill_chunk));
    for chunk in &plan.prefill {
        assert!(chunk.tokens > 0 && !plan.drop.contains(&chunk.group));
    }
    for group in &state.groups {
        let live = decoding
            .iter()
            .any(|&sequence| state.groups[state.sequences[sequence].group] == *group);
        let gone = group.waiting == 0 && !live;
        assert_eq!(plan.drop.contains(&group.id), gone, "a group without samples is dropped");
        let begun = plan.start.iter().any(|start| start.group == group.id);
        assert!(!(gone && begun), "and never started");
        let joins = plan.join.iter().filter(|join| join.group == group.id).count();
        assert!(joins <= group.waiting);
    }
}
