// What lies between the product of queries, keys and values and attention: bias, RMS norm of each query and key
// (arXiv:2302.05442; Qwen 3, Gemma 3), rotary positions (Su et al., arXiv:2104.09864), and the way of keys and values
// into their slots.
// Shapes: qkv[rows][(heads + 2 kv_heads) * head_size]; bias of one such row, or null; query_norm, key_norm[head_size],
// or null; turns[positions][turned] (cos, sin of each pair); queries[rows][heads][head_size]; keys, values[slots][kv_heads][head_size].
// Grid (rows, ceil((heads + 2 kv_heads) / 4)), block 128: one warp a head. head_size is even and at most 256.
// A row whose slot is 0xffffffff keeps its keys and values to itself.
#include "reduce.cuh"
#include "rotation.cuh"

constexpr u32 HEADS = 4;
constexpr u32 HEAD_MOST = 256;
// A lane has two elements that follow each other in each 64 of the head.
constexpr u32 STEPS = HEAD_MOST / 64;

extern "C" __global__ void __launch_bounds__(128)
rotate_store(const bf16 *qkv, const float *bias, const float *query_norm, const float *key_norm, const float *turns,
             const u32 *positions, const u32 *slots, bf16 *queries, bf16 *keys, bf16 *values, u32 heads, u32 kv_heads,
             u32 head_size, u32 turned, u32 neighbours, float epsilon) {
    __shared__ float staged[HEADS][HEAD_MOST];
    u32 row = blockIdx.x, lane = lane_index();
    u32 head = blockIdx.y * HEADS + warp_index();
    u32 all_heads = heads + 2 * kv_heads;
    if (head >= all_heads) {
        return;
    }
    bool is_query = head < heads, is_value = head >= heads + kv_heads;
    const bf16 *from = qkv + (static_cast<u64>(row) * all_heads + head) * head_size;

    float x[STEPS][2] = {};
    float squares = 0.0f;
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 at = 64 * step + 2 * lane;
        if (at < head_size) {
            u32 pair = *reinterpret_cast<const u32 *>(from + at);
            x[step][0] = low_of(pair);
            x[step][1] = high_of(pair);
            if (bias != nullptr) {
                x[step][0] += bias[head * head_size + at];
                x[step][1] += bias[head * head_size + at + 1];
            }
            squares += x[step][0] * x[step][0] + x[step][1] * x[step][1];
        }
    }
    const float *weight = is_value ? nullptr : is_query ? query_norm : key_norm;
    float factor = 1.0f;
    if (weight != nullptr) {
        factor = machine::rsqrt(warp_sum(squares) / static_cast<float>(head_size) + epsilon);
    }
    float *mine = staged[warp_index()];
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 at = 64 * step + 2 * lane;
        if (at < head_size) {
            mine[at] = weight == nullptr ? x[step][0] : x[step][0] * factor * weight[at];
            mine[at + 1] = weight == nullptr ? x[step][1] : x[step][1] * factor * weight[at + 1];
        }
    }
    sync_warp();

    u32 slot = slots[row];
    if (!is_query && slot == ~0u) {
        return;
    }
    u32 kv_head = is_value ? head - heads - kv_heads : head - heads;
    u64 place = is_query ? static_cast<u64>(row) * heads + head : static_cast<u64>(slot) * kv_heads + kv_head;
    bf16 *to = (is_query ? queries : is_value ? values : keys) + place * head_size;
    const float *row_turns = turns + static_cast<u64>(positions[row]) * turned;
    u32 turned_here = is_value ? 0 : turned;
    auto element = [&](u32 at) { return mine[at]; };
#pragma unroll
    for (u32 step = 0; step < STEPS; step++) {
        u32 at = 64 * step + 2 * lane;
        if (at < head_size) {
            float first = turned_element(element, row_turns, at, turned_here, neighbours != 0);
            float second = turned_element(element, row_turns, at + 1, turned_here, neighbours != 0);
            *reinterpret_cast<u32 *>(to + at) = pack(first, second);
        }
    }
}
