//! What kernels are told of a batch. Pure.
//!
//! Tokens that a sequence sees are numbered by position: first the prompt's, which all samples of a group share, then the
//! sample's own. A list of slots says where each lies; the card writes the lists out from segments of pages. A row that a sample
//! generated attends in *ranges*: the prompt's, cut at multiples of a length that depends on the prompt's, then its own; each
//! range leaves a part, and the parts are merged. Cuts depend on the sample alone, so they leave the same bits whoever
//! decodes beside it. A row of a prompt attends to all it sees at once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::layout::Extent;
use super::memory::Capacity;
use crate::model::Shape;
use crate::model::attention::Cluster;
use crate::model::forward::Batch;
use crate::model::kv::{PAGE_TOKENS, Segment};
use crate::outputs::Ask;
use crate::sampling::uniform;
use jury_kernels::cuda::{Draw, Parts, Question, TASK_QUERIES, Task};

/// Tokens of a range at least. Fewer make more parts to merge, more leave a long prompt to too few multiprocessors.
pub(crate) const LEAST_RANGE: usize = 256;
/// Rows of a step that repeats, at most: larger steps are busy enough to be launched kernel by kernel.
const MOST_REPEATED_ROWS: usize = 512;

/// A batch, as the card sees it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tables {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    /// Where each row's keys and values go.
    pub(crate) slots: Vec<u32>,
    /// Rows that samples generated: the first.
    pub(crate) sample_rows: usize,
    /// Rows whose logits are wanted.
    pub(crate) wanted: Vec<u32>,
    /// Page, tokens, and where their slots go.
    pub(crate) segments: Vec<[u32; 3]>,
    /// Entries of the lists of slots.
    pub(crate) listed: usize,
    pub(crate) tasks: Vec<Task>,
    /// One for each row of samples.
    pub(crate) parts: Vec<Parts>,
    /// Rows of parts.
    pub(crate) part_rows: usize,
    /// One for each wanted row of samples.
    pub(crate) draws: Vec<Draw>,
    pub(crate) questions: Vec<Question>,
    /// First member and members.
    pub(crate) sets: Vec<[u32; 2]>,
    pub(crate) members: Vec<u32>,
}

/// How attention is cut into tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Query heads that share a key head.
    pub(crate) per_kv: usize,
    /// Ranges of a prompt at most.
    pub(crate) most_ranges: usize,
    /// Whether samples of a group read their prompt together.
    pub(crate) shares: bool,
}

// === impl Cut ===

impl Cut {
    /// A block has one range and key head: where there are few heads, more ranges keep a card busy.
    pub(crate) fn of(shape: &Shape, shares: bool) -> Cut {
        let most_ranges = if shape.kv_heads > 2 { 16 } else { 32 };
        Cut { per_kv: shape.heads_per_kv(), most_ranges, shares }
    }

    /// Length of the ranges that a prompt is cut into.
    fn range_tokens(self, prompt: usize) -> usize {
        prompt.div_ceil(self.most_ranges).next_multiple_of(PAGE_TOKENS).max(LEAST_RANGE)
    }
}

// === impl Tables ===

impl Tables {
    pub(crate) fn of(batch: &Batch, cut: Cut) -> Tables {
        let mut tables = Tables { sample_rows: batch.sample_rows, ..Tables::default() };
        for (index, row) in (0u32..).zip(&batch.rows) {
            tables.tokens.push(row.token);
            tables.positions.push(row.position as u32);
            tables.slots.push(row.page * PAGE_TOKENS as u32 + row.slot as u32);
            if row.wants_logits {
                tables.wanted.push(index);
            }
        }
        tables.parts = vec![Parts::default(); batch.sample_rows];
        for cluster in &batch.clusters {
            let rows = cluster.sequences.iter().flat_map(|sequence| sequence.rows.clone());
            let Some(first) = rows.clone().next() else { continue };
            if first < batch.sample_rows {
                tables.add_samples(cluster, cut);
            } else {
                tables.add_prompt(cluster, first..first + rows.count(), cut.per_kv);
            }
        }
        tables.add_asks(batch);
        tables
    }

    /// Whether steps like this come again and again: samples that decode.
    pub(crate) fn repeats(&self) -> bool {
        self.sample_rows == self.tokens.len() && self.sample_rows <= MOST_REPEATED_ROWS
    }

