//! A batch's tables as one block of bytes that goes to the card in one copy.
//!
//! Steps of decoding samples are padded to a few sizes, so that the same launches, recorded once, serve many of them:
//! padding rows write to a page of their own, and padding tasks lie beyond the task count.

use super::tables::Tables;
use crate::model::kv::PAGE_TOKENS;
use jury_kernels::cuda::{Buffer, Card, CudaError, Draw, Parts, Pinned, Question, Task, View};

/// Alignment of sections, in bytes.
const ALIGNED: usize = 16;

/// The sizes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    /// Rows that samples generated; they come first.
    pub(crate) sample_rows: usize,
    /// Rows whose logits are wanted.
    pub(crate) wanted: usize,
    pub(crate) segments: usize,
    pub(crate) tasks: usize,
}

/// Where the sections of a block begin, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sections {
    counts: usize,
    tokens: usize,
    positions: usize,
    slots: usize,
    wanted: usize,
    segments: usize,
    tasks: usize,
    parts: usize,
    draws: usize,
    questions: usize,
    sets: usize,
    members: usize,
    end: usize,
}

/// The block, in host memory and on the card.
#[derive(Debug, Default)]
pub(crate) struct Block {
    memory: Option<(Pinned, Buffer<u8>)>,
}

/// Inputs of the forward pass's launches.
pub(crate) struct StepViews<'a> {
    pub(crate) segment_count: View<'a, u32>,
    pub(crate) task_count: View<'a, u32>,
    pub(crate) tokens: View<'a, u32>,
    pub(crate) positions: View<'a, u32>,
    pub(crate) slots: View<'a, u32>,
    pub(crate) wanted: View<'a, u32>,
    pub(crate) segments: View<'a, u32>,
    pub(crate) tasks: View<'a, Task>,
    pub(crate) parts: View<'a, Parts>,
    /// One for each wanted row.
    pub(crate) draws: View<'a, Draw>,
}

/// Inputs of the launch that answers questions.
pub(crate) struct AnswerViews<'a> {
    pub(crate) questions: View<'a, Question>,
    pub(crate) sets: View<'a, u32>,
    pub(crate) members: View<'a, u32>,
}

// === impl Extent ===

impl Extent {
    /// The sizes to which a step of decoding samples is padded.
    pub(crate) fn padded(self) -> Extent {
        let rows = step(self.rows);
        let wanted = if self.wanted == self.rows { rows } else { step(self.wanted) };
        let sample_rows = if self.sample_rows == self.rows { rows } else { self.sample_rows };
        Extent { rows, sample_rows, wanted, segments: step(self.segments), tasks: step(self.tasks) }
    }
}

/// The next of 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: at most half as much again.
fn step(size: usize) -> usize {
    let power = size.next_power_of_two();
    let between = power / 4 * 3;
    match size {
        0 => 0,
        _ if between >= size => between,
        _ => power,
    }
}

// === impl Sections ===

impl Sections {
    /// Sections of a step, followed by what its answers need.
    fn of(extent: &Extent, tables: &Tables) -> Sections {
        let mut end = 0;
        let mut section = |bytes: usize| {
            let begin = end;
            end = (begin + bytes).next_multiple_of(ALIGNED);
            begin
        };
        let words = size_of::<u32>();
        Sections {
            counts: section(2 * ALIGNED),
            tokens: section(extent.rows * words),
            positions: section(extent.rows * words),
            slots: section(extent.rows * words),
            wanted: section(extent.wanted * words),
            segments: section(extent.segments * 3 * words),
            tasks: section(extent.tasks * size_of::<Task>()),
            parts: section(extent.sample_rows * size_of::<Parts>()),
            draws: section(extent.wanted * size_of::<Draw>()),
            questions: section(tables.questions.len() * size_of::<Question>()),
            sets: section(tables.sets.len() * 2 * words),
            members: section(tables.members.len() * words),
            end,
        }
    }
}

