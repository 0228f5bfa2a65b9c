// Products of experts' seats with a matrix of each expert: out[seat] = weights[expert] * x[row of the seat].
//
//   (const bf16 *x, const void *weights, const float *scales, const SeatTile *tiles, const u32 *tile_count,
//    const u32 *rows_of_seats, void *out, u32 inputs, u32 outputs, u32 wide, u32 add)
//
// x[rows][inputs], or x[seats][inputs] where rows_of_seats is null; out[seats][outputs], bf16, or f32 where wide != 0;
// add != 0: the product is added to what out holds. inputs is a multiple of 16, all pointers are multiples of 16 bytes.
// weights[experts][outputs][inputs] and scales as operands.cuh has them; without 8 bits, there are no scales. What a seat
// gets depends on nothing of the others.
//
// Grids are as high as there may be tiles.
// multiply_experts_few, _few8: grid (ceil(outputs / 32), tiles), block 256, dynamic shared memory 49152 bytes.
// multiply_experts_many, _many8: grid (ceil(outputs / 128), tiles), block 128, 73728 bytes, with 8 bits 49152.
#include "lean_product.cuh"
#include "seats.cuh"
#include "tile_product.cuh"

static_assert(LEAN_ROWS == TILE_SEATS && TILE_ROWS == TILE_SEATS, "a block has all of a tile's seats");

#define MULTIPLY_EXPERTS(name, product, bits, threads, blocks, block_outputs)                                          \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                                      \
    name(const bf16 *x, const void *weights, const float *scales, const SeatTile *tiles, const u32 *tile_count,        \
         const u32 *rows_of_seats, void *out, u32 inputs, u32 outputs, u32 wide, u32 add) {                            \
        if (blockIdx.y >= *tile_count) {                                                                               \
            return;                                                                                                    \
        }                                                                                                              \
        SeatTile tile = tiles[blockIdx.y];                                                                             \
        u64 first = tile.first;                                                                                        \
        bool listed = rows_of_seats != nullptr;                                                                        \
        Matrix<bits> all = {static_cast<const unsigned char *>(weights), scales, inputs, outputs};                     \
        product(all.matrix(tile.expert), blockIdx.x *block_outputs,                                                    \
                {listed ? x : x + first * inputs, inputs, listed ? rows_of_seats + first : nullptr,                    \
                 tile.end - tile.first},                                                                               \
                {out, first * outputs, outputs, wide, add});                                                           \
    }

MULTIPLY_EXPERTS(multiply_experts_few, lean_product, 16, LEAN_THREADS, 2, LEAN_OUTPUTS)
MULTIPLY_EXPERTS(multiply_experts_few8, lean_product, 8, LEAN_THREADS, 2, LEAN_OUTPUTS)
MULTIPLY_EXPERTS(multiply_experts_many, tile_product, 16, TILE_THREADS, 3, TILE_OUTPUTS)
MULTIPLY_EXPERTS(multiply_experts_many8, tile_product, 8, TILE_THREADS, 2, TILE_OUTPUTS)
