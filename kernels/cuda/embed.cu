// The embedding of each row's token, as the first residual stream.
// Shapes: tokens[rows], table[vocabulary][width], stream[rows][width]; grid rows, block any whole warps (128).
// A token of 0xffffffff (a draw from what are no numbers) gives NaN.
#include "row.cuh"

extern "C" __global__ void __launch_bounds__(1024)
embed(const u32 *tokens, const bf16 *table, float *stream, u32 width, float scale) {
    u32 token = tokens[blockIdx.x];
    const bf16 *from = table + static_cast<u64>(token) * width;
    float *to = stream + static_cast<u64>(blockIdx.x) * width;
    for (u32 at = 4 * threadIdx.x; at < width; at += 4 * blockDim.x) {
        float nan = machine::nan();
        store_four(to + at, token == ~0u ? f32x4{nan, nan, nan, nan} : scaled(load_four(from + at), scale));
    }
}
