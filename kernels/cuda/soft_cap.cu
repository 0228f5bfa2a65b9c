// Caps logits softly (Gemma 2): x = cap * tanh(x / cap).
// Shapes: x[count], at a multiple of 16 bytes; any grid and block: their threads share the groups of four.
#include "row.cuh"

DEVICE float capped(float x, float cap) { return cap * machine::tanh(x / cap); }

extern "C" __global__ void __launch_bounds__(1024) soft_cap(float *x, u64 count, float cap) {
    u64 step = 4ull * gridDim.x * blockDim.x;
    for (u64 at = 4ull * (static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x); at < count; at += step) {
        if (at + 4 <= count) {
            f32x4 four = load_four(x + at);
            store_four(x + at, {capped(four.x, cap), capped(four.y, cap), capped(four.z, cap), capped(four.w, cap)});
        } else {
            for (u64 one = at; one < count; one++) {
                x[one] = capped(x[one], cap);
            }
        }
    }
}