// === impl Block ===

impl Block {
    /// Writes a batch's tables, padded to `extent`, and starts copying them; returns whether the block has moved.
    pub(crate) fn fill(
        &mut self,
        card: &Card,
        tables: &Tables,
        extent: Extent,
        scratch_page: u32,
    ) -> Result<bool, CudaError> {
        let sections = Sections::of(&extent, tables);
        let room = self.memory.as_ref().map_or(0, |(_, buffer)| buffer.len());
        let moves = room < sections.end;
        if moves {
            self.memory = None;
            let bytes = sections.end.next_power_of_two().max(1 << 16);
            self.memory =
                Some((Pinned::new(card, bytes)?, Buffer::new(card, bytes, "tables of a step")?));
        }
        if let Some((pinned, buffer)) = &mut self.memory {
            write(&sections, &extent, tables, scratch_page, pinned.bytes());
            buffer.write_pinned(pinned, sections.end)?;
        }
        Ok(moves)
    }

    /// Inputs of the launches of the step that was written.
    pub(crate) fn step(&self, extent: &Extent) -> Option<StepViews<'_>> {
        let sections = Sections::of(extent, &Tables::default());
        let all = self.memory.as_ref()?.1.view();
        let words = |at: usize, len: usize| all.slice(at..at + len * 4).cast::<u32>(len);
        let tasks = all.slice(sections.tasks..sections.tasks + extent.tasks * size_of::<Task>());
        let parts =
            all.slice(sections.parts..sections.parts + extent.sample_rows * size_of::<Parts>());
        let draws = all.slice(sections.draws..sections.draws + extent.wanted * size_of::<Draw>());
        Some(StepViews {
            segment_count: words(sections.counts, 1),
            task_count: words(sections.counts + ALIGNED, 1),
            tokens: words(sections.tokens, extent.rows),
            positions: words(sections.positions, extent.rows),
            slots: words(sections.slots, extent.rows),
            wanted: words(sections.wanted, extent.wanted),
            segments: words(sections.segments, extent.segments * 3),
            tasks: tasks.cast(extent.tasks),
            parts: parts.cast(extent.sample_rows),
            draws: draws.cast(extent.wanted),
        })
    }

    /// Inputs of the launch that answers the step's questions.
    pub(crate) fn answers(&self, extent: &Extent, tables: &Tables) -> Option<AnswerViews<'_>> {
        let sections = Sections::of(extent, tables);
        let all = self.memory.as_ref()?.1.view();
        let bytes = |at: usize, end: usize| all.slice(at..end);
        Some(AnswerViews {
            questions: bytes(sections.questions, sections.sets).cast(tables.questions.len()),
            sets: bytes(sections.sets, sections.members).cast(tables.sets.len() * 2),
            members: bytes(sections.members, sections.end).cast(tables.members.len()),
        })
    }
}

