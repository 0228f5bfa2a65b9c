// RMS norm (Zhang and Sennrich, arXiv:1910.07467): out = x / sqrt(mean(x^2) + epsilon) * weight.
// Shapes: stream[rows][width], weight[width], out[rows][width]; grid rows, block any whole warps up to 512 threads (256).
#ifdef __CUDACC__
// CUDA's C++ has a function of this name already; scripts/cuda takes the `kernel_` out of the PTX.
#define norm kernel_norm
#endif
#include "row.cuh"

extern "C" __global__ void __launch_bounds__(512)
norm(const float *stream, const float *weight, bf16 *out, u32 width, float epsilon) {
    __shared__ float scratch[WARPS_MOST];
    const float *from = stream + static_cast<u64>(blockIdx.x) * width;
    bf16 *to = out + static_cast<u64>(blockIdx.x) * width;
    f32x4 held[HELD];
    auto load = [&](u32 at) { return load_four(from + at); };
    float factor = load_and_norm(held, width, epsilon, scratch, load);
    each_four(held, width, load, [&](f32x4 &four, u32 at) {
        store_four(to + at, times(scaled(four, factor), load_four(weight + at)));
    });
}
