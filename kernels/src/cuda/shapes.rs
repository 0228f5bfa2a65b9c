//! Launch shapes of kernels: blocks, threads and shared memory. Pure; each kernel's source says what it expects.

use super::Role;

/// Threads of blocks that handle one row each.
const ROW_THREADS: u32 = 256;
/// Threads of blocks that read a row's logits.
const LOGITS_THREADS: u32 = 512;
/// Elements that one thread of `gate` computes.
const GATE_EACH: u32 = 8;
/// Elements that one thread of `widen8` computes.
const WIDEN_EACH: usize = 16;
/// Heads of a block of `rotate_store`, one per warp.
const HEADS_A_BLOCK: u32 = 4;
/// Maximum blocks of `soft_cap`, which loop over the rest.
const MOST_CAP_BLOCKS: u32 = 1024;

/// Outputs and rows of a block of `product8`, and its shared memory.
const EIGHT_OUTPUTS: usize = 32;
const EIGHT_ROWS: usize = 64;
const EIGHT_SHARED: u32 = 48 << 10;

/// Rows of a block of products by head or expert, and the outputs of blocks for few rows and for many.
const GROUPED_ROWS: usize = 64;
const FEW_OUTPUTS: usize = 32;
const MANY_OUTPUTS: usize = 128;
/// Shared memory of blocks for many rows: three stages of 64 inputs of weights (2 bytes each, or one) and rows.
const MANY_SHARED: u32 = 3 * 64 * 2 * (128 + 64);
const MANY_EIGHT_SHARED: u32 = 3 * 64 * (128 + 2 * 64);

/// Queries of one attention task.
pub const TASK_QUERIES: usize = 64;
/// Sizes of heads that attention is compiled for.
pub const HEAD_SIZES: [usize; 5] = [32, 64, 96, 128, 256];

/// Ranks and rotated elements that latent attention is compiled for.
pub const LATENT_SIZES: [(usize, usize); 2] = [(512, 64), (32, 32)];

/// Threads of a block of latent attention; its tokens per tile, and tiles in shared memory.
const LATENT_THREADS: u32 = 256;
const LATENT_TILE: usize = 16;
const LATENT_STAGES: usize = 4;

/// What attention is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionSizes {
    /// Heads with this many elements, one of [`HEAD_SIZES`].
    Heads(usize),
    /// One latent key per token, of which `rope` elements are rotated; one of [`LATENT_SIZES`].
    Latent {
        /// Elements of the latent vector.
        rank: usize,
        /// Elements of the rotated part.
        rope: usize,
    },
}

/// A launch's grid, block and dynamic shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaunchShape {
    /// Blocks: x and y.
    pub(super) grid: (u32, u32),
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(super) shared: u32,
}

// === impl LaunchShape ===

impl LaunchShape {
    /// One block per row.
    pub(super) fn rows(rows: u32) -> LaunchShape {
        LaunchShape { grid: (rows, 1), threads: ROW_THREADS, shared: 0 }
    }

    /// One block per row of logits.
    pub(super) fn logits(rows: u32) -> LaunchShape {
        LaunchShape { threads: LOGITS_THREADS, ..LaunchShape::rows(rows) }
    }

    /// One warp per head of a row.
    pub(super) fn heads(rows: u32, heads: u32) -> LaunchShape {
        LaunchShape { grid: (rows, heads.div_ceil(HEADS_A_BLOCK)), threads: 128, shared: 0 }
    }

    /// One block per segment of a page.
    pub(super) fn segments(segments: u32) -> LaunchShape {
        LaunchShape { grid: (segments, 1), threads: 64, shared: 0 }
    }

    /// One block per task and key head.
    pub(super) fn tasks(tasks: u32, kv_heads: u32, head_size: usize) -> LaunchShape {
        LaunchShape { grid: (tasks, kv_heads), threads: 128, shared: attention_bytes(head_size) }
    }

    /// One block per task.
    pub(super) fn latent_tasks(tasks: u32, key_size: usize) -> LaunchShape {
        LaunchShape { grid: (tasks, 1), threads: LATENT_THREADS, shared: latent_bytes(key_size) }
    }

    /// One block per row and head.
    pub(super) fn merges(rows: u32, heads: u32, head_size: u32) -> LaunchShape {
        LaunchShape { grid: (rows, heads), threads: head_size, shared: 0 }
    }

    /// Several blocks per row.
    pub(super) fn gates(rows: u32, hidden: u32) -> LaunchShape {
        let pieces = hidden.div_ceil(ROW_THREADS * GATE_EACH);
        LaunchShape { grid: (rows, pieces), threads: ROW_THREADS, shared: 0 }
    }

    /// One block per 32 outputs and 64 rows.
    pub(super) fn eights(rows: usize, outputs: usize) -> LaunchShape {
        let grid = (rows.div_ceil(EIGHT_ROWS) as u32, outputs.div_ceil(EIGHT_OUTPUTS) as u32);
        LaunchShape { grid, threads: 256, shared: EIGHT_SHARED }
    }

    /// Several blocks per output.
    pub(super) fn widened(outputs: usize, inputs: usize) -> LaunchShape {
        let pieces = inputs.div_ceil(ROW_THREADS as usize * WIDEN_EACH) as u32;
        LaunchShape { grid: (outputs as u32, pieces), threads: ROW_THREADS, shared: 0 }
    }

    /// One warp per row.
    pub(super) fn routes(rows: usize) -> LaunchShape {
        LaunchShape { grid: (rows.div_ceil(4) as u32, 1), threads: 128, shared: 0 }
    }

