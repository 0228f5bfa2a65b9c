//! Invariants of plans: arbitrary workloads, run on a real prefix tree without a model.

#![allow(clippy::unwrap_used)] // Tests may.

mod laws;
mod simulation;
mod workload;

use proptest::prelude::*;

use super::*;
use simulation::Simulation;
use workload::{arrivals, limits};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Checks every step against the budget, the chunk and the sequences; the workload must finish.
    #[test]
    fn whatever_fits_is_admitted_and_finished_within_the_budget(
        arrivals in arrivals(),
        limits in limits(),
        spare_pages in 0_usize..12,
    ) {
        let mut simulation = Simulation::new(limits, &arrivals, spare_pages);
        let asked: usize = arrivals.iter().map(|arrival| arrival.samples.len()).sum();
        let mut steps = 0;
        while !simulation.is_idle() {
            simulation.step();
            steps += 1;
            prop_assert!(steps < 50_000, "starved: {:?}", simulation.state());
        }
        prop_assert_eq!(simulation.finished + simulation.cancelled, asked);
        prop_assert_eq!(simulation.state().pages.reserved, 0);
        prop_assert_eq!(simulation.pages_in_use(), 0);
    }

    #[test]
    fn equal_states_have_equal_plans(
        arrivals in arrivals(),
        limits in limits(),
        steps in 0_usize..20,
    ) {
        let run = || {
            let mut simulation = Simulation::new(limits, &arrivals, 3);
            (0..steps).for_each(|_| simulation.step());
            plan(&simulation.state())
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_chunk_beside_sequences_is_bounded_by_the_chunk_without(sequences in 0_usize..200, chunk in 1_usize..2_000) {
        let beside = chunk_beside(sequences, chunk);
        prop_assert!((1..=chunk).contains(&beside));
        prop_assert!(beside <= chunk_beside(sequences + 1, chunk) || sequences == 0);
        prop_assert!(sequences == 0 || beside <= LEAST_CHUNK_BESIDE_LANES.max(CHUNK_PER_LANE * sequences));
    }
}

const ROOMY: Pages = Pages { free: 1_000, idle: 0, reserved: 0 };

fn queued(id: u64, tokens: usize, shared_tokens: usize) -> GroupView {
    let prompt =
        PromptView::Queued { tokens, cached_tokens: 0, cached_idle_pages: 0, shared_tokens };
    GroupView { id: GroupId(id), waiting: 2, sequence_pages: 1, first_tokens: 1, prompt }
}

fn state(pages: Pages, groups: Vec<GroupView>) -> State {
    let limits = Limits { max_sequences: 8, prefill_chunk: 256 };
    State { limits, pages, groups, sequences: Vec::new() }
}

fn chunks(plan: &StepPlan) -> Vec<(u64, usize)> {
    plan.prefill.iter().map(|chunk| (chunk.group.0, chunk.tokens)).collect()
}

#[test]
fn short_prompts_fill_what_an_older_one_leaves_of_a_chunk() {
    let plan = plan(&state(ROOMY, vec![queued(0, 200, 0), queued(1, 40, 0), queued(2, 300, 0)]));
    assert_eq!(chunks(&plan), [(0, 200), (1, 40), (2, 16)]);
}

#[test]
fn a_prompt_whose_beginning_is_being_computed_waits_and_lets_others_pass() {
    let groups = vec![queued(0, 200, 0), queued(1, 200, 150), queued(2, 50, 9)];
    assert_eq!(chunks(&plan(&state(ROOMY, groups))), [(0, 200), (2, 50)]);
}

#[test]
fn a_group_that_finds_no_room_holds_back_the_younger_ones() {
    let pages = Pages { free: 6, idle: 0, reserved: 0 };
    let groups = vec![queued(0, 65, 0), queued(1, 200, 0), queued(2, 10, 0)];
    let plan = plan(&state(pages, groups));
    assert_eq!(plan.start, [Start { group: GroupId(0), from_cache: true }]);
}

#[test]
fn a_lonely_group_starts_without_the_cache_where_it_fits_only_so() {
    let pages = Pages { free: 0, idle: 4, reserved: 0 };
    let mut group = queued(0, 192, 0);
    group.prompt = PromptView::Queued {
        tokens: 192,
        cached_tokens: 5,
        cached_idle_pages: 1,
        shared_tokens: 0,
    };
    let plan = plan(&state(pages, vec![group]));
    assert_eq!(plan.start, [Start { group: GroupId(0), from_cache: false }]);
    assert_eq!((plan.evict, chunks(&plan)), (3, vec![(0, 192)]));
}

#[test]
fn a_cancelled_sequence_s_place_and_pages_are_taken_in_the_same_step() {
    let started = PromptView::Started { tokens_left: 0, ready: true, room: 3, base_free: false };
    let group = GroupView { waiting: 1, prompt: started, ..queued(7, 1, 0) };
    let sequence =
        SequenceView { group: 0, tokens: 5, pending: 1, pages: 1, on_base: true, cancelled: true };
    let other = SequenceView { on_base: false, cancelled: false, ..sequence };
    let mut state = state(Pages { free: 0, idle: 0, reserved: 0 }, vec![group]);
    state.limits.max_sequences = 2;
    state.sequences = vec![sequence, other];
    let plan = plan(&state);
    assert_eq!((plan.leave, plan.decode, plan.evict), (vec![0], vec![1], 0));
    assert_eq!(plan.join, [Join { group: GroupId(7), on_base: true }]);
}

#[test]
fn prompts_are_computed_in_smaller_chunks_beside_sequences() {
    assert_eq!(
        [0, 1, 16, 32, 64, 100].map(|sequences| chunk_beside(sequences, 256)),
        [256, 64, 64, 128, 256, 256]
    );
    assert_eq!(chunk_beside(5, 10), 10);
}
