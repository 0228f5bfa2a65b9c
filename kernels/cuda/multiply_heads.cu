// Products of each head's vectors with a matrix of its own: out[row][head] = weights[head] * x[row][head].
//
//   (const bf16 *x, const void *weights, const float *scales, bf16 *out, u32 rows, u32 inputs, u32 outputs,
//    u32 x_stride, u32 x_step, u32 out_stride, u32 out_step)
//
// The vector of a row and head begins at row * x_stride + head * x_step of x, and so of out. Those of x are multiples of
// 8, inputs is one of 16, pointers to x and weights are multiples of 16 bytes. weights[heads][outputs][inputs] and scales
// as operands.cuh has them; without 8 bits, there are no scales. What a row gets depends on nothing of the others.
//
// multiply_heads_few, _few8: grid (heads * ceil(outputs / 32), ceil(rows / 64)), block 256, dynamic shared memory 49152
// bytes. multiply_heads_many, _many8: grid (heads * ceil(outputs / 128), ceil(rows / 64)), block 128, 73728 bytes, with
// 8 bits 49152.
#include "lean_product.cuh"
#include "tile_product.cuh"

#define MULTIPLY_HEADS(name, product, bits, threads, blocks, block_outputs)                                            \
    extern "C" __global__ void __launch_bounds__(threads, blocks)                                                      \
    name(const bf16 *x, const void *weights, const float *scales, bf16 *out, u32 rows, u32 inputs, u32 outputs,        \
         u32 x_stride, u32 x_step, u32 out_stride, u32 out_step) {                                                     \
        u32 pieces = (outputs + block_outputs - 1) / block_outputs, head = blockIdx.x / pieces;                        \
        u32 first_row = blockIdx.y * 64, count = machine::min(rows - first_row, 64);                                   \
        u64 row = first_row, number = head;                                                                            \
        Matrix<bits> all = {static_cast<const unsigned char *>(weights), scales, inputs, outputs};                     \
        product(all.matrix(head), blockIdx.x % pieces *block_outputs,                                                  \
                {x + row * x_stride + number * x_step, x_stride, nullptr, count},                                      \
                {out, row * out_stride + number * out_step, out_stride, 0, 0});                                        \
    }

MULTIPLY_HEADS(multiply_heads_few, lean_product, 16, LEAN_THREADS, 2, LEAN_OUTPUTS)
MULTIPLY_HEADS(multiply_heads_few8, lean_product, 8, LEAN_THREADS, 2, LEAN_OUTPUTS)
MULTIPLY_HEADS(multiply_heads_many, tile_product, 16, TILE_THREADS, 3, TILE_OUTPUTS)
MULTIPLY_HEADS(multiply_heads_many8, tile_product, 8, TILE_THREADS, 2, TILE_OUTPUTS)
