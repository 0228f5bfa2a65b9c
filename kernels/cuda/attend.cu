// Attention of 64 queries that share their tokens, which lie in slots: attend_32, _64, _96, _128, _256 for that head size.
// Shapes: queries, out[rows][heads][N]; keys, values[slots][kv_heads][N]; tasks[task_count] (queries.cuh);
// sums[parts][heads][N], stats[parts][heads][2] (greatest score, sum of weights), for merge_parts.
// Grid (tasks (padded), kv_heads), block 128, dynamic shared memory 8 * TILE * N bytes (tiles.cuh).
// Scores are scale * query . key, with softcap > 0 softcap * tanh(of that / softcap); scale is positive. A token t is
// seen from position p where t <= p and (window == 0 or t + window > p). Who sees a value that is no finite number may
// get NaN in all of his head.
#include "attend.cuh"
#include "attended.cuh"

template <u32 SIZE>
DEVICE void attend(const bf16 *queries, const bf16 *keys, const bf16 *values, const Task *task_at, const u32 *slots,
                   const u32 *positions, const Output &output, u32 kv_heads, float scale, float softcap, u32 window) {
    constexpr u32 TILE = Shape<SIZE>::TILE, STEP = Shape<SIZE>::STEP;
    Task task = *task_at;
    u32 kv_head = blockIdx.y, per_kv = output.heads / kv_heads;
    if (task.first_query >= task.rows * per_kv) {
        return;
    }
    float factor = (softcap > 0.0f ? 1.0f : scale) * LOG2_E;
    float inner = softcap > 0.0f ? scale / softcap : 0.0f;
    Source source = {keys, values, slots + task.slots_at - task.first_token, task.end, kv_heads, kv_head};
    // Mostly the first tile; asked for before the positions are known, so that one does not wait for the other.
    TileSlots first_slots = load_slots<SIZE>(source, task.begin);
    Range range = range_of(task, per_kv, positions, window, TILE);
    if (range.first != task.begin) {
        first_slots = load_slots<SIZE>(source, range.first);
    }
    if (range.first < range.end) {
        start_tile<SIZE>(source, range.first, first_slots, 0);
    }
    TileSlots next_slots = load_slots<SIZE>(source, range.first + TILE);

    // Warps without queries copy tiles and wait at barriers, no more.
    u32 block_query = 16 * warp_index() + lane_index() / 4;
    bool works = task.first_query + 16 * warp_index() < task.rows * per_kv;
    u32 query_pairs[SIZE / 16][4];
    u32 my_positions[2];
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        Query query = query_of(task, task.first_query + block_query + 8 * half, per_kv, kv_head);
        my_positions[half] = positions[query.row];
        load_query<SIZE>(queries, output.heads, query, half, query_pairs);
    }

    Running running = {{-machine::infinity(), -machine::infinity()}, {0.0f, 0.0f}};
    float sums[SIZE / 8][4] = {};
    u32 stage = 0;
    for (u32 start = range.first; start < range.end; start += TILE, stage ^= 1) {
        bool edge = start < range.whole_first || start + (TILE - 1) > range.whole_last;
        copy_wait<0>();
        if (edge) {
            hide_odd_values<SIZE>(stage);
        }
        // This tile is there for all; and nobody reads the last one any more, whose place the next one takes.
        __syncthreads();
        if (start + TILE < range.end) {
            start_tile<SIZE>(source, start + TILE, next_slots, stage ^ 1);
            next_slots = load_slots<SIZE>(source, start + 2 * TILE);
        }
        if (!works) {
            continue;
        }
#pragma unroll 1
        for (u32 step = 0; step < TILE && start + step < range.end; step += STEP) {
            float scores[STEP / 8][4] = {};
            score_tile<SIZE>(keys_of<SIZE>(stage) + step * SIZE, query_pairs, scores);
            if (softcap > 0.0f) {
                cap_scores(scores, inner, softcap);
            }
            if (edge) {
                hide_scores(scores, start + step, my_positions, window, source.end);
            }
            u32 weights[STEP / 16][4];
            float shrink[2];
            weigh_scores(scores, factor, running, weights, shrink);
            shrink_sums(sums, shrink);
            add_values<SIZE>(values_of<SIZE>(stage) + step * SIZE, weights, sums);
        }
    }

    if (!works) {
        return;
    }
    Task again = read_again(task_at);
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        Query query = query_of(again, again.first_query + block_query + 8 * half, per_kv, kv_head);
        store<SIZE>(output, again, query, half, sums, running, 0);
    }
}

#define ATTEND(name, size, blocks)                                                                                     \
    extern "C" __global__ void __launch_bounds__(ATTEND_THREADS, blocks)                                               \
    name(const bf16 *queries, const bf16 *keys, const bf16 *values, const Task *tasks, const u32 *task_count,          \
         const u32 *slots, const u32 *positions, bf16 *out, float *sums, float *stats, u32 heads, u32 kv_heads,        \
         float scale, float softcap, u32 window) {                                                                     \
        if (blockIdx.x < *task_count) {                                                                                \
            attend<size>(queries, keys, values, tasks + blockIdx.x, slots, positions, {out, sums, stats, heads},       \
                         kv_heads, scale, softcap, window);                                                            \
        }                                                                                                              \
    }

ATTEND(attend_32, 32, 4)
ATTEND(attend_64, 64, 4)
ATTEND(attend_96, 96, 3)
ATTEND(attend_128, 128, 3)
ATTEND(attend_256, 256, 2)
