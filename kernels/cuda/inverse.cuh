// The inverse of cumulated weights over a row of logits: sums of groups of tokens first, then one group token by token.
// Weights are functors of a token and its logit; what lies past the row's end has the logit -infinity.
#pragma once
#include "logits.cuh"

constexpr u32 GROUPS = LOGITS_BLOCK;
// Tokens that a warp reads in one step.
constexpr u32 STEP_TOKENS = 128;
// A group has so many steps, or a multiple where the row has more tokens than GROUPS such groups.
constexpr u32 GROUP_STEPS = 4;

struct Groups {
    double sums[GROUPS];
    double scratch[WARPS_MOST];
    u64 picked[WARPS_MOST];
};

DEVICE u32 tokens_per_group(u32 outputs) {
    u32 least = STEP_TOKENS * GROUP_STEPS * GROUPS;
    return STEP_TOKENS * GROUP_STEPS * ((outputs + least - 1) / least);
}

template <class Weigh> DEVICE float four_weights(const Logits &logits, u32 at, Weigh weigh, float (&weights)[4]) {
    f32x4 four = four_logits(logits, at);
    weights[0] = weigh(at, four.x);
    weights[1] = weigh(at + 1, four.y);
    weights[2] = weigh(at + 2, four.z);
    weights[3] = weigh(at + 3, four.w);
    return (weights[0] + weights[1]) + (weights[2] + weights[3]);
}

// The sum of all weights; the groups' own stay in `groups`.
template <class Weigh> DEVICE double sum_groups(const Logits &logits, Groups &groups, Weigh weigh) {
    u32 per_group = tokens_per_group(logits.outputs);
    groups.sums[threadIdx.x] = 0.0;
    __syncthreads();
    for (u32 group = warp_index(); group * per_group < logits.outputs; group += LOGITS_BLOCK / 32) {
        float sum = 0.0f;
#pragma unroll 4
        for (u32 at = 4 * lane_index(); at < per_group; at += STEP_TOKENS) {
            float weights[4];
            sum += four_weights(logits, group * per_group + at, weigh, weights);
        }
        sum = warp_sum(sum);
        if (lane_index() == 0) {
            groups.sums[group] = sum;
        }
    }
    __syncthreads();
    return block_sum(groups.sums[threadIdx.x], groups.scratch);
}

// The sums of the lanes before this one and this one's.
DEVICE double warp_running_sum(double value) {
#pragma unroll
    for (u32 by = 1; by < 32; by *= 2) {
        double before = shuffle_up(value, by);
        value += lane_index() >= by ? before : 0.0;
    }
    return value;
}

// The first token at which the running sum exceeds `target`; where rounding hides it, the last with any weight. After
// `sum_groups` with the same weights, some of which is positive.
template <class Weigh> DEVICE u32 first_beyond(const Logits &logits, Groups &groups, double target, Weigh weigh) {
    // One group a thread.
    double sum = groups.sums[threadIdx.x];
    double running = warp_running_sum(sum);
    __syncthreads();
    if (lane_index() == 31) {
        groups.scratch[warp_index()] = running;
    }
    __syncthreads();
    double before = 0.0;
    for (u32 warp = 0; warp < warp_index(); warp++) {
        before += groups.scratch[warp];
    }
    running += before;
    // The first group beyond comes before the last with weight, which comes before all others.
    bool beyond = sum > 0.0 && running > target;
    u64 key = beyond ? 2ull << 32 | ~threadIdx.x : sum > 0.0 ? 1ull << 32 | threadIdx.x : 0;
    key = block_reduce(key, groups.picked, Greatest<u64>());
    u32 group = key >> 33 != 0 ? ~static_cast<u32>(key) : static_cast<u32>(key);
    if (group == threadIdx.x) {
        groups.scratch[0] = running - sum;
    }
    __syncthreads();
    double start = groups.scratch[0];

    // Every warp walks through that group, each to the same end.
    u32 per_group = tokens_per_group(logits.outputs);
    u32 first = group * per_group + 4 * lane_index();
    u32 found = NO_TOKEN, last = 0;
    for (u32 at = 0; at < per_group; at += STEP_TOKENS) {
        float weights[4];
        double four = four_weights(logits, first + at, weigh, weights);
        double through = start + warp_running_sum(four);
        double reached = through - four;
        for (u32 one = 0; one < 4; one++) {
            reached += weights[one];
            bool counts = weights[one] > 0.0f;
            last = counts ? first + at + one : last;
            found = counts && reached > target ? machine::min(found, first + at + one) : found;
        }
        start = shuffle_from(through, 31);
    }
    found = ~warp_reduce(~found, Greatest<u32>());
    last = warp_reduce(last, Greatest<u32>());
    return found == NO_TOKEN ? last : found;
}
