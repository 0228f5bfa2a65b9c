// Products of many rows, whose time is that of multiplying: out = x * weights^T.
//
// A block has 128 outputs and up to 64 rows, and all of it reads both from shared memory: four warps of 64 outputs and 32
// rows each. Outputs are the rows of mma m16n8k16 and rows its columns. Each output and row adds its inputs in their order,
// 64 at a time, so that what a row gets depends on nothing of the others.
//
// Shared memory has rows of 64 inputs. A lane reads 16 bytes of one: eight lanes at once have four chunks of each of two
// neighbours. The chunks of every other row are swizzled so that these have no conflicts.
//
// Blocks of TILE_THREADS threads, dynamic shared memory TILE_BYTES<W>.
#pragma once
#include "operands.cuh"

constexpr u32 TILE_THREADS = 128;
constexpr u32 TILE_OUTPUTS = 128;
constexpr u32 TILE_ROWS = 64;
constexpr u32 TILE_INPUTS = 64;
// Inputs that are on their way at once, or in use.
constexpr u32 TILE_STAGES = 3;
// What a warp has, in tiles of 16 outputs and of 8 rows, and how many products of 16 inputs TILE_INPUTS are.
constexpr u32 WARP_OUTPUTS = 64;
constexpr u32 WARP_ROWS = 32;
constexpr u32 SIXTEENS = WARP_OUTPUTS / 16;
constexpr u32 EIGHTS = WARP_ROWS / 8;
constexpr u32 TILE_STEPS = TILE_INPUTS / 16;
// Sums in shared memory: rows of all outputs, so far apart that writing has no conflicts.
constexpr u32 TILE_PITCH = TILE_OUTPUTS + 4;

// Chunks of 16 bytes of TILE_INPUTS inputs: of an output's weights, and of a row.
template <class W> constexpr u32 WEIGHT_CHUNKS = TILE_INPUTS / W::PIECE;
constexpr u32 ROW_CHUNKS = TILE_INPUTS / 8;
template <class W> constexpr u32 STAGE_CHUNKS = TILE_OUTPUTS * WEIGHT_CHUNKS<W> + TILE_ROWS * ROW_CHUNKS;
template <class W> constexpr u32 TILE_BYTES = TILE_STAGES * STAGE_CHUNKS<W> * 16;
// Copies that a thread makes of each.
template <class W> constexpr u32 WEIGHT_COPIES = TILE_OUTPUTS * WEIGHT_CHUNKS<W> / TILE_THREADS;
constexpr u32 ROW_COPIES = TILE_ROWS * ROW_CHUNKS / TILE_THREADS;
// Pieces that a lane has of a row.
template <class W> constexpr u32 LANE_PIECES = TILE_INPUTS / (4 * W::PIECE);

static_assert(TILE_ROWS * TILE_PITCH * sizeof(float) <= TILE_BYTES<Matrix<8>>, "sums have room where operands were");

// Where a chunk of an output, or of a row, lies in its stage. Outputs of 8 bits have four chunks, which need no swizzle.
template <class W> DEVICE u32 weight_place(u32 output, u32 chunk) {
    return output * WEIGHT_CHUNKS<W> + (W::PIECE == 8 ? chunk ^ output % 2 * 4 : chunk);
}
template <class W> DEVICE u32 row_place(u32 row, u32 chunk) {
    return TILE_OUTPUTS * WEIGHT_CHUNKS<W> + row * ROW_CHUNKS + (chunk ^ row % 2 * (W::PIECE == 8 ? 4 : 1));
}
template <class W> DEVICE u32x4 *stage_at(u32 stage) { return dynamic_shared<u32x4>() + stage * STAGE_CHUNKS<W>; }