/// Writes the sections; padding becomes a harmless row, segment or part.
fn write(sections: &Sections, extent: &Extent, tables: &Tables, scratch_page: u32, to: &mut [u8]) {
    let scratch_slot = scratch_page * PAGE_TOKENS as u32;
    let padding = |numbers: &[u32], len: usize, with: u32| {
        let mut padded = numbers.to_vec();
        padded.resize(len, with);
        padded
    };
    let Extent { rows, wanted, segments, .. } = *extent;
    put(to, sections.counts, [tables.segments.len() as u32]);
    put(to, sections.counts + ALIGNED, [tables.tasks.len() as u32]);
    put(to, sections.tokens, padding(&tables.tokens, rows, 0));
    put(to, sections.positions, padding(&tables.positions, rows, 0));
    put(to, sections.slots, padding(&tables.slots, rows, scratch_slot));
    put(to, sections.wanted, padding(&tables.wanted, wanted, 0));
    let flat = tables.segments.as_flattened();
    put(to, sections.segments, padding(flat, segments * 3, 0));
    put(to, sections.tasks, tables.tasks.iter().flat_map(task_words));
    let parts = tables.parts.iter().flat_map(parts_words).collect::<Vec<u32>>();
    put(to, sections.parts, padding(&parts, extent.sample_rows * 6, 0));
    // Nothing is drawn from rows of prompts or padding.
    let nothing =
        std::iter::repeat(&Draw { row: 0, temperature: 0.0, top_p: 0.0, kind: 0, random: 0.0 });
    let draws = tables.draws.iter().chain(nothing).take(wanted);
    for (draw, at) in draws.zip((sections.draws..).step_by(size_of::<Draw>())) {
        put(to, at, [draw.row, draw.temperature.to_bits(), draw.top_p.to_bits(), draw.kind]);
        to[at + 16..at + 24].copy_from_slice(&draw.random.to_ne_bytes());
    }
    let question = |asked: &Question| [asked.row, asked.first_set, asked.sets, asked.out];
    put(to, sections.questions, tables.questions.iter().flat_map(question));
    put(to, sections.sets, tables.sets.iter().flatten().copied());
    put(to, sections.members, tables.members.iter().copied());
}

fn put(to: &mut [u8], at: usize, words: impl IntoIterator<Item = u32>) {
    for (word, to) in words.into_iter().zip(to[at..].chunks_exact_mut(4)) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
}

fn task_words(task: &Task) -> [u32; 8] {
    let Task { first_row, rows, first_query, slots_at, first_token, begin, end, partial } = *task;
    [first_row, rows, first_query, slots_at, first_token, begin, end, partial]
}

fn parts_words(parts: &Parts) -> [u32; 6] {
    let Parts { shared, shared_stride, shared_count, own, own_stride, own_count } = *parts;
    [shared, shared_stride, shared_count, own, own_stride, own_count]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_few_and_near() {
        let steps: std::collections::BTreeSet<usize> = (0..=512).map(step).collect();
        assert_eq!(
            steps.iter().take(9).copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 6, 8, 12, 16]
        );
        assert!(steps.len() < 20);
        assert!((1..5000).all(|size| step(size) >= size && step(size) * 2 <= size * 3 + 2));
    }

    #[test]
    fn padding_is_written_over_what_stood_there() {
        let tables = Tables {
            tokens: vec![7, 8, 9, 10, 11],
            positions: vec![3; 5],
            slots: vec![64; 5],
            wanted: vec![0, 1, 2, 3, 4],
            segments: vec![[2, 64, 0]],
            parts: vec![Parts { shared_count: 1, ..Parts::default() }; 5],
            sample_rows: 5,
            ..Tables::default()
        };
        let extent = tables.extent().padded();
        assert_eq!((extent.rows, extent.wanted, extent.sample_rows), (6, 6, 6));
        let sections = Sections::of(&extent, &tables);
        let mut bytes = vec![0xff; sections.end];
        write(&sections, &extent, &tables, 100, &mut bytes);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(word(sections.counts), 1);
        assert_eq!(word(sections.tokens + 4 * 4), 11);
        assert_eq!(word(sections.tokens + 5 * 4), 0);
        assert_eq!(word(sections.slots + 5 * 4), 6400);
        assert_eq!(word(sections.parts + 4 * 24 + 8), 1);
        assert_eq!(word(sections.parts + 5 * 24 + 8), 0);
    }

    #[test]
    fn a_step_begins_alike_whatever_is_asked_after_it() {
        let extent = Extent { rows: 8, sample_rows: 8, wanted: 8, segments: 12, tasks: 6 };
        let asked = Tables { questions: vec![Question::default(); 8], ..Tables::default() };
        let (one, other) =
            (Sections::of(&extent, &asked), Sections::of(&extent, &Tables::default()));
        assert_eq!(
            Sections { sets: 0, members: 0, end: 0, ..one },
            Sections { sets: 0, members: 0, end: 0, ..other }
        );
    }
}
