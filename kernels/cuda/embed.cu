// The embedding of each row's token, as the first residual stream.
// Shapes: tokens[rows], drawn[..], table[vocabulary][width], stream[rows][width]; grid rows, block any whole warps (128).
// A token with its highest bit set is drawn[the other bits]: what the step before has drawn, which the host has not seen.
// A drawn token of 0xffffffff (a draw from what are no numbers) gives NaN.
#include "row.cuh"

enum : u32 { DRAWN = 1u << 31 };

extern "C" __global__ void __launch_bounds__(1024)
embed(const u32 *tokens, const u32 *drawn, const bf16 *table, float *stream, u32 width, float scale) {
    u32 token = tokens[blockIdx.x];
    if ((token & DRAWN) != 0) {
        token = drawn[token & ~DRAWN];
    }
    bool is_none = token == ~0u;
    const bf16 *from = table + static_cast<u64>(is_none ? 0 : token) * width;
    float *to = stream + static_cast<u64>(blockIdx.x) * width;
    for (u32 at = 4 * threadIdx.x; at < width; at += 4 * blockDim.x) {
        float nan = machine::nan();
        store_four(to + at, is_none ? f32x4{nan, nan, nan, nan} : scaled(load_four(from + at), scale));
    }
}
