// out = x * weights^T for weights of 8 bits and activations in bf16: half the memory traffic of bf16 weights, which is
// all the time that a decoding step takes.
//
//   product8(const bf16 *x, const u32 *weights, const float *scales, void *out,
//            u32 rows, u32 inputs, u32 outputs, u32 wide, u32 add)
//
// x[rows][inputs]; out[rows][outputs], bf16, or f32 where wide != 0; add != 0: the product is added to what out holds.
// weights[outputs][inputs] of signed bytes from -127 to 127, in each four of which the middle two have changed places:
// the bytes of a u32 are the inputs 0, 2, 1, 3. scales[ceil(inputs / 128)][outputs]: a weight is byte * scale.
// inputs is a multiple of 16, all pointers are multiples of 16.
// Grid (ceil(outputs / 32), ceil(rows / 64)), block 256, dynamic shared memory 49152 bytes.
//
// A block has 32 outputs and 64 rows: two tiles of 16 outputs times four slices of the inputs, a warp each. A slice has
// every fourth group of 128 inputs. Outputs are the rows of mma m16n8k16 and rows its columns, so that a few rows waste
// little, and what a row gets depends on nothing of the others: groups, slices and inputs always add up in one order.
//
// Which input is which column of mma is free, as long as both sides agree. So a lane takes 16 inputs that follow each
// other, of its two outputs and of its row of each 8: weights come in its own 16 bytes a copy, and nobody else reads them.
#include "machine.cuh"

constexpr u32 TILES = 2;
constexpr u32 TILE_OUTPUTS = 16;
constexpr u32 SLICES = 4;
constexpr u32 BLOCK_OUTPUTS = TILES * TILE_OUTPUTS;
constexpr u32 BLOCK_ROWS = 64;
constexpr u32 PRODUCT_THREADS = 32 * TILES * SLICES;
constexpr u32 GROUP_INPUTS = 128;
// Groups of weights that are on their way at once, or in use.
constexpr u32 STAGES = 3;
// Of a group a lane has two outputs, of each two chunks of 16 inputs.
constexpr u32 PIECES = 4;
// Sums of a warp in shared memory: rows of 16 outputs, so far apart that neither writing nor reading has conflicts.
constexpr u32 SUM_PITCH = TILE_OUTPUTS + 4;
constexpr u32 WARP_SUMS = BLOCK_ROWS * SUM_PITCH + 16;

// What a warp works on, and its lane's place.
struct Part {
    const unsigned char *weights;
    u32 inputs, outputs;
    // The lane's first output; the other is 8 further on.
    u32 output;
    u32 slice, groups;
};

DEVICE u32x4 *piece_at(u32 stage, u32 piece) {
    return dynamic_shared<u32x4>() + ((warp_index() * STAGES + stage) * PIECES + piece) * 32 + lane_index();
}

// The first of the 16 inputs of a lane's chunk, the first or the second of a group.
DEVICE u32 chunk_input(u32 group, u32 chunk) { return group * GROUP_INPUTS + chunk * 64 + lane_index() % 4 * 16; }

DEVICE void start_group(const Part &part, u32 group, u32 stage) {
    if (group < part.groups) {
#pragma unroll
        for (u32 piece = 0; piece < PIECES; piece++) {
            u32 output = part.output + piece / 2 * 8, input = chunk_input(group, piece % 2);
            bool there = output < part.outputs && input < part.inputs;
            u64 from = there ? static_cast<u64>(output) * part.inputs + input : 0;
            copy_async(piece_at(stage, piece), part.weights + from, there);
        }
    }
    copy_commit();
}

// Four bytes become two pairs of bf16, exactly: 0x4300 with the low seven bits is 128 more than they, 0xc300 with the
// highest one -128, or -256.
DEVICE void widen(u32 bytes, u32 &first, u32 &second) {
    u32 odd = bytes >> 8;
    first = add_pairs((bytes & 0x007f007fu) | 0x43004300u, (bytes & 0x00800080u) | 0xc300c300u);
    second = add_pairs((odd & 0x007f007fu) | 0x43004300u, (odd & 0x00800080u) | 0xc300c300u);
}

// A group's weights as left sides of eight products of 16 inputs.
DEVICE void widen_group(u32 stage, u32 (&left)[8][4]) {
#pragma unroll
    for (u32 piece = 0; piece < PIECES; piece++) {
        u32x4 four = *piece_at(stage, piece);
        u32 words[4] = {four.x, four.y, four.z, four.w};
        u32 half = piece / 2;
#pragma unroll
        for (u32 step = 0; step < 4; step++) {
            u32(&to)[4] = left[piece % 2 * 4 + step];
            widen(words[step], to[half], to[half + 2]);
        }
    }
}

