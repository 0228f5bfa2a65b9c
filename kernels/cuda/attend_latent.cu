// Latent attention (MLA; DeepSeek-V2, arXiv:2405.04434, section 2.1) of 64 queries that share their tokens, which lie in
// slots: attend_latent_R_P for latent vectors of R numbers and P that are rotated. All heads have one key a token, whose
// first R numbers are the value, too.
// Shapes: queries[rows][heads][R + P]; keys[slots][R + P]; tasks[task_count] (queries.cuh); out[rows][heads][R];
// sums[parts][heads][R], stats[parts][heads][2] (greatest score, sum of weights), for merge_parts.
// Grid tasks (padded), block 256, dynamic shared memory 128 * (R + P) + 16384 bytes (latent_tiles.cuh, latent_warp.cuh).
// Scores are scale * query . key; scale is positive. Who sees a value that is no finite number may get NaN in all of his
// head.
#include "attended.cuh"
#include "latent_warp.cuh"

template <class Shape>
DEVICE void attend_latent(const bf16 *queries, const bf16 *keys, const Task *task_at, const u32 *slots,
                          const u32 *positions, const Output &output, float scale) {
    constexpr u32 TILE = Shape::TILE, AHEAD = Shape::STAGES - 2;
    Task task = *task_at;
    if (task.first_query >= task.rows * output.heads) {
        return;
    }
    LatentSource source = {keys, slots + task.slots_at - task.first_token, task.end};
    // Without a window the first tile is that of the range's first token: so slots need not wait for positions.
    u32 ahead_slots[AHEAD];
#pragma unroll
    for (u32 ahead = 0; ahead < AHEAD; ahead++) {
        ahead_slots[ahead] = load_latent_slots(source, task.begin + ahead * TILE);
    }
    Range range = range_of(task, output.heads, positions, 0, TILE);
    // Every copy_commit is a tile's, be there one or not.
#pragma unroll
    for (u32 ahead = 0; ahead < AHEAD; ahead++) {
        if (range.first + ahead * TILE < range.end) {
            start_latent_tile<Shape>(source, range.first + ahead * TILE, ahead_slots[ahead], latent_tile<Shape>(ahead));
        }
        copy_commit();
    }
    u32 next_slots = load_latent_slots(source, range.first + AHEAD * TILE);
    auto is_edge = [&](u32 start) { return start + (TILE - 1) > range.whole_last; };

    // Warps without queries copy tiles and wait at barriers, no more.
    bool works = task.first_query + 16 * latent_group() < task.rows * output.heads;
    u32 block_query = 16 * latent_group() + lane_index() / 4;
    LatentWarp<Shape> warp = {};
    u32 my_positions[2];
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        Query query = query_of(task, task.first_query + block_query + 8 * half, output.heads, 0);
        my_positions[half] = positions[query.row];
        load_latent_query(warp, queries, output.heads, query, half);
    }

    // Afterwards the tile is there for all, and the one two before it, which nobody reads any more, gives its place to the
    // one two after it.
    auto advance = [&](u32 start, u32 tile) {
        copy_wait<AHEAD - 1>();
        if (start < range.end && is_edge(start)) {
            __syncthreads();
            hide_odd_latents<Shape>(latent_tile<Shape>(tile));
        }
        __syncthreads();
        if (start + AHEAD * TILE < range.end) {
            start_latent_tile<Shape>(source, start + AHEAD * TILE, next_slots, latent_tile<Shape>(tile + AHEAD));
            next_slots = load_latent_slots(source, start + (AHEAD + 1) * TILE);
        }
        copy_commit();
    };

    Running running = {{-machine::infinity(), -machine::infinity()}, {0.0f, 0.0f}};
    // The warp's part of a tile's scores; its partner's comes with the next tile.
    LatentScores scores = {};
    u32 weights[1][4] = {};
    if (range.first < range.end) {
        advance(range.first, 0);
        if (works) {
            multiply_tiles<Shape, true, false>(warp, latent_tile<Shape>(0), scores, latent_tile<Shape>(0), weights[0]);
            share_scores<Shape>(scores, 0);
        }
    }
    for (u32 start = range.first, tile = 0; start < range.end; start += TILE, tile++) {
        advance(start + TILE, tile + 1);
        if (!works) {
            continue;
        }
        add_partners_scores<Shape>(scores, tile);
        if (is_edge(start)) {
            hide_scores(scores, start, my_positions, 0, source.end);
        }
        float shrink[2];
        weigh_scores(scores, scale * LOG2_E, running, weights, shrink);
        shrink_sums(warp.sums, shrink);
        const bf16 *now = latent_tile<Shape>(tile), *next = latent_tile<Shape>(tile + 1);
        LatentScores next_scores = {};
        if (start + TILE < range.end) {
            multiply_tiles<Shape, true, true>(warp, next, next_scores, now, weights[0]);
            share_scores<Shape>(next_scores, tile + 1);
        } else {
            multiply_tiles<Shape, false, true>(warp, next, next_scores, now, weights[0]);
        }
#pragma unroll
        for (u32 one = 0; one < 8; one++) {
            scores[one / 4][one % 4] = next_scores[one / 4][one % 4];
        }
    }

    if (!works) {
        return;
    }
    Task again = read_again(task_at);
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        Query query = query_of(again, again.first_query + block_query + 8 * half, output.heads, 0);
        store<Shape::RANK>(output, again, query, half, warp.sums, running, latent_half() * (Shape::RANK / 2));
    }
}

#define ATTEND_LATENT(name, rank, rope)                                                                                \
    extern "C" __global__ void __launch_bounds__(LATENT_THREADS, 1)                                                    \
    name(const bf16 *queries, const bf16 *keys, const Task *tasks, const u32 *task_count, const u32 *slots,            \
         const u32 *positions, bf16 *out, float *sums, float *stats, u32 heads, float scale) {                         \
        if (blockIdx.x < *task_count) {                                                                                \
            attend_latent<Latent<rank, rope>>(queries, keys, tasks + blockIdx.x, slots, positions,                     \
                                              {out, sums, stats, heads}, scale);                                       \
        }                                                                                                              \
    }

ATTEND_LATENT(attend_latent_512_64, 512, 64)
ATTEND_LATENT(attend_latent_32_32, 32, 32)