// Starts to copy the inputs from `first_input` on; `numbers` are those of the rows that this thread copies of.
template <class W>
DEVICE void start_inputs(const W &weights, u32 first_output, const Rows &rows, const u32 (&numbers)[ROW_COPIES],
                         u32 first_input, u32 stage) {
    if (first_input < weights.inputs) {
        u32x4 *to = stage_at<W>(stage);
        u32 chunk = threadIdx.x % WEIGHT_CHUNKS<W>, input = first_input + chunk * W::PIECE;
#pragma unroll
        for (u32 copy = 0; copy < WEIGHT_COPIES<W>; copy++) {
            u32 output = threadIdx.x / WEIGHT_CHUNKS<W> + copy * (TILE_THREADS / WEIGHT_CHUNKS<W>);
            bool there = input < weights.inputs && first_output + output < weights.outputs;
            copy_async(to + weight_place<W>(output, chunk),
                       there ? weights.at(first_output + output, input) : weights.bytes, there);
        }
        chunk = threadIdx.x % ROW_CHUNKS;
        input = first_input + chunk * 8;
#pragma unroll
        for (u32 copy = 0; copy < ROW_COPIES; copy++) {
            u32 row = threadIdx.x / ROW_CHUNKS + copy * (TILE_THREADS / ROW_CHUNKS);
            bool there = input < weights.inputs && row < rows.count;
            copy_async(to + row_place<W>(row, chunk), there ? rows.at(numbers[copy]) + input : rows.x, there);
        }
    }
    copy_commit();
}

// The lane's row of eight, as right sides.
template <class W> DEVICE void load_right(const u32x4 *stage, u32 row, u32 (&right)[2 * TILE_STEPS]) {
#pragma unroll
    for (u32 part = 0; part < TILE_STEPS / 2; part++) {
        constexpr u32 PARTS = W::PIECE / 8;
        u32 chunk = (part / PARTS * 4 + lane_index() % 4) * PARTS + part % PARTS;
        u32x4 four = stage[row_place<W>(row, chunk)];
        right[4 * part] = four.x;
        right[4 * part + 1] = four.y;
        right[4 * part + 2] = four.z;
        right[4 * part + 3] = four.w;
    }
}

// The lane's outputs of sixteen, the first one and that 8 further on, as left sides.
template <class W> DEVICE void load_left(const u32x4 *stage, u32 output, u32 (&left)[TILE_STEPS][4]) {
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
#pragma unroll
        for (u32 piece = 0; piece < LANE_PIECES<W>; piece++) {
            constexpr u32 STEPS = TILE_STEPS / LANE_PIECES<W>;
            u32 pairs[2 * STEPS];
            widen_piece(stage[weight_place<W>(output + 8 * half, piece * 4 + lane_index() % 4)], pairs);
#pragma unroll
            for (u32 step = 0; step < STEPS; step++) {
                left[piece * STEPS + step][half] = pairs[2 * step];
                left[piece * STEPS + step][half + 2] = pairs[2 * step + 1];
            }
        }
    }
}

// sums += weights * rows for the inputs of a stage, for the warp's outputs and rows from these on; `scales` are those of
// the lane's outputs.
template <class W>
DEVICE void multiply_stage(const u32x4 *stage, u32 first_output, u32 first_row, const float (&scales)[SIXTEENS][2],
                           float (&sums)[SIXTEENS][EIGHTS][4]) {
    u32 right[EIGHTS][2 * TILE_STEPS];
#pragma unroll
    for (u32 eight = 0; eight < EIGHTS; eight++) {
        load_right<W>(stage, first_row + 8 * eight + lane_index() / 4, right[eight]);
    }
#pragma unroll
    for (u32 sixteen = 0; sixteen < SIXTEENS; sixteen++) {
        u32 left[TILE_STEPS][4];
        load_left<W>(stage, first_output + 16 * sixteen + lane_index() / 4, left);
        if constexpr (W::SCALED) {
            float fresh[EIGHTS][4] = {};
#pragma unroll
            for (u32 step = 0; step < TILE_STEPS; step++) {
#pragma unroll
                for (u32 eight = 0; eight < EIGHTS; eight++) {
                    multiply(fresh[eight], left[step], right[eight][2 * step], right[eight][2 * step + 1]);
                }
            }
#pragma unroll
            for (u32 eight = 0; eight < EIGHTS; eight++) {
#pragma unroll
                for (u32 one = 0; one < 4; one++) {
                    float &sum = sums[sixteen][eight][one];
                    sum = machine::fma(fresh[eight][one], scales[sixteen][one / 2], sum);
                }
            }
        } else {
#pragma unroll
            for (u32 step = 0; step < TILE_STEPS; step++) {
#pragma unroll
                for (u32 eight = 0; eight < EIGHTS; eight++) {
                    multiply(sums[sixteen][eight], left[step], right[eight][2 * step], right[eight][2 * step + 1]);
                }
            }
        }
    }
}

