//! What kernels are told: structs as their sources have them, and views that belong together.

#![allow(unsafe_code)]

use crate::cuda::memory::Plain;
use crate::cuda::{Bf16, View};

/// Sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_size: usize,
}

/// Sizes of latent attention (MLA). A key is (latent vector, rotated part), one for all heads, and its first `rank` elements are the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentHeads {
    /// Heads of queries.
    pub heads: usize,
    /// Elements of the latent vector.
    pub rank: usize,
    /// Elements of the rotated part of queries and keys.
    pub rope: usize,
    /// Elements of the plain part of a projected query.
    pub nope: usize,
}

/// Rows of one matrix that lie `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Begins with the first row's first element.
    pub view: View<'a, Bf16>,
    /// From one row to the next.
    pub stride: usize,
}

/// How queries and keys are made of a product's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Added to queries, keys and values.
    pub bias: Option<View<'a, f32>>,
    /// Weights of a query head's norm.
    pub query_norm: Option<View<'a, f32>>,
    /// Weights of a key head's norm.
    pub key_norm: Option<View<'a, f32>>,
    /// For every position `turned` numbers: cosine and sine of each pair.
    pub turns: View<'a, f32>,
    /// Elements of a head that are turned: its first.
    pub turned: usize,
    /// Whether neighbours are pairs; else those half of `turned` apart.
    pub neighbours: bool,
    /// Of the norms.
    pub epsilon: f32,
}

/// How a latent vector and the rotated parts become keys and queries.
#[derive(Debug, Clone, Copy)]
pub struct LatentRotation<'a> {
    /// Weights of the latent vector's norm: rank.
    pub norm: View<'a, f32>,
    /// For every position `rope` numbers: cosine and sine of each pair.
    pub turns: View<'a, f32>,
    /// Whether neighbours are pairs; else those half of `rope` apart.
    pub neighbours: bool,
    /// Of the norm.
    pub epsilon: f32,
}

/// What attention reads.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Rows x heads x head size.
    pub queries: View<'a, Bf16>,
    /// Slots x key heads x head size, of one layer.
    pub keys: View<'a, Bf16>,
    /// The same of values.
    pub values: View<'a, Bf16>,
    /// Lists of slots that tasks point into.
    pub slots: View<'a, u32>,
    /// Of the batch's rows.
    pub positions: View<'a, u32>,
    /// Scores are multiplied by it.
    pub scale: f32,
    /// Then capped; 0: not.
    pub softcap: f32,
    /// Tokens that a row sees; 0: all.
    pub window: u32,
}

/// What latent attention reads.
#[derive(Debug, Clone, Copy)]
pub struct LatentAttention<'a> {
    /// Rows x heads x (rank + rope).
    pub queries: View<'a, Bf16>,
    /// Slots x (rank + rope), of one layer.
    pub keys: View<'a, Bf16>,
    /// Lists of slots that tasks point into.
    pub slots: View<'a, u32>,
    /// Of the batch's rows.
    pub positions: View<'a, u32>,
    /// Scores are multiplied by it.
    pub scale: f32,
}

/// A block's attention, for every key head: up to 64 queries of neighbouring rows, and a range of tokens that all of them may see.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Of the rows that share the tokens.
    pub first_row: u32,
    /// Rows that share the tokens.
    pub rows: u32,
    /// Queries are numbered by row, then by head among those of the key head.
    pub first_query: u32,
    /// Where the list of slots begins.
    pub slots_at: u32,
    /// The token that the list begins with.
    pub first_token: u32,
    /// The first token of the range.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
    /// The first row's place among the parts; [`Task::WHOLE`]: this is all that the rows see.
    pub partial: u32,
}

/// The parts that a row's attention is merged of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Its part of the first range of shared tokens.
    pub shared: u32,
    /// From one range's part to the next's.
    pub shared_stride: u32,
    /// Ranges of shared tokens.
    pub shared_count: u32,
    /// The same for tokens of its own.
    pub own: u32,
    /// From one range's part to the next's.
    pub own_stride: u32,
    /// Ranges of tokens of its own.
    pub own_count: u32,
}

/// How a token is drawn.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Draw {
    /// The row of logits.
    pub row: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// Share of the probability that is kept.
    pub top_p: f32,
    /// 1: drawn; 0: nothing is.
    pub kind: u32,
    /// In [0, 1).
    pub random: f64,
}

/// Sets of tokens whose probabilities are wanted.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Question {
    /// The row of logits.
    pub row: u32,
    /// The first set, among pairs of (first member, members).
    pub first_set: u32,
    /// Sets.
    pub sets: u32,
    /// Where the first set's answer goes.
    pub out: u32,
}

// SAFETY: numbers without padding (Draw: four words and a double).
unsafe impl Plain for Task {}
// SAFETY: as above.
unsafe impl Plain for Parts {}
// SAFETY: as above.
unsafe impl Plain for Draw {}
// SAFETY: as above.
unsafe impl Plain for Question {}

// === impl Task ===

impl Task {
    /// Says that a task's rows see nothing else.
    pub const WHOLE: u32 = u32::MAX;
}

// === impl Heads ===

impl Heads {
    /// Elements of a row's queries.
    pub fn queries(&self) -> usize {
        self.heads * self.head_size
    }

    /// Elements of a row's keys, or values.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Elements of a row's queries, keys and values.
    pub fn all(&self) -> usize {
        self.queries() + 2 * self.keys()
    }

    pub(super) fn numbers(&self) -> [u32; 3] {
        [self.heads as u32, self.kv_heads as u32, self.head_size as u32]
    }
}

// === impl LatentHeads ===

impl LatentHeads {
    /// Elements of a query or key of a head.
    pub fn key_size(&self) -> usize {
        self.rank + self.rope
    }

    /// Elements of a row's queries.
    pub fn queries(&self) -> usize {
        self.heads * self.key_size()
    }

    /// Elements of a row's queries as they are projected.
    pub fn projected(&self) -> usize {
        self.heads * (self.nope + self.rope)
    }

    /// The heads that attention gives.
    pub fn attended(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: 1, head_size: self.rank }
    }
}

// === impl Rows ===

impl Rows<'_> {
    /// Holds the view to `rows` rows of `width` elements.
    pub(super) fn check(&self, what: &str, rows: usize, width: usize) {
        if let Some(before) = rows.checked_sub(1) {
            super::check(what, self.view.len(), before * self.stride + width);
        }
    }
}
