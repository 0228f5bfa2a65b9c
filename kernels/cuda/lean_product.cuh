// Products of few rows, whose time is that of reading the weights once: out = x * weights^T.
//
// A block has 32 outputs and up to 64 rows: two tiles of 16 outputs times four slices of the inputs, a warp each. A slice
// has every fourth group of eight pieces' inputs. Outputs are the rows of mma m16n8k16 and rows its columns, so that a few
// rows waste little, and what a row gets depends on nothing of the others: groups, slices and inputs always add up in one
// order. Weights come in a lane's own 16 bytes a copy, and nobody else reads them.
//
// Blocks of LEAN_THREADS threads, dynamic shared memory for LEAN_STAGES groups of all warps: 49152 bytes.
#pragma once
#include "operands.cuh"

constexpr u32 LEAN_TILES = 2;
constexpr u32 SIXTEEN = 16;
constexpr u32 SLICES = 4;
constexpr u32 LEAN_OUTPUTS = LEAN_TILES * SIXTEEN;
constexpr u32 LEAN_ROWS = 64;
constexpr u32 LEAN_THREADS = 32 * LEAN_TILES * SLICES;
// Groups of weights that are on their way at once, or in use.
constexpr u32 LEAN_STAGES = 3;
// Of a group a lane has two outputs, of each two pieces.
constexpr u32 GROUP_PIECES = 4;
// Sums of a warp in shared memory: rows of 16 outputs, so far apart that neither writing nor reading has conflicts.
constexpr u32 SUM_PITCH = SIXTEEN + 4;
constexpr u32 WARP_SUMS = LEAN_ROWS * SUM_PITCH + 16;

template <class W> constexpr u32 GROUP_INPUTS = 8 * W::PIECE;
// Products of 16 inputs.
template <class W> constexpr u32 GROUP_STEPS = GROUP_INPUTS<W> / 16;

DEVICE u32x4 *piece_at(u32 stage, u32 piece) {
    return dynamic_shared<u32x4>() + ((warp_index() * LEAN_STAGES + stage) * GROUP_PIECES + piece) * 32 + lane_index();
}

// The first input of a lane's first or second piece of a group.
template <class W> DEVICE u32 piece_input(u32 group, u32 piece) {
    return group * GROUP_INPUTS<W> + (piece * 4 + lane_index() % 4) * W::PIECE;
}

// `output`: the lane's first; the other is 8 further on.
template <class W> DEVICE void start_group(const W &weights, u32 output, u32 group, u32 stage) {
    if (group * GROUP_INPUTS<W> < weights.inputs) {
#pragma unroll
        for (u32 piece = 0; piece < GROUP_PIECES; piece++) {
            u32 of_output = output + piece / 2 * 8, input = piece_input<W>(group, piece % 2);
            bool there = of_output < weights.outputs && input < weights.inputs;
            copy_async(piece_at(stage, piece), there ? weights.at(of_output, input) : weights.bytes, there);
        }
    }
    copy_commit();
}

// A group's weights as left sides.
template <class W> DEVICE void widen_group(u32 stage, u32 (&left)[GROUP_STEPS<W>][4]) {
#pragma unroll
    for (u32 piece = 0; piece < GROUP_PIECES; piece++) {
        constexpr u32 STEPS = GROUP_STEPS<W> / 2;
        u32 pairs[2 * STEPS], half = piece / 2;
        widen_piece(*piece_at(stage, piece), pairs);
#pragma unroll
        for (u32 step = 0; step < STEPS; step++) {
            left[piece % 2 * STEPS + step][half] = pairs[2 * step];
            left[piece % 2 * STEPS + step][half + 2] = pairs[2 * step + 1];
        }
    }
}

// The numbers of a block's rows: a lane has those of the rows `lane` and `lane + 32`.
struct Numbers {
    u32 low, high;
};

// Collective. The same group of the lane's row of the eight from `eight` on, as right sides; rows past the end are zeros.
template <class W>
DEVICE void load_row(const Rows &rows, const Numbers &numbers, u32 eight, u32 group, u32 inputs,
                     u32 (&right)[W::PIECE]) {
    u32 mine = eight + lane_index() / 4;
    bool there = mine < rows.count;
    const bf16 *row = rows.at(shuffle_from(eight < 32 ? numbers.low : numbers.high, mine & 31));
#pragma unroll
    for (u32 piece = 0; piece < 2; piece++) {
        u32 input = piece_input<W>(group, piece);
#pragma unroll
        for (u32 part = 0; part < W::PIECE / 8; part++) {
            u32x4 four = {0, 0, 0, 0};
            if (there && input < inputs) {
                four = *reinterpret_cast<const u32x4 *>(row + input + 8 * part);
            }
            u32 at = W::PIECE / 2 * piece + 4 * part;
            right[at] = four.x;
            right[at + 1] = four.y;
            right[at + 2] = four.z;
            right[at + 3] = four.w;
        }
    }
}

