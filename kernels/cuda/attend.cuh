// Flash attention (Dao, FlashAttention-2, arXiv:2307.08691) of one block: 4 warps of 16 queries each.
//
// Queries, scores and sums stay in registers, in the layouts of mma m16n8k16: a lane has two of its warp's queries
// (rows lane / 4 and lane / 4 + 8 of the tile of 16) and, of each 8 columns, two. Scores of the first product become
// the left side of the second in place. What a row gets depends on its own query and tokens alone: tiles begin at fixed
// tokens, and a tile that a row sees nothing of multiplies its sums by 1 and adds 0.
#pragma once
#include "queries.cuh"
#include "tiles.cuh"

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

// Softmax's state of a lane's two queries: the greatest score so far and the sum of weights, which is this lane's own
// columns' until the end. Scores are in units of log 2, so that weights are powers of 2.
struct Running {
    float greatest[2], sum[2];
};

// Of a query's SIZE numbers, a lane has the pairs at 2 (lane % 4) of each 8. `half`: the first of its queries, the other.
template <u32 SIZE>
DEVICE void load_query(const bf16 *queries, u32 heads, const Query &query, u32 half, u32 (&pairs)[SIZE / 16][4]) {
    u64 head = static_cast<u64>(query.row) * heads + query.head;
    const u32 *from = reinterpret_cast<const u32 *>(queries + head * SIZE) + lane_index() % 4;
#pragma unroll
    for (u32 step = 0; step < SIZE / 16; step++) {
        pairs[step][half] = query.exists ? from[8 * step] : 0;
        pairs[step][half + 2] = query.exists ? from[8 * step + 4] : 0;
    }
}

// scores = queries * keys^T for STEP tokens of a tile.
template <u32 SIZE>
DEVICE void score_tile(const bf16 *keys, const u32 (&queries)[SIZE / 16][4], float (&scores)[Shape<SIZE>::STEP / 8][4]) {
    u32 lane = lane_index();
    // Two matrices of 8 tokens, each in two halves of 16 columns.
    MatrixRow<SIZE> row = matrix_row<SIZE>(keys, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (u32 step = 0; step < SIZE / 16; step++) {
#pragma unroll
        for (u32 pair = 0; pair < Shape<SIZE>::STEP / 16; pair++) {
            u32 matrices[4];
            load_matrices(matrices, row_at<SIZE>(row, 16 * pair, step));
            multiply(scores[2 * pair], queries[step], matrices[0], matrices[1]);
            multiply(scores[2 * pair + 1], queries[step], matrices[2], matrices[3]);
        }
    }
}

// sums += weights * values for STEP tokens of a tile; the weights of 16 tokens are a left side.
template <u32 SIZE>
DEVICE void add_values(const bf16 *values, const u32 (&weights)[Shape<SIZE>::STEP / 16][4], float (&sums)[SIZE / 8][4]) {
    u32 lane = lane_index();
    // Two halves of 16 tokens, of each two matrices of 8 columns.
    MatrixRow<SIZE> row = matrix_row<SIZE>(values, lane % 8 + lane / 8 % 2 * 8, lane / 16);
#pragma unroll
    for (u32 step = 0; step < Shape<SIZE>::STEP / 16; step++) {
#pragma unroll
        for (u32 pair = 0; pair < SIZE / 16; pair++) {
            u32 matrices[4];
            load_matrices_transposed(matrices, row_at<SIZE>(row, 16 * step, pair));
            multiply(sums[2 * pair], weights[step], matrices[0], matrices[1]);
            multiply(sums[2 * pair + 1], weights[step], matrices[2], matrices[3]);
        }
    }
}

// `inner` is scale / softcap.
template <u32 COLUMNS> DEVICE void cap_scores(float (&scores)[COLUMNS][4], float inner, float softcap) {
#pragma unroll
    for (u32 column = 0; column < COLUMNS; column++) {
#pragma unroll
        for (u32 one = 0; one < 4; one++) {
            scores[column][one] = softcap * machine::tanh(scores[column][one] * inner);
        }
    }
}

// Minus infinity where a query does not see the token; `start` is the first one.
template <u32 COLUMNS>
DEVICE void hide_scores(float (&scores)[COLUMNS][4], u32 start, const u32 (&positions)[2], u32 window, u32 end) {
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
#pragma unroll
        for (u32 one = 0; one < 2 * COLUMNS; one++) {
            u32 token = start + one / 2 * 8 + 2 * (lane_index() % 4) + one % 2;
            float &score = scores[one / 2][2 * half + one % 2];
            score = token < end && is_seen(token, positions[half], window) ? score : -machine::infinity();
        }
    }
}

// Scores become weights, rounded to bf16, in pairs; the state moves on. Gives by what the sums so far are multiplied.
// Weights are 2^(score * factor - greatest).
template <u32 COLUMNS>
DEVICE void weigh_scores(const float (&scores)[COLUMNS][4], float factor, Running &running,
                         u32 (&weights)[COLUMNS / 2][4], float (&shrink)[2]) {
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        float greatest = scores[0][2 * half];
#pragma unroll
        for (u32 column = 0; column < COLUMNS; column++) {
            greatest = machine::max(greatest, machine::max(scores[column][2 * half], scores[column][2 * half + 1]));
        }
        // Four lanes have a query's columns.
        greatest = machine::max(greatest, shuffle_xor(greatest, 1));
        greatest = machine::max(greatest, shuffle_xor(greatest, 2));
        float before = running.greatest[half];
        float now = machine::max(before, greatest * factor);
        running.greatest[half] = now;
        // Where nothing was seen yet, all weights are 2^-infinity.
        float base = now == -machine::infinity() ? 0.0f : now;
        shrink[half] = machine::exp2(before - base);
        float sum = 0.0f;
#pragma unroll
        for (u32 column = 0; column < COLUMNS; column++) {
            float first = machine::exp2(machine::fma(scores[column][2 * half], factor, -base));
            float second = machine::exp2(machine::fma(scores[column][2 * half + 1], factor, -base));
            sum += first + second;
            weights[column / 2][column % 2 * 2 + half] = pack(first, second);
        }
        running.sum[half] = running.sum[half] * shrink[half] + sum;
    }
}

// Multiplies each query's sums, unless all queries of the warp multiply by 1.
template <u32 COLUMNS> DEVICE void shrink_sums(float (&sums)[COLUMNS][4], const float (&shrink)[2]) {
    if (warp_ballot(shrink[0] != 1.0f || shrink[1] != 1.0f) == 0) {
        return;
    }
#pragma unroll
    for (u32 column = 0; column < COLUMNS; column++) {
#pragma unroll
        for (u32 one = 0; one < 4; one++) {
            sums[column][one] *= shrink[one / 2];
        }
    }
}
