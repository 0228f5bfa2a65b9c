//! Arguments of kernels: structs laid out as in the kernels' sources, and groups of views.

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

/// Sizes of latent attention (MLA). A key is (latent vector, rotated part), shared by all heads, and its first `rank`
/// elements are the value.
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

/// Rows of one matrix, `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Starts at the first row's first element.
    pub view: View<'a, Bf16>,
    /// Elements from one row to the next.
    pub stride: usize,
}

/// How queries and keys are computed from a product's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Added to queries, keys and values: (heads + 2 key heads) x head size.
    pub bias: Option<View<'a, f32>>,
    /// Weights of the norm of a query head: head size.
    pub query_norm: Option<View<'a, f32>>,
    /// Weights of the norm of a key head: head size.
    pub key_norm: Option<View<'a, f32>>,
    /// Positions x `turned`: cosine and sine of each pair.
    pub turns: View<'a, f32>,
    /// Elements of a head that are rotated: its first ones.
    pub turned: usize,
    /// Whether pairs are neighbours; otherwise their elements are half of `turned` apart.
    pub neighbours: bool,
    /// Epsilon of the norms.
    pub epsilon: f32,
}

/// How keys and queries are computed from a latent vector and the rotated parts.
#[derive(Debug, Clone, Copy)]
pub struct LatentRotation<'a> {
    /// Weights of the latent vector's norm: rank.
    pub norm: View<'a, f32>,
    /// Positions x `rope`: cosine and sine of each pair.
    pub turns: View<'a, f32>,
    /// Whether pairs are neighbours; otherwise their elements are half of `rope` apart.
    pub neighbours: bool,
    /// Epsilon of the norm.
    pub epsilon: f32,
}

/// Inputs of attention.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Rows x heads x head size.
    pub queries: View<'a, Bf16>,
    /// Slots x key heads x head size, of one layer.
    pub keys: View<'a, Bf16>,
    /// The values, in the same layout.
    pub values: View<'a, Bf16>,
    /// Lists of slots that tasks refer to.
    pub slots: View<'a, u32>,
    /// Positions of the batch's rows.
    pub positions: View<'a, u32>,
    /// Factor of the scores; above 0.
    pub scale: f32,
    /// Cap of the scores, applied after the factor; 0: none.
    pub softcap: f32,
    /// Tokens that a row sees, including its own; 0: all.
    pub window: u32,
}

/// Inputs of latent attention.
#[derive(Debug, Clone, Copy)]
pub struct LatentAttention<'a> {
    /// Rows x heads x (rank + rope).
    pub queries: View<'a, Bf16>,
    /// Slots x (rank + rope), of one layer.
    pub keys: View<'a, Bf16>,
    /// Lists of slots that tasks refer to.
    pub slots: View<'a, u32>,
    /// Positions of the batch's rows.
    pub positions: View<'a, u32>,
    /// Factor of the scores.
    pub scale: f32,
}

/// A unit of attention, computed for every key head: up to 64 queries of neighbouring rows, and a range of tokens that
/// all of them may see.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The first of the rows that share the tokens.
    pub first_row: u32,
    /// Number of rows that share the tokens.
    pub rows: u32,
    /// The first query. Queries are numbered by row, then by head among those of the key head.
    pub first_query: u32,
    /// Index where the list of slots begins.
    pub slots_at: u32,
    /// Position of the list's first token.
    pub first_token: u32,
    /// The first token of the range.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
    /// Index of the first row's part; [`Task::WHOLE`] if the range is all that the rows see.
    pub partial: u32,
}

/// The parts from which a row's attention is merged.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Index of its part of the first range of shared tokens.
    pub shared: u32,
    /// Distance between the parts of consecutive ranges.
    pub shared_stride: u32,
    /// Number of ranges of shared tokens.
    pub shared_count: u32,
    /// The same for the row's own tokens.
    pub own: u32,
    /// Distance between the parts of consecutive ranges.
    pub own_stride: u32,
    /// Number of ranges of own tokens.
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
    /// Probability that the nucleus must reach.
    pub top_p: f32,
    /// 1: draw a token; 0: draw nothing.
    pub kind: u32,
    /// The random number, in [0, 1).
    pub random: f64,
}

/// Sets of tokens whose probabilities are wanted.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Question {
    /// The row of logits.
    pub row: u32,
    /// Index of the first set among the pairs of (first member, members).
    pub first_set: u32,
    /// Number of sets.
    pub sets: u32,
    /// Index of the first set's answer in the output.
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
    /// Marks a task whose rows see no other tokens.
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

    /// The heads of attention's output.
    pub fn attended(&self) -> Heads {
        Heads { heads: self.heads, kv_heads: 1, head_size: self.rank }
    }
}

// === impl Rows ===

impl Rows<'_> {
    /// Checks that the view holds `rows` rows of `width` elements.
    pub(super) fn check(&self, what: &str, rows: usize, width: usize) {
        if let Some(before) = rows.checked_sub(1) {
            super::check(what, self.view.len(), before * self.stride + width);
        }
    }
}