    /// Its sizes.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            rows: self.tokens.len(),
            sample_rows: self.sample_rows,
            wanted: self.wanted.len(),
            segments: self.segments.len(),
            tasks: self.tasks.len(),
        }
    }

    /// What its buffers must have room for.
    pub(crate) fn capacity(&self) -> Capacity {
        let Extent { rows, wanted, .. } = self.extent().padded();
        Capacity { rows, wanted, parts: self.part_rows, slots: self.listed }
    }

    /// Rows of samples that share a prompt.
    fn add_samples(&mut self, cluster: &Cluster, cut: Cut) {
        let prompt: usize = cluster.shared.iter().map(|segment| segment.tokens).sum();
        let slots_at = self.list(&cluster.shared);
        let each = cluster.sequences.iter().map(|sequence| sequence.rows.clone());
        let readers: Vec<Range<usize>> = match cut.shares {
            false => each.collect(),
            true => each.reduce(|all, next| all.start..next.end).into_iter().collect(),
        };
        for rows in readers {
            self.add_prompt_of(rows, cut, slots_at, prompt);
        }
        for sequence in &cluster.sequences {
            self.add_own(sequence.rows.clone(), &sequence.own, prompt, cut.per_kv);
        }
    }

    /// Rows of samples that read their prompt together.
    fn add_prompt_of(&mut self, rows: Range<usize>, cut: Cut, slots_at: usize, prompt: usize) {
        let (length, first_part) = (cut.range_tokens(prompt), self.part_rows);
        let mut ranges = 0;
        for begin in (0..prompt).step_by(length) {
            let tokens = begin..prompt.min(begin + length);
            self.add_range(rows.clone(), cut.per_kv, (slots_at, 0), tokens);
            ranges += 1;
        }
        for row in rows.clone() {
            self.parts[row] = Parts {
                shared: (first_part + row - rows.start) as u32,
                shared_stride: rows.len() as u32,
                shared_count: ranges,
                ..Parts::default()
            };
        }
    }

    /// A sample's rows and the tokens that it alone sees.
    fn add_own(&mut self, rows: Range<usize>, own: &[Segment], prompt: usize, per_kv: usize) {
        let end = prompt + own.iter().map(|segment| segment.tokens).sum::<usize>();
        let slots_at = self.list(own);
        let first_part = self.part_rows;
        let mut ranges = 0;
        for begin in (prompt..end).step_by(LEAST_RANGE) {
            let tokens = begin..end.min(begin + LEAST_RANGE);
            self.add_range(rows.clone(), per_kv, (slots_at, prompt), tokens);
            ranges += 1;
        }
        for row in rows.clone() {
            let parts = &mut self.parts[row];
            parts.own = (first_part + row - rows.start) as u32;
            parts.own_stride = rows.len() as u32;
            parts.own_count = ranges;
        }
    }

    /// The tasks of rows that see a range of tokens, and their parts.
    fn add_range(
        &mut self,
        rows: Range<usize>,
        per_kv: usize,
        (slots_at, first_token): (usize, usize),
        tokens: Range<usize>,
    ) {
        for first_query in (0..rows.len() * per_kv).step_by(TASK_QUERIES) {
            self.tasks.push(Task {
                first_row: rows.start as u32,
                rows: rows.len() as u32,
                first_query: first_query as u32,
                slots_at: slots_at as u32,
                first_token: first_token as u32,
                begin: tokens.start as u32,
                end: tokens.end as u32,
                partial: self.part_rows as u32,
            });
        }
        self.part_rows += rows.len();
    }

    /// Rows of a prompt.
    fn add_prompt(&mut self, cluster: &Cluster, rows: Range<usize>, per_kv: usize) {
        let slots_at = self.list(&cluster.shared);
        // The last rows see most: their tasks begin first, and short ones fill the end.
        for first_query in (0..rows.len() * per_kv).step_by(TASK_QUERIES).rev() {
            let last = (first_query + TASK_QUERIES - 1) / per_kv;
            let last_row = rows.start + last.min(rows.len() - 1);
            self.tasks.push(Task {
                first_row: rows.start as u32,
                rows: rows.len() as u32,
                first_query: first_query as u32,
                slots_at: slots_at as u32,
                first_token: 0,
                begin: 0,
                end: self.positions[last_row] + 1,
                partial: Task::WHOLE,
            });
        }
    }

    /// Lists the slots of segments; gives where the list begins.
    fn list(&mut self, segments: &[Segment]) -> usize {
        let first = self.listed;
        for segment in segments {
            self.segments.push([segment.page, segment.tokens as u32, self.listed as u32]);
            self.listed += segment.tokens;
        }
        first
    }

    fn add_asks(&mut self, batch: &Batch) {
        let mut known: HashMap<*const Vec<u32>, u32> = HashMap::new();
        let mut answers = 0;
        for (row, ask) in (0u32..).zip(&batch.asks) {
            let mut draw = Draw { row, ..Draw::default() };
            match ask {
                Ask::Hidden => {}
                Ask::Token(sampling, position) => {
                    draw.kind = 1;
                    draw.temperature = sampling.temperature;
                    draw.top_p = sampling.top_p;
                    draw.random = uniform(sampling.seed, *position);
                }
                Ask::Masses(question) => {
                    let sets = question.sets.len() as u32;
                    let first_set = self.sets.len() as u32;
                    self.questions.push(Question { row, first_set, sets, out: answers });
                    answers += sets;
                    for set in &question.sets {
                        let first = *known.entry(Arc::as_ptr(set)).or_insert_with(|| {
                            let first = self.members.len() as u32;
                            self.members.extend(set.iter());
                            first
                        });
                        self.sets.push([first, set.len() as u32]);
                    }
                }
            }
            self.draws.push(draw);
        }
    }
}

#[cfg(test)]
mod tests;