// sums += left * right over a group; `scales` are those of the lane's two outputs.
template <class W>
DEVICE void multiply_group(const u32 (&left)[GROUP_STEPS<W>][4], const u32 (&right)[W::PIECE], const float (&scales)[2],
                           float (&sums)[4]) {
    if constexpr (W::SCALED) {
        // Two sums, so that products wait less for each other.
        float even[4] = {}, odd[4] = {};
#pragma unroll
        for (u32 step = 0; step < GROUP_STEPS<W>; step += 2) {
            multiply(even, left[step], right[2 * step], right[2 * step + 1]);
            multiply(odd, left[step + 1], right[2 * step + 2], right[2 * step + 3]);
        }
#pragma unroll
        for (u32 one = 0; one < 4; one++) {
            sums[one] = machine::fma(even[one] + odd[one], scales[one / 2], sums[one]);
        }
    } else {
#pragma unroll
        for (u32 step = 0; step < GROUP_STEPS<W>; step++) {
            multiply(sums, left[step], right[2 * step], right[2 * step + 1]);
        }
    }
}

// The slices' sums add up in order, through the memory that the weights had.
DEVICE void store_slices(const float (&sums)[LEAN_ROWS / 8][4], u32 first_output, u32 outputs, u32 rows,
                         const Target &target) {
    u32 lane = lane_index();
    copy_wait<0>();
    __syncthreads();
    float *all = dynamic_shared<float>();
    float *mine = all + warp_index() * WARP_SUMS;
#pragma unroll
    for (u32 eight = 0; eight < LEAN_ROWS / 8; eight++) {
#pragma unroll
        for (u32 one = 0; one < 4; one++) {
            u32 row = 8 * eight + 2 * (lane % 4) + one % 2, output = lane / 4 + one / 2 * 8;
            mine[row * SUM_PITCH + output] = sums[eight][one];
        }
    }
    __syncthreads();
    u32 output = first_output + lane;
    for (u32 row = warp_index(); row < LEAN_ROWS && row < rows && output < outputs; row += LEAN_TILES * SLICES) {
        const float *of_row = all + lane / SIXTEEN * WARP_SUMS + row * SUM_PITCH + lane % SIXTEEN;
        float sum = of_row[0];
        for (u32 slice = 1; slice < SLICES; slice++) {
            sum += of_row[slice * LEAN_TILES * WARP_SUMS];
        }
        store_one(target, row, output, sum);
    }
}

// The block's rows times LEAN_OUTPUTS outputs from `first_output` on.
template <class W> DEVICE void lean_product(const W &weights, u32 first_output, const Rows &rows, const Target &target) {
    u32 slice = warp_index() / LEAN_TILES, inputs = weights.inputs;
    u32 output = first_output + warp_index() % LEAN_TILES * SIXTEEN + lane_index() / 4;
    u32 groups = (inputs + GROUP_INPUTS<W> - 1) / GROUP_INPUTS<W>;
#pragma unroll
    for (u32 stage = 0; stage < LEAN_STAGES - 1; stage++) {
        start_group(weights, output, slice + stage * SLICES, stage);
    }
    Numbers numbers = {rows.number(lane_index()), rows.number(lane_index() + 32)};
    float sums[LEAN_ROWS / 8][4] = {};
    u32 stage = 0;
    for (u32 group = slice; group < groups; group += SLICES) {
        float scales[2] = {};
        if constexpr (W::SCALED) {
            scales[0] = weights.scale(output, group * GROUP_INPUTS<W>);
            scales[1] = weights.scale(output + 8, group * GROUP_INPUTS<W>);
        }
        u32 next[W::PIECE];
        load_row<W>(rows, numbers, 0, group, inputs, next);
        copy_wait<LEAN_STAGES - 2>();
        u32 left[GROUP_STEPS<W>][4];
        widen_group<W>(stage, left);
        // The last stage was read a turn ago, by this lane alone.
        start_group(weights, output, group + (LEAN_STAGES - 1) * SLICES, stage == 0 ? LEAN_STAGES - 1 : stage - 1);
        stage = stage == LEAN_STAGES - 1 ? 0 : stage + 1;
#pragma unroll
        for (u32 eight = 0; eight < LEAN_ROWS / 8; eight++) {
            if (8 * eight < rows.count) {
                u32 right[W::PIECE];
#pragma unroll
                for (u32 one = 0; one < W::PIECE; one++) {
                    right[one] = next[one];
                }
                load_row<W>(rows, numbers, 8 * (eight + 1), group, inputs, next);
                multiply_group<W>(left, right, scales, sums[eight]);
            }
        }
    }
    store_slices(sums, first_output, weights.outputs, rows.count, target);
}
