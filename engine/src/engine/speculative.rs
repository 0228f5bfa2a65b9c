//! Drafts for few samples, when extra rows of a step cost little.

use super::{Engine, GroupState, Stage};
use crate::prompt_lookup::draft;
use jury_kernels::cpu::TILE_ROWS;

// === impl Engine ===

impl Engine {
    /// Lets sequences draft as long as all rows of the next step fit one tile of the kernels, which reads the weights
    /// once for all of them. No sequence drafts while others wait for a slot in the batch or for a prompt: then a step
    /// has enough rows.
    pub(super) fn speculate(&mut self) {
        let is_busy = |group: &GroupState| group.stage != Stage::Ready || !group.waiting.is_empty();
        let each = TILE_ROWS / self.sequences.len().max(1);
        if !self.drafts || each < 2 || self.groups.iter().any(is_busy) {
            return;
        }
        for index in 0..self.sequences.len() {
            let sequence = &self.sequences[index];
            let Some(group) = self.position(sequence.group).map(|at| &self.groups[at]) else {
                continue;
            };
            if !sequence.draws() || sequence.pending.len() != 1 {
                continue;
            }
            // A sample's room ends at its token limit.
            let room = sequence.spec.max_tokens - sequence.tokens - 1;
            let most = (each - 1).min(room).min(sequence.drafts.most());
            let text = [group.prompt.as_slice(), &sequence.drawn].concat();
            let tokens = draft(&text, most);
            self.counters.drafted_tokens += tokens.len() as u64;
            self.sequences[index].draft(tokens);
        }
    }
}
