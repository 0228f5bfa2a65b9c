//! How kernels are launched: blocks, threads and shared memory. Pure; each kernel's source says what it expects.

/// Threads of blocks that have a row each.
const ROW_THREADS: u32 = 256;
/// Threads of blocks that read a row's logits.
const LOGITS_THREADS: u32 = 512;
/// Elements that one thread of `gate` makes.
const GATE_EACH: u32 = 8;
/// Heads that a block of `rotate_store` has, one a warp.
const HEADS_A_BLOCK: u32 = 4;
/// Blocks of `soft_cap` at most; they stride.
const MOST_CAP_BLOCKS: u32 = 1024;

/// Outputs and rows of a block of `product8`, and its shared memory.
const EIGHT_OUTPUTS: usize = 32;
const EIGHT_ROWS: usize = 64;
const EIGHT_SHARED: u32 = 48 << 10;

/// Queries of one attention task.
pub const TASK_QUERIES: usize = 64;
/// Sizes of heads that attention is compiled for.
pub const HEAD_SIZES: [usize; 5] = [32, 64, 96, 128, 256];

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
    /// A block a row.
    pub(super) fn rows(rows: u32) -> LaunchShape {
        LaunchShape { grid: (rows, 1), threads: ROW_THREADS, shared: 0 }
    }

    /// A block a row of logits.
    pub(super) fn logits(rows: u32) -> LaunchShape {
        LaunchShape { threads: LOGITS_THREADS, ..LaunchShape::rows(rows) }
    }

    /// A warp a head of a row.
    pub(super) fn heads(rows: u32, heads: u32) -> LaunchShape {
        LaunchShape { grid: (rows, heads.div_ceil(HEADS_A_BLOCK)), threads: 128, shared: 0 }
    }

    /// A block a segment of a page.
    pub(super) fn segments(segments: u32) -> LaunchShape {
        LaunchShape { grid: (segments, 1), threads: 64, shared: 0 }
    }

    /// A block a task and key head.
    pub(super) fn tasks(tasks: u32, kv_heads: u32, head_size: usize) -> LaunchShape {
        LaunchShape { grid: (tasks, kv_heads), threads: 128, shared: attention_bytes(head_size) }
    }

    /// A block a row and head.
    pub(super) fn merges(rows: u32, heads: u32, head_size: u32) -> LaunchShape {
        LaunchShape { grid: (rows, heads), threads: head_size, shared: 0 }
    }

    /// Some blocks a row.
    pub(super) fn gates(rows: u32, hidden: u32) -> LaunchShape {
        let pieces = hidden.div_ceil(ROW_THREADS * GATE_EACH);
        LaunchShape { grid: (rows, pieces), threads: ROW_THREADS, shared: 0 }
    }

    /// A block 32 outputs and 64 rows.
    pub(super) fn eights(rows: usize, outputs: usize) -> LaunchShape {
        let grid = (outputs.div_ceil(EIGHT_OUTPUTS) as u32, rows.div_ceil(EIGHT_ROWS) as u32);
        LaunchShape { grid, threads: 256, shared: EIGHT_SHARED }
    }

    /// Blocks that share numbers out.
    pub(super) fn numbers(count: usize) -> LaunchShape {
        let blocks = count.div_ceil(ROW_THREADS as usize).clamp(1, MOST_CAP_BLOCKS as usize);
        LaunchShape { grid: (blocks as u32, 1), threads: ROW_THREADS, shared: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_what_there_is() {
        assert_eq!(LaunchShape::gates(3, 18_944).grid, (3, 10));
        assert_eq!(LaunchShape::gates(1, 1).grid, (1, 1));
        assert_eq!(LaunchShape::heads(5, 36).grid, (5, 9));
        assert_eq!(LaunchShape::heads(5, 3).grid, (5, 1));
        assert_eq!(LaunchShape::eights(65, 4608).grid, (144, 2));
        assert_eq!(LaunchShape::numbers(1).grid, (1, 1));
        assert_eq!(LaunchShape::numbers(usize::MAX / 2).grid, (1024, 1));
    }

    #[test]
    fn attention_fits_the_shared_memory_of_the_oldest_cards() {
        // 99 KiB: what compute capabilities 8.6 and 8.9 have.
        assert!(HEAD_SIZES.iter().all(|&size| attention_bytes(size) <= 99 << 10));
    }
}
