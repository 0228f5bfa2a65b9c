use proptest::prelude::*;

use super::*;
use crate::model::attention::SequenceRows;
use crate::model::forward::Row;
use crate::request::Sampling;

/// Pages are handed out in order; each page of a list of tokens holds at most `tokens`.
fn segments(tokens: usize, page_tokens: usize, next_page: &mut u32) -> Vec<Segment> {
    (0..tokens)
        .step_by(page_tokens)
        .map(|first| {
            *next_page += 1;
            Segment { page: *next_page - 1, tokens: page_tokens.min(tokens - first) }
        })
        .collect()
}

fn row(position: usize, segments: &[Segment], first: usize) -> Row {
    let mut left = position - first;
    for segment in segments {
        if left < segment.tokens {
            let (page, slot) = (segment.page, left);
            return Row { token: position as u32, position, page, slot, wants_logits: true };
        }
        left -= segment.tokens;
    }
    panic!("position {position} has no slot");
}

/// A group of samples: its prompt's length, and each sample's own tokens, with how many of the last are computed now.
#[derive(Debug, Clone)]
struct Samples {
    prompt: usize,
    own: Vec<(usize, usize)>,
}

/// Groups of samples, then chunks of prompts: tokens so far, and those that are computed now.
fn batch(groups: &[Samples], prompts: &[(usize, usize)]) -> Batch {
    let (mut batch, mut page) = (Batch::default(), 0);
    for group in groups {
        let shared = segments(group.prompt, 50, &mut page);
        let mut sequences = Vec::new();
        for &(own, now) in &group.own {
            let segments = segments(own, PAGE_TOKENS, &mut page);
            let first = batch.rows.len();
            for position in group.prompt + own - now..group.prompt + own {
                batch.rows.push(row(position, &segments, group.prompt));
                let sampling = Sampling { temperature: 1.0, top_p: 0.5, seed: 4 };
                batch.asks.push(Ask::Token(sampling, position as u64));
            }
            sequences.push(SequenceRows { rows: first..batch.rows.len(), own: segments });
        }
        batch.clusters.push(Cluster { shared, sequences });
    }
    batch.sample_rows = batch.rows.len();
    for &(tokens, now) in prompts {
        let shared = segments(tokens, PAGE_TOKENS, &mut page);
        let first = batch.rows.len();
        for position in tokens - now..tokens {
            batch.rows.push(row(position, &shared, 0));
        }
        let sequences = vec![SequenceRows { rows: first..batch.rows.len(), own: Vec::new() }];
        batch.clusters.push(Cluster { shared, sequences });
    }
    batch
}

/// The lists of slots, as the card writes them out.
fn lists(tables: &Tables) -> Vec<u32> {
    let mut slots = vec![u32::MAX; tables.listed];
    for &[page, tokens, at] in &tables.segments {
        for token in 0..tokens {
            slots[(at + token) as usize] = page * PAGE_TOKENS as u32 + token;
        }
    }
    slots
}

fn cut(per_kv: usize, shares: bool) -> Cut {
    Cut { per_kv, most_ranges: 16, shares }
}

/// For every row and head of one key head: the ranges of tokens that it attends to, as (begin, end, part).
fn met(tables: &Tables, per_kv: usize) -> Vec<Vec<(u32, u32, u32)>> {
    let mut met = vec![Vec::new(); tables.tokens.len() * per_kv];
    for task in &tables.tasks {
        let end = (task.first_query + TASK_QUERIES as u32).min(task.rows * per_kv as u32);
        for query in task.first_query..end {
            let in_task = query / per_kv as u32;
            let row = (task.first_row + in_task) as usize;
            let part = match task.partial {
                Task::WHOLE => Task::WHOLE,
                partial => partial + in_task,
            };
            met[row * per_kv + query as usize % per_kv].push((task.begin, task.end, part));
        }
    }
    met
}

fn samples() -> impl Strategy<Value = Samples> {
    let own = (1..700usize, 1..4usize).prop_map(|(own, now)| (own, now.min(own)));
    (1..6000usize, proptest::collection::vec(own, 1..5))
        .prop_map(|(prompt, own)| Samples { prompt, own })
}