    /// All seats in one block.
    pub(super) fn seats() -> LaunchShape {
        LaunchShape { grid: (1, 1), threads: 1024, shared: 0 }
    }

    /// Several blocks per row; a thread handles four numbers.
    pub(super) fn routed(rows: usize, width: usize) -> LaunchShape {
        let pieces = width.div_ceil(4 * ROW_THREADS as usize) as u32;
        LaunchShape { grid: (rows as u32, pieces), threads: ROW_THREADS, shared: 0 }
    }

    /// One block per some outputs of a tile of seats.
    pub(super) fn experts(role: Role, is_eight: bool, tiles: usize, outputs: usize) -> LaunchShape {
        let (each, threads, shared) = grouped(role, is_eight);
        LaunchShape { grid: (outputs.div_ceil(each) as u32, tiles as u32), threads, shared }
    }

    /// One block per some outputs of a head and 64 rows.
    pub(super) fn head_products(
        role: Role,
        is_eight: bool,
        rows: usize,
        [heads, outputs]: [usize; 2],
    ) -> LaunchShape {
        let (each, threads, shared) = grouped(role, is_eight);
        let grid = (heads * outputs.div_ceil(each), rows.div_ceil(GROUPED_ROWS));
        LaunchShape { grid: (grid.0 as u32, grid.1 as u32), threads, shared }
    }

    /// Blocks that divide `count` numbers among themselves.
    pub(super) fn numbers(count: usize) -> LaunchShape {
        let blocks = count.div_ceil(ROW_THREADS as usize).clamp(1, MOST_CAP_BLOCKS as usize);
        LaunchShape { grid: (blocks as u32, 1), threads: ROW_THREADS, shared: 0 }
    }
}

/// Outputs, threads and shared memory of a block of products by head or expert.
pub(super) fn grouped(role: Role, is_eight: bool) -> (usize, u32, u32) {
    match (role, is_eight) {
        (Role::Sample, _) => (FEW_OUTPUTS, 256, EIGHT_SHARED),
        (Role::Prompt, false) => (MANY_OUTPUTS, 128, MANY_SHARED),
        (Role::Prompt, true) => (MANY_OUTPUTS, 128, MANY_EIGHT_SHARED),
    }
}

/// Tokens of a tile of keys.
pub(super) fn tile_tokens(head_size: usize) -> usize {
    if head_size > 128 { 32 } else { 64 }
}

/// Shared memory of an attention block: two stages of keys and values, in bfloat16.
pub(super) fn attention_bytes(head_size: usize) -> u32 {
    let tile = tile_tokens(head_size) * head_size * size_of::<half::bf16>();
    (2 * 2 * tile) as u32
}

/// Shared memory of a block of latent attention: tiles of keys in bfloat16, and twice each warp's scores of a tile for
/// 16 queries in f32.
pub(super) fn latent_bytes(key_size: usize) -> u32 {
    let keys = LATENT_STAGES * LATENT_TILE * key_size * size_of::<half::bf16>();
    let scores = 2 * (LATENT_THREADS as usize / 32) * 16 * LATENT_TILE * size_of::<f32>();
    (keys + scores) as u32
}

// === impl AttentionSizes ===

impl AttentionSizes {
    /// Whether the kernels support these sizes.
    pub fn is_known(self) -> bool {
        match self {
            AttentionSizes::Heads(size) => HEAD_SIZES.contains(&size),
            AttentionSizes::Latent { rank, rope } => LATENT_SIZES.contains(&(rank, rope)),
        }
    }

    /// Shared memory of a block of attention, in bytes.
    pub(super) fn shared_bytes(self) -> u32 {
        match self {
            AttentionSizes::Heads(size) => attention_bytes(size),
            AttentionSizes::Latent { rank, rope } => latent_bytes(rank + rope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_what_there_is() {
        assert_eq!(LaunchShape::gates(3, 18_944).grid, (3, 10));
        assert_eq!(LaunchShape::gates(1, 1).grid, (1, 1));
        assert_eq!(LaunchShape::heads(5, 36).grid, (5, 9));
        assert_eq!(LaunchShape::heads(5, 3).grid, (5, 1));
        assert_eq!(LaunchShape::eights(65, 4608).grid, (2, 144));
        assert_eq!(LaunchShape::routes(5).grid, (2, 1));
        assert_eq!(LaunchShape::routed(3, 2052).grid, (3, 3));
        assert_eq!(LaunchShape::experts(Role::Sample, false, 6, 2816).grid, (88, 6));
        assert_eq!(LaunchShape::experts(Role::Prompt, true, 6, 2816).grid, (22, 6));
        assert_eq!(LaunchShape::head_products(Role::Prompt, false, 65, [16, 136]).grid, (32, 2));
        assert_eq!(LaunchShape::numbers(1).grid, (1, 1));
        assert_eq!(LaunchShape::numbers(usize::MAX / 2).grid, (1024, 1));
    }

    #[test]
    fn attention_fits_the_shared_memory_of_the_oldest_cards() {
        // 99 KiB is the limit of compute capabilities 8.6 and 8.9.
        assert!(HEAD_SIZES.iter().all(|&size| attention_bytes(size) <= 99 << 10));
        assert!(LATENT_SIZES.iter().all(|&(rank, rope)| latent_bytes(rank + rope) <= 99 << 10));
    }

    #[test]
    fn products_fit_it_too() {
        for (role, is_eight) in [(Role::Sample, false), (Role::Prompt, false), (Role::Prompt, true)]
        {
            assert!(grouped(role, is_eight).2 <= 99 << 10);
        }
    }
}
