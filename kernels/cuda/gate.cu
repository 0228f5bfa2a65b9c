// Gated feed forward (Shazeer, arXiv:2002.05202): activation(gate) * up.
// Shapes: gate_up[rows][2 * hidden] (gates, then ups), out[rows][hidden], hidden a multiple of 8; grid (rows, pieces),
// block any: the threads of a row's pieces share its groups of eight.
#include "machine.cuh"

enum : u32 { SILU = 0, GELU_TANH = 1 };

DEVICE float activation(float x, u32 kind) {
    if (kind == SILU) {
        return x / (1.0f + machine::exp(-x));
    }
    // sqrt(2 / pi)
    float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + machine::tanh(inner));
}

DEVICE u32 gated(u32 gates, u32 ups, u32 kind) {
    return pack(activation(low_of(gates), kind) * low_of(ups), activation(high_of(gates), kind) * high_of(ups));
}

extern "C" __global__ void __launch_bounds__(1024)
gate(const bf16 *gate_up, bf16 *out, u32 hidden, u32 kind) {
    const bf16 *gates = gate_up + static_cast<u64>(blockIdx.x) * 2 * hidden;
    const bf16 *ups = gates + hidden;
    bf16 *to = out + static_cast<u64>(blockIdx.x) * hidden;
    u32 step = 8 * gridDim.y * blockDim.x;
    for (u32 at = 8 * (blockIdx.y * blockDim.x + threadIdx.x); at < hidden; at += step) {
        u32x4 a = *reinterpret_cast<const u32x4 *>(gates + at);
        u32x4 b = *reinterpret_cast<const u32x4 *>(ups + at);
        u32x4 result = {gated(a.x, b.x, kind), gated(a.y, b.y, kind), gated(a.z, b.z, kind), gated(a.w, b.w, kind)};
        *reinterpret_cast<u32x4 *>(to + at) = result;
    }
}