// The same group of the lane's row of the eight from `eight` on, as right sides; rows past the end are zeros.
DEVICE void load_row(const bf16 *my_row, u32 eight, u32 rows, u32 group, u32 inputs, u32 (&right)[16]) {
    bool there = eight + lane_index() / 4 < rows;
    const bf16 *row = my_row + static_cast<u64>(eight) * inputs;
#pragma unroll
    for (u32 chunk = 0; chunk < 2; chunk++) {
        u32 input = chunk_input(group, chunk);
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            u32x4 four = {0, 0, 0, 0};
            if (there && input < inputs) {
                four = *reinterpret_cast<const u32x4 *>(row + input + 8 * half);
            }
            u32 at = 8 * chunk + 4 * half;
            right[at] = four.x;
            right[at + 1] = four.y;
            right[at + 2] = four.z;
            right[at + 3] = four.w;
        }
    }
}

struct Target {
    void *out;
    u32 wide, add;
};

DEVICE void store_one(const Target &target, u64 at, float sum) {
    if (target.wide != 0) {
        float *to = static_cast<float *>(target.out) + at;
        *to = target.add != 0 ? *to + sum : sum;
    } else {
        bf16 *to = static_cast<bf16 *>(target.out) + at;
        *to = to_bf16(target.add != 0 ? to_float(*to) + sum : sum);
    }
}

extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS, 2)
product8(const bf16 *x, const u32 *weights, const float *scales, void *out, u32 rows, u32 inputs, u32 outputs, u32 wide,
         u32 add) {
    u32 tile = warp_index() % TILES, lane = lane_index(), first_row = blockIdx.y * BLOCK_ROWS;
    Part part = {reinterpret_cast<const unsigned char *>(weights),
                 inputs,
                 outputs,
                 blockIdx.x * BLOCK_OUTPUTS + tile * TILE_OUTPUTS + lane / 4,
                 warp_index() / TILES,
                 (inputs + GROUP_INPUTS - 1) / GROUP_INPUTS};
#pragma unroll
    for (u32 stage = 0; stage < STAGES - 1; stage++) {
        start_group(part, part.slice + stage * SLICES, stage);
    }
    // Of each 8 rows, a lane loads one.
    const bf16 *my_row = x + static_cast<u64>(first_row + lane / 4) * inputs;
    u32 my_rows = rows - first_row;
    float sums[BLOCK_ROWS / 8][4] = {};
    u32 stage = 0;
    for (u32 group = part.slice; group < part.groups; group += SLICES) {
        const float *scale = scales + static_cast<u64>(group) * outputs + part.output;
        float first_scale = part.output < outputs ? scale[0] : 0.0f;
        float second_scale = part.output + 8 < outputs ? scale[8] : 0.0f;
        u32 next[16];
        load_row(my_row, 0, my_rows, group, inputs, next);
        copy_wait<STAGES - 2>();
        u32 left[8][4];
        widen_group(stage, left);
        // The last stage was read a turn ago, by this lane alone.
        start_group(part, group + (STAGES - 1) * SLICES, stage == 0 ? STAGES - 1 : stage - 1);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
#pragma unroll
        for (u32 eight = 0; eight < BLOCK_ROWS / 8; eight++) {
            if (8 * eight < my_rows) {
                u32 right[16];
#pragma unroll
                for (u32 one = 0; one < 16; one++) {
                    right[one] = next[one];
                }
                load_row(my_row, 8 * (eight + 1), my_rows, group, inputs, next);
                // Two sums, so that products wait less for each other.
                float even[4] = {}, odd[4] = {};
#pragma unroll
                for (u32 step = 0; step < 8; step += 2) {
                    multiply(even, left[step], right[2 * step], right[2 * step + 1]);
                    multiply(odd, left[step + 1], right[2 * step + 2], right[2 * step + 3]);
                }
#pragma unroll
                for (u32 one = 0; one < 4; one++) {
                    float by = one < 2 ? first_scale : second_scale;
                    sums[eight][one] = machine::fma(even[one] + odd[one], by, sums[eight][one]);
                }
            }
        }
    }

    // Slices add up in order, through the memory that the weights had.
    copy_wait<0>();
    __syncthreads();
    float *all = dynamic_shared<float>();
    float *mine = all + warp_index() * WARP_SUMS;
#pragma unroll
    for (u32 eight = 0; eight < BLOCK_ROWS / 8; eight++) {
#pragma unroll
        for (u32 one = 0; one < 4; one++) {
            u32 row = 8 * eight + 2 * (lane % 4) + one % 2, output = lane / 4 + one / 2 * 8;
            mine[row * SUM_PITCH + output] = sums[eight][one];
        }
    }
    __syncthreads();
    u32 output = blockIdx.x * BLOCK_OUTPUTS + lane;
    for (u32 row = warp_index(); row < BLOCK_ROWS && row < my_rows && output < outputs; row += TILES * SLICES) {
        const float *of_row = all + lane / TILE_OUTPUTS * WARP_SUMS + row * SUM_PITCH + lane % TILE_OUTPUTS;
        float sum = of_row[0];
        for (u32 slice = 1; slice < SLICES; slice++) {
            sum += of_row[slice * TILES * WARP_SUMS];
        }
        store_one({out, wide, add}, static_cast<u64>(first_row + row) * outputs + output, sum);
    }
}