// Through the memory that operands had, so that threads next to each other store numbers next to each other.
DEVICE void store_tile(const float (&sums)[SIXTEENS][EIGHTS][4], u32 warp_output, u32 warp_row, u32 first_output,
                       u32 outputs, u32 rows, const Target &target) {
    copy_wait<0>();
    __syncthreads();
    float *all = dynamic_shared<float>();
#pragma unroll
    for (u32 sixteen = 0; sixteen < SIXTEENS; sixteen++) {
#pragma unroll
        for (u32 eight = 0; eight < EIGHTS; eight++) {
#pragma unroll
            for (u32 one = 0; one < 4; one++) {
                u32 row = warp_row + 8 * eight + 2 * (lane_index() % 4) + one % 2;
                u32 output = warp_output + 16 * sixteen + lane_index() / 4 + one / 2 * 8;
                all[row * TILE_PITCH + output] = sums[sixteen][eight][one];
            }
        }
    }
    __syncthreads();
    u32 output = first_output + threadIdx.x;
    for (u32 row = 0; row < rows && output < outputs; row++) {
        store_one(target, row, output, all[row * TILE_PITCH + threadIdx.x]);
    }
}

// The block's rows times TILE_OUTPUTS outputs from `first_output` on.
template <class W> DEVICE void tile_product(const W &weights, u32 first_output, const Rows &rows, const Target &target) {
    u32 warp_output = warp_index() / 2 * WARP_OUTPUTS, warp_row = warp_index() % 2 * WARP_ROWS;
    u32 numbers[ROW_COPIES];
#pragma unroll
    for (u32 copy = 0; copy < ROW_COPIES; copy++) {
        numbers[copy] = rows.number(threadIdx.x / ROW_CHUNKS + copy * (TILE_THREADS / ROW_CHUNKS));
    }
#pragma unroll
    for (u32 stage = 0; stage < TILE_STAGES - 1; stage++) {
        start_inputs(weights, first_output, rows, numbers, stage * TILE_INPUTS, stage);
    }
    float sums[SIXTEENS][EIGHTS][4] = {};
    u32 stage = 0;
    for (u32 input = 0; input < weights.inputs; input += TILE_INPUTS) {
        float scales[SIXTEENS][2] = {};
        if constexpr (W::SCALED) {
#pragma unroll
            for (u32 output = 0; output < 2 * SIXTEENS; output++) {
                scales[output / 2][output % 2] =
                    weights.scale(first_output + warp_output + 8 * output + lane_index() / 4, input);
            }
        }
        copy_wait<TILE_STAGES - 2>();
        // This stage is there for all; and nobody reads the last one any more, whose place the next one takes.
        __syncthreads();
        start_inputs(weights, first_output, rows, numbers, input + (TILE_STAGES - 1) * TILE_INPUTS,
                     stage == 0 ? TILE_STAGES - 1 : stage - 1);
        if (warp_row < rows.count) {
            multiply_stage<W>(stage_at<W>(stage), warp_output, warp_row, scales, sums);
        }
        stage = stage == TILE_STAGES - 1 ? 0 : stage + 1;
    }
    store_tile(sums, warp_output, warp_row, first_output, weights.outputs, rows.count, target);
}
