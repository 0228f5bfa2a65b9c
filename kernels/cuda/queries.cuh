// Which queries a block of attention has, and which tokens they see.
#pragma once
#include "machine.cuh"

// Rows [first_row, first_row + rows) share the tokens [begin, end); token t is in slot slots[slots_at + t - first_token].
// The block has 64 queries from `first_query` on: query q is of row q / per_kv, head q % per_kv of the key head's.
// `partial`: the first row's place among the parts, or WHOLE.
struct Task {
    u32 first_row, rows, first_query, slots_at, first_token, begin, end, partial;
};

constexpr u32 WHOLE = ~0u;
constexpr u32 BLOCK_QUERIES = 64;

// A position sees the tokens up to its own, this one and those after it. Positions are below 2^31.
DEVICE u32 first_seen(u32 position, u32 window) {
    return window == 0 || position < window ? 0 : position - window + 1;
}
DEVICE bool is_seen(u32 token, u32 position, u32 window) {
    // A token behind the position is at a distance that wraps around.
    u32 most = 1u << 31;
    return position - token < (window == 0 ? most : machine::min(window, most));
}

// The row and head of a query of this lane.
struct Query {
    bool exists;
    u32 row, head;
};

DEVICE Query query_of(const Task &task, u32 number, u32 per_kv, u32 kv_head) {
    if (number >= task.rows * per_kv) {
        return {false, task.first_row, 0};
    }
    u32 row = number / per_kv;
    return {true, task.first_row + row, kv_head * per_kv + number - row * per_kv};
}

// The tokens of the tiles that somebody of the block may see are [first, end), those that everybody sees
// [whole_first, whole_last].
struct Range {
    u32 first, end, whole_first, whole_last;
};

// Collective, and the same in all warps.
DEVICE Range range_of(const Task &task, u32 per_kv, const u32 *positions, u32 window, u32 tile) {
    u32 queries = machine::min(task.rows * per_kv - task.first_query, BLOCK_QUERIES);
    u32 first_row = task.first_row + task.first_query / per_kv;
    u32 last_row = task.first_row + (task.first_query + queries - 1) / per_kv;
    // 64 rows at most, two a lane.
    u32 one = positions[machine::min(first_row + lane_index(), last_row)];
    u32 other = positions[machine::min(first_row + 32 + lane_index(), last_row)];
    u32 lowest = machine::min(one, other), highest = machine::max(one, other);
#pragma unroll
    for (u32 mask = 16; mask > 0; mask /= 2) {
        lowest = machine::min(lowest, shuffle_xor(lowest, mask));
        highest = machine::max(highest, shuffle_xor(highest, mask));
    }
    u32 first = machine::max(first_seen(lowest, window), task.begin);
    first -= (first - task.begin) % tile;
    u32 last = machine::min(highest, task.end - 1);
    bool any = task.begin < task.end && last >= first;
    return {first, any ? last + 1 : first, first_seen(highest, window), machine::min(lowest, task.end - 1)};
}
