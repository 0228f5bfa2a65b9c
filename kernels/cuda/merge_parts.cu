// Merges attention over parts of the tokens into attention over all of them, by log-sum-exp (Flash-Decoding; Dao et al.,
// arXiv:2307.08691, section 3.1).
// Shapes: sums[parts][heads][head_size], stats[parts][heads][2] (greatest score, sum of weights), parts[rows],
// out[rows][heads][head_size]; grid (rows, heads), block head_size, which is 512 at most. A row that saw nothing becomes
// zeros.
#include "machine.cuh"

// The partial rows of a row, in the order in which they are summed: first the shared ones, then its own.
struct Parts {
    u32 shared, shared_stride, shared_count, own, own_stride, own_count;
};

DEVICE u32 part_at(const Parts &parts, u32 index) {
    return index < parts.shared_count ? parts.shared + index * parts.shared_stride
                                      : parts.own + (index - parts.shared_count) * parts.own_stride;
}

extern "C" __global__ void __launch_bounds__(512)
merge_parts(const float *sums, const float *stats, const Parts *parts_of_rows, bf16 *out, u32 heads, u32 head_size) {
    Parts parts = parts_of_rows[blockIdx.x];
    u32 head = blockIdx.y, element = threadIdx.x;
    u32 count = parts.shared_count + parts.own_count;
    const f32x2 *pairs = reinterpret_cast<const f32x2 *>(stats);

    float greatest = -machine::infinity();
    for (u32 index = 0; index < count; index++) {
        greatest = machine::max(greatest, pairs[static_cast<u64>(part_at(parts, index)) * heads + head].x);
    }
    // Where nobody saw anything, all weights are exp(-infinity).
    float base = greatest == -machine::infinity() ? 0.0f : greatest;

    float weight_sum = 0.0f, sum = 0.0f;
#pragma unroll 4
    for (u32 index = 0; index < count; index++) {
        u64 part = static_cast<u64>(part_at(parts, index)) * heads + head;
        f32x2 stat = pairs[part];
        float scale = machine::exp(stat.x - base);
        weight_sum = machine::fma(scale, stat.y, weight_sum);
        sum = machine::fma(scale, sums[part * head_size + element], sum);
    }
    u64 row = static_cast<u64>(blockIdx.x) * heads + head;
    out[row * head_size + element] = to_bf16(weight_sum == 0.0f ? 0.0f : sum / weight_sum);
}
