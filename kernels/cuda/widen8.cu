// Weights of 8 bits as bf16, for rows of prompts, which a library multiplies.
// Shapes: weights[outputs][inputs] and scales[ceil(inputs / 128)][outputs] as operands.cuh has them, out[outputs][inputs];
// inputs a multiple of 16. Grid (outputs, pieces), block any: the threads of an output's pieces share its chunks of 16
// inputs.
#include "operands.cuh"

using Eight = Matrix<8>;

DEVICE u32 scaled(u32 pair, float scale) { return pack(low_of(pair) * scale, high_of(pair) * scale); }

extern "C" __global__ void __launch_bounds__(256)
widen8(const unsigned char *weights, const float *scales, bf16 *out, u32 inputs, u32 outputs) {
    Eight matrix = {weights, scales, inputs, outputs};
    u32 output = blockIdx.x, step = gridDim.y * blockDim.x * Eight::PIECE;
    for (u32 input = (blockIdx.y * blockDim.x + threadIdx.x) * Eight::PIECE; input < inputs; input += step) {
        float scale = matrix.scale(output, input);
        u32 pairs[Eight::PIECE / 2];
        widen_piece(*reinterpret_cast<const u32x4 *>(matrix.at(output, input)), pairs);
        u32x4 *to = reinterpret_cast<u32x4 *>(out + static_cast<u64>(output) * inputs + input);
        to[0] = {scaled(pairs[0], scale), scaled(pairs[1], scale), scaled(pairs[2], scale), scaled(pairs[3], scale)};
        to[1] = {scaled(pairs[4], scale), scaled(pairs[5], scale), scaled(pairs[6], scale), scaled(pairs[7], scale)};
    }
}
