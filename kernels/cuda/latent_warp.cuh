// A warp's share of latent attention: with its partner it has 16 queries. One of two halves each, they have of the keys
// the first or last half of the numbers, whose part of the scores they tell each other, and of the sums half the columns.
#pragma once
#include "attend.cuh"
#include "latent_tiles.cuh"

template <class Shape> struct LatentWarp {
    // Of 16 of the key's numbers, and columns of 16 values.
    static constexpr u32 STEPS = Shape::SIZE / 32, PAIRS = Shape::RANK / 32;
    u32 queries[STEPS][4];
    float sums[2 * PAIRS][4];
};

// The scores of a tile, or a part of them.
using LatentScores = float[2][4];

DEVICE u32 latent_group() { return warp_index() / 2; }
DEVICE u32 latent_half() { return warp_index() % 2; }

// `half`: the first of the lane's queries, or the other.
template <class Shape>
DEVICE void load_latent_query(LatentWarp<Shape> &warp, const bf16 *queries, u32 heads, const Query &query, u32 half) {
    u64 head = static_cast<u64>(query.row) * heads + query.head;
    const bf16 *from = queries + head * Shape::SIZE + latent_half() * (Shape::SIZE / 2) + 2 * (lane_index() % 4);
#pragma unroll
    for (u32 step = 0; step < LatentWarp<Shape>::STEPS; step++) {
        const u32 *pair = reinterpret_cast<const u32 *>(from + 16 * step);
        warp.queries[step][half] = query.exists ? pair[0] : 0;
        warp.queries[step][half + 2] = query.exists ? pair[4] : 0;
    }
}

// The half's part of the scores of tile `next`, and sums += weights * values of tile `now`, as far as these are asked for.
// By turns, because each product of the first kind waits for the last one.
template <class Shape, bool SCORES, bool SUMS>
DEVICE void multiply_tiles(LatentWarp<Shape> &warp, const bf16 *next, LatentScores &scores, const bf16 *now,
                           const u32 (&weights)[4]) {
    constexpr u32 SIZE = Shape::SIZE, STEPS = LatentWarp<Shape>::STEPS, PAIRS = LatentWarp<Shape>::PAIRS;
    static_assert(PAIRS <= STEPS, "every pair of columns goes with a step");
    u32 lane = lane_index();
    // Two matrices of 8 tokens, each in two halves of 16 numbers; two halves of 16 tokens, each of two matrices of 8 columns.
    MatrixRow<SIZE> keys = matrix_row<SIZE>(next, lane % 8 + lane / 16 * 8, latent_half() * (2 * STEPS) + lane / 8 % 2);
    MatrixRow<SIZE> values = matrix_row<SIZE>(now, lane % 16, latent_half() * (2 * PAIRS) + lane / 16);
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 matrices[4];
        if (SCORES) {
            load_matrices(matrices, row_at<SIZE>(keys, 0, step));
            multiply(scores[0], warp.queries[step], matrices[0], matrices[1]);
            multiply(scores[1], warp.queries[step], matrices[2], matrices[3]);
        }
        if (SUMS && step < PAIRS) {
            load_matrices_transposed(matrices, row_at<SIZE>(values, 0, step));
            multiply(warp.sums[2 * step], weights, matrices[0], matrices[1]);
            multiply(warp.sums[2 * step + 1], weights, matrices[2], matrices[3]);
        }
    }
}

// Where a warp's partner finds the warp's part of the scores of a tile. Of two tiles that follow each other they are at
// two places: 2 * 8 * 1024 bytes after the tiles.
template <class Shape> DEVICE f32x4 *shared_scores(u32 warp, u32 tile) {
    u32 place = (tile % 2 * (LATENT_THREADS / 32) + warp) * 64 + lane_index();
    return reinterpret_cast<f32x4 *>(dynamic_shared<bf16>() + Shape::STAGES * Shape::TILE * Shape::SIZE) + place;
}

template <class Shape> DEVICE void share_scores(const LatentScores &scores, u32 tile) {
    f32x4 *to = shared_scores<Shape>(warp_index(), tile);
    to[0] = {scores[0][0], scores[0][1], scores[0][2], scores[0][3]};
    to[32] = {scores[1][0], scores[1][1], scores[1][2], scores[1][3]};
}

// Both partners get the same sums, as a + b = b + a.
template <class Shape> DEVICE void add_partners_scores(LatentScores &scores, u32 tile) {
    const f32x4 *from = shared_scores<Shape>(warp_index() ^ 1, tile);
#pragma unroll
    for (u32 column = 0; column < 2; column++) {
        f32x4 four = from[32 * column];
        scores[column][0] += four.x;
        scores[column][1] += four.y;
        scores[column][2] += four.z;
        scores[column][3] += four.w;
    }
}
