// A branch joins the residual stream through a norm of its own, and the next branch's norm follows (Gemma 2,
// arXiv:2408.00118): stream += rms(branch) * branch_weight, then out = rms(stream) * weight.
// Shapes: stream, branch, out[rows][width], both weights[width]; out may be null; grid rows, block any whole warps up to 512 threads (256).
#include "row.cuh"

extern "C" __global__ void __launch_bounds__(512)
join_norm(float *stream, const float *branch, const float *branch_weight, const float *weight, bf16 *out, u32 width,
          float epsilon) {
    __shared__ float scratch[WARPS_MOST];
    u64 row = static_cast<u64>(blockIdx.x) * width;
    stream += row;
    branch += row;
    f32x4 held[HELD];
    auto load_branch = [&](u32 at) { return load_four(branch + at); };
    auto load_stream = [&](u32 at) { return load_four(stream + at); };
    float factor = load_and_norm(held, width, epsilon, scratch, load_branch);
    float squares = 0.0f;
    each_four(held, width, load_branch, [&](f32x4 &four, u32 at) {
        four = plus(load_stream(at), times(scaled(four, factor), load_four(branch_weight + at)));
        store_four(stream + at, four);
        squares += (four.x * four.x + four.y * four.y) + (four.z * four.z + four.w * four.w);
    });
    if (out == nullptr) {
        return;
    }
    out += row;
    float next = machine::rsqrt(block_sum(squares, scratch) / static_cast<float>(width) + epsilon);
    each_four(held, width, load_stream, [&](f32x4 &four, u32 at) {
        store_four(out + at, times(scaled(four, next), load_four(weight + at)));
    });
}
