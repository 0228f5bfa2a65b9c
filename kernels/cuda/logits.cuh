// One row of logits as a block of LOGITS_BLOCK threads reads it, and its greatest.
#pragma once
#include "reduce.cuh"

constexpr u32 LOGITS_BLOCK = 512;
constexpr u32 NO_TOKEN = ~0u;

struct Logits {
    const float *row;
    u32 outputs;
    // Rows at multiples of 16 bytes are read by four numbers at once.
    bool aligned;
};

DEVICE Logits logits_of(const float *logits, u32 stride, u32 outputs, u32 row) {
    return {logits + static_cast<u64>(row) * stride, outputs, stride % 4 == 0};
}

// The logits of the tokens at, at + 1, at + 2, at + 3, for a multiple of 4; past the end minus infinity.
DEVICE f32x4 four_logits(const Logits &logits, u32 at) {
    if (logits.aligned && at + 4 <= logits.outputs) {
        return *reinterpret_cast<const f32x4 *>(logits.row + at);
    }
    float none = -machine::infinity();
    return {at < logits.outputs ? logits.row[at] : none, at + 1 < logits.outputs ? logits.row[at + 1] : none,
            at + 2 < logits.outputs ? logits.row[at + 2] : none, at + 3 < logits.outputs ? logits.row[at + 3] : none};
}

// Calls `visit(token, logit)` for all tokens of this thread, in ascending order, and past the end with minus infinity.
template <class Visit> DEVICE void each_logit(const Logits &logits, Visit visit) {
#pragma unroll 2
    for (u32 at = 4 * threadIdx.x; at < logits.outputs; at += 4 * LOGITS_BLOCK) {
        f32x4 four = four_logits(logits, at);
        visit(at, four.x);
        visit(at + 1, four.y);
        visit(at + 2, four.z);
        visit(at + 3, four.w);
    }
}

// The greatest logit and the first token that has it: NO_TOKEN where the greatest is not finite, or any is NaN.
struct Top {
    float logit;
    u32 token;
};

// For the whole block. `scratch`: one u64 a warp, in shared memory.
DEVICE Top top_of(const Logits &logits, u64 *scratch) {
    float best = -machine::infinity();
    u32 first = NO_TOKEN;
    bool all_numbers = true;
    each_logit(logits, [&](u32 token, float logit) {
        if (logit > best) {
            best = logit;
            first = token;
        }
        all_numbers = all_numbers && logit == logit;
    });
    // Floats in the order of their bits, 0 and -0 alike; then the lower token first; what is not a number before all.
    u32 bits = bits_of(best + 0.0f);
    u32 ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
    u64 key = all_numbers ? static_cast<u64>(ordered) << 32 | ~first : ~0ull;
    key = block_reduce(key, scratch, Greatest<u64>());
    ordered = static_cast<u32>(key >> 32);
    float logit = float_of(ordered >> 31 != 0 ? ordered & 0x7fffffffu : ~ordered);
    bool finite = (bits_of(logit) & 0x7f800000u) != 0x7f800000u;
    return {logit, finite ? ~static_cast<u32>(key) : NO_TOKEN};
}
