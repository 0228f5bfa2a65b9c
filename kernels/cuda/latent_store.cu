// What lies between latent attention's (MLA; DeepSeek-V2, arXiv:2405.04434, section 2.1) first products and attention: the
// rotated parts of queries and key are turned, the latent vector is normed, and both become the token's key.
// Shapes: projected[rows][heads][nope + rope], rows `projected_stride` apart; down[rows][rank + rope], rows `down_stride`
// apart; norm[rank]; turns[positions][rope] (cos, sin of each pair); queries[rows][heads][rank + rope], of which the last
// `rope` are written; keys[slots][rank + rope].
// Grid (rows, ceil((heads + 1) / 4)), block 128: one warp a query head, and one for the key. All sizes and strides are
// even; rank is at most 512. A row whose slot is 0xffffffff keeps its key to itself.
#include "reduce.cuh"
#include "rotation.cuh"

constexpr u32 HEADS = 4;
constexpr u32 RANK_MOST = 512;
// A lane has two elements that follow each other in each 64 of the latent vector.
constexpr u32 STEPS = RANK_MOST / 64;

// RMS norm (arXiv:1910.07467) of a latent vector, by a warp.
DEVICE void store_normed(const bf16 *from, const float *weight, bf16 *to, u32 rank, float epsilon) {
    float x[STEPS][2] = {};
    float squares = 0.0f;
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 at = 64 * step + 2 * lane_index();
        if (at < rank) {
            u32 pair = *reinterpret_cast<const u32 *>(from + at);
            x[step][0] = low_of(pair);
            x[step][1] = high_of(pair);
            squares += x[step][0] * x[step][0] + x[step][1] * x[step][1];
        }
    }
    float factor = machine::rsqrt(warp_sum(squares) / static_cast<float>(rank) + epsilon);
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 at = 64 * step + 2 * lane_index();
        if (at < rank) {
            u32 pair = pack(x[step][0] * factor * weight[at], x[step][1] * factor * weight[at + 1]);
            *reinterpret_cast<u32 *>(to + at) = pair;
        }
    }
}

extern "C" __global__ void __launch_bounds__(128)
latent_store(const bf16 *projected, u64 projected_stride, const bf16 *down, u64 down_stride, const float *norm,
             const float *turns, const u32 *positions, const u32 *slots, bf16 *queries, bf16 *keys, u32 heads, u32 rank,
             u32 rope, u32 nope, u32 neighbours, float epsilon) {
    u32 row = blockIdx.x, head = blockIdx.y * HEADS + warp_index();
    if (head > heads) {
        return;
    }
    bool is_key = head == heads;
    u32 slot = slots[row];
    if (is_key && slot == ~0u) {
        return;
    }
    const bf16 *from = is_key ? down + row * down_stride : projected + row * projected_stride + head * (nope + rope) + nope;
    bf16 *to = is_key ? keys + static_cast<u64>(slot) * (rank + rope)
                      : queries + (static_cast<u64>(row) * heads + head) * (rank + rope);
    if (is_key) {
        store_normed(from, norm, to, rank, epsilon);
        from += rank;
    }
    const float *row_turns = turns + static_cast<u64>(positions[row]) * rope;
    auto element = [&](u32 at) { return to_float(from[at]); };
    for (u32 at = 2 * lane_index(); at < rope; at += 64) {
        float first = turned_element(element, row_turns, at, rope, neighbours != 0);
        float second = turned_element(element, row_turns, at + 1, rope, neighbours != 0);
        *reinterpret_cast<u32 *>(to + rank + at) = pack(first, second);
    }
}
