// From pages of 64 tokens to one slot a token, as attention reads them.
// Shapes: segments[segment_count]; grid segments (padded), block 64. What lies past the count is not read.
#include "machine.cuh"

constexpr u32 PAGE = 64;

// The first `tokens` slots of `page` are those of the sequence's tokens from `at` on.
struct Segment {
    u32 page, tokens, at;
};

extern "C" __global__ void __launch_bounds__(64)
expand_slots(const Segment *segments, const u32 *segment_count, u32 *slots) {
    if (blockIdx.x >= *segment_count) {
        return;
    }
    Segment segment = segments[blockIdx.x];
    for (u32 token = threadIdx.x; token < segment.tokens; token += blockDim.x) {
        slots[segment.at + token] = segment.page * PAGE + token;
    }
}