proptest! {
    #[test]
    fn every_row_meets_every_token_before_it_once(
        groups in proptest::collection::vec(samples(), 0..3),
        prompts in proptest::collection::vec((1..300usize, 1..100usize), 0..3),
        per_kv in 1..9usize,
        shares: bool,
    ) {
        let prompts: Vec<(usize, usize)> =
            prompts.into_iter().map(|(tokens, now)| (tokens, now.min(tokens))).collect();
        let batch = batch(&groups, &prompts);
        let tables = Tables::of(&batch, cut(per_kv, shares));
        let mut parts = std::collections::HashSet::new();
        for (query, mut ranges) in met(&tables, per_kv).into_iter().enumerate() {
            let row = query / per_kv;
            ranges.sort_unstable();
            let position = tables.positions[row];
            let mut next = 0;
            for &(begin, end, part) in &ranges {
                prop_assert_eq!(begin, next, "row {}: {:?}", row, ranges);
                next = end;
                if part != Task::WHOLE {
                    prop_assert!(part < tables.part_rows as u32);
                    parts.insert(part);
                }
            }
            prop_assert!(next > position, "row {} sees {} tokens only", row, next);
            if row < tables.sample_rows {
                // The merge reads them in the order of their tokens.
                let own = tables.parts[row];
                let shared = (0..own.shared_count).map(|i| own.shared + i * own.shared_stride);
                let listed = shared.chain((0..own.own_count).map(|i| own.own + i * own.own_stride));
                prop_assert!(listed.eq(ranges.iter().map(|&(_, _, part)| part)));
            } else {
                prop_assert_eq!(ranges.len(), 1);
            }
        }
        prop_assert_eq!(parts.len(), tables.part_rows, "no part is written by two rows");
    }

    #[test]
    fn lists_hold_the_slots_that_rows_write_to(groups in proptest::collection::vec(samples(), 1..3)) {
        let batch = batch(&groups, &[]);
        let tables = Tables::of(&batch, cut(1, true));
        let slots = lists(&tables);
        prop_assert!(!slots.contains(&u32::MAX));
        for task in &tables.tasks {
            for row in task.first_row..task.first_row + task.rows {
                let position = tables.positions[row as usize];
                if (task.begin..task.end).contains(&position) {
                    let listed = slots[(task.slots_at + position - task.first_token) as usize];
                    prop_assert_eq!(listed, tables.slots[row as usize]);
                }
            }
        }
    }

    #[test]
    fn cuts_depend_on_the_sample_alone(
        group in samples(),
        others in proptest::collection::vec(samples(), 0..3),
        shares: bool,
    ) {
        let alone = Samples { own: group.own[..1].to_vec(), ..group.clone() };
        let cuts = |tables: &Tables, row: usize| -> Vec<(u32, u32)> {
            let mut ranges: Vec<(u32, u32)> =
                met(tables, 1)[row].iter().map(|&(begin, end, _)| (begin, end)).collect();
            ranges.sort_unstable();
            ranges
        };
        let beside: Vec<Samples> = others.into_iter().chain([group.clone()]).collect();
        let together = Tables::of(&batch(&beside, &[(100, 7)]), cut(1, true));
        let first = beside[..beside.len() - 1].iter().flat_map(|other| &other.own).map(|own| own.1).sum();
        let apart = Tables::of(&batch(&[alone], &[]), cut(1, shares));
        prop_assert_eq!(cuts(&together, first), cuts(&apart, 0));
    }
}

#[test]
fn prompts_are_cut_into_few_ranges() {
    let (many, few) = (cut(1, true), Cut { most_ranges: 32, ..cut(1, true) });
    let prompts = [1, 256, 4096, 4097, 32_768];
    assert_eq!(prompts.map(|prompt| many.range_tokens(prompt)), [256, 256, 256, 320, 2048]);
    assert_eq!(prompts.map(|prompt| few.range_tokens(prompt)), [256, 256, 256, 256, 1024]);
    for cut in [many, few] {
        let ranges = |prompt: usize| prompt.div_ceil(cut.range_tokens(prompt));
        assert!((1..100_000).all(|prompt| ranges(prompt) <= cut.most_ranges));
    }
}

#[test]
fn what_is_asked_stands_beside_its_row() {
    let mut batch = batch(&[Samples { prompt: 10, own: vec![(3, 1), (4, 1), (5, 1)] }], &[]);
    let after = Arc::new(vec![5, 6, 7]);
    let question = Arc::new(crate::readout::Question {
        sets: vec![Arc::new(vec![9]), after.clone(), after.clone()],
    });
    batch.asks[1] = Ask::Masses(question.clone());
    batch.asks[2] = Ask::Masses(question);
    let tables = Tables::of(&batch, cut(2, true));
    assert_eq!(tables.draws.iter().map(|draw| draw.kind).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(tables.draws[0].random, uniform(4, 12));
    let outs: Vec<(u32, u32)> =
        tables.questions.iter().map(|asked| (asked.row, asked.out)).collect();
    assert_eq!(outs, [(1, 0), (2, 3)]);
    // Equal sets are sent once.
    assert_eq!(tables.members, [9, 5, 6, 7]);
    assert_eq!(tables.sets, [[0, 1], [1, 3], [1, 3], [0, 1], [1, 3], [1, 3]]);
}
