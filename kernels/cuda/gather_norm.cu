// The last norm, of those rows alone whose logits or states are wanted.
// Shapes: stream[rows][width], wanted[grid], weight[width], out and hidden[grid][width], each of which may be null;
// grid wanted rows, block any whole warps up to 512 threads (256).
#include "row.cuh"

extern "C" __global__ void __launch_bounds__(512)
gather_norm(const float *stream, const u32 *wanted, const float *weight, bf16 *out, float *hidden, u32 width,
            float epsilon) {
    __shared__ float scratch[WARPS_MOST];
    const float *from = stream + static_cast<u64>(wanted[blockIdx.x]) * width;
    u64 row = static_cast<u64>(blockIdx.x) * width;
    f32x4 held[HELD];
    auto load = [&](u32 at) { return load_four(from + at); };
    float factor = load_and_norm(held, width, epsilon, scratch, load);
    each_four(held, width, load, [&](f32x4 &four, u32 at) {
        f32x4 normed = times(scaled(four, factor), load_four(weight + at));
        if (out != nullptr) {
            store_four(out + row + at, normed);
        }
        if (hidden != nullptr) {
            store_four(hidden + row + at, normed);
        }
    });
}
