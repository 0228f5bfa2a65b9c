// Weights of 8 bits (product8.cu) as bf16, for products that have their rows multiplied by a library.
// Shapes: weights[outputs][inputs], scales[ceil(inputs / 128)][outputs], out[outputs][inputs]; inputs a multiple of 16.
// Grid (outputs, pieces), block any: the threads of an output's pieces share its chunks of 16 inputs.
#include "machine.cuh"

constexpr u32 GROUP_INPUTS = 128;
constexpr u32 CHUNK = 16;

DEVICE float byte_at(u32 word, u32 number) {
    return static_cast<float>(static_cast<signed char>(word >> 8 * number & 0xff));
}

// Four weights as two pairs; in their word the middle two have changed places.
DEVICE u32x2 widened(u32 word, float scale) {
    return {pack(byte_at(word, 0) * scale, byte_at(word, 2) * scale),
            pack(byte_at(word, 1) * scale, byte_at(word, 3) * scale)};
}

extern "C" __global__ void __launch_bounds__(256)
widen8(const u32x4 *weights, const float *scales, bf16 *out, u32 inputs, u32 outputs) {
    u32 chunks = inputs / CHUNK;
    u64 first = static_cast<u64>(blockIdx.x) * chunks;
    for (u32 chunk = blockIdx.y * blockDim.x + threadIdx.x; chunk < chunks; chunk += gridDim.y * blockDim.x) {
        float scale = scales[static_cast<u64>(chunk * CHUNK / GROUP_INPUTS) * outputs + blockIdx.x];
        u32x4 words = weights[first + chunk];
        u32x2 a = widened(words.x, scale), b = widened(words.y, scale);
        u32x2 c = widened(words.z, scale), d = widened(words.w, scale);
        u32x4 *to = reinterpret_cast<u32x4 *>(out + (first + chunk) * CHUNK);
        to[0] = {a.x, a.y, b.x, b.y};
        to[1] = {c.x, c.y, d.x, d.y};
    }
}
