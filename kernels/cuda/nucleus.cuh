// Top-p (Holtzman et al., arXiv:1904.09751) without sorting: the lowest weight that is kept is found by its bits, a
// digit of 4 bits a step, from histograms of weights.
//
// A thread has a column of the histogram of its own, and columns are summed in one order: no atomics, the same bits each
// time. What lies in the interval that is left soon fits a short list a thread, and the row is not read again.
#pragma once
#include "inverse.cuh"

constexpr u32 DIGITS = 16;
constexpr u32 LISTED = 4;
// Weights from 2^-31 on, up to 1, have bits from here on; the first step looks at them alone.
constexpr u32 USUAL_BITS = 0x30000000u;

// Kept are the weights with higher bits, and those with the same up to a token.
struct Nucleus {
    u32 bits, last_equal;
};

DEVICE bool is_kept(const Nucleus &nucleus, u32 token, float weight) {
    u32 bits = bits_of(weight);
    return bits > nucleus.bits || (bits == nucleus.bits && token <= nucleus.last_equal);
}

struct Search {
    float columns[DIGITS][LOGITS_BLOCK];
    u32 list[LISTED][LOGITS_BLOCK];
    double sums[DIGITS];
    double scratch[WARPS_MOST];
    u32 longest[WARPS_MOST];
};

// What a digit found: weights [low, low + span) hold the edge, `above` is the weight of all heavier ones.
struct Interval {
    u32 low, span, shift;
    double above;
};

// Adds to this thread's column; gives how many weights of the interval it has, of which the list takes the first.
template <class Weigh>
DEVICE u32 fill_columns(const Logits &logits, Search &search, const Interval &interval, bool listed, u32 count,
                        float &below, Weigh weigh) {
    u32 column = threadIdx.x;
    for (u32 digit = 0; digit < DIGITS; digit++) {
        search.columns[digit][column] = 0.0f;
    }
    auto add = [&](u32 bits) {
        search.columns[(bits - interval.low) >> interval.shift][column] += float_of(bits);
    };
    if (listed) {
        for (u32 index = 0; index < count; index++) {
            u32 bits = search.list[index][column];
            if (bits - interval.low < interval.span) {
                add(bits);
            }
        }
        return count;
    }
    count = 0;
    each_logit(logits, [&](u32 token, float logit) {
        float weight = weigh(token, logit);
        u32 bits = bits_of(weight);
        if (bits - interval.low < interval.span) {
            add(bits);
            if (count < LISTED) {
                search.list[count][column] = bits;
            }
            count++;
        } else if (bits < interval.low) {
            below += weight;
        }
    });
    return count;
}

// The sum of each digit's columns, a warp a digit.
DEVICE void sum_columns(Search &search) {
    __syncthreads();
    for (u32 digit = warp_index(); digit < DIGITS; digit += LOGITS_BLOCK / 32) {
        double sum = 0.0;
        for (u32 column = lane_index(); column < LOGITS_BLOCK; column += 32) {
            sum += search.columns[digit][column];
        }
        sum = warp_sum(sum);
        if (lane_index() == 0) {
            search.sums[digit] = sum;
        }
    }
    __syncthreads();
}

// The digit, from the greatest down, with which the weights reach `wanted`, or else the last that has any weight;
// `reached` tells which, `above` becomes the weight of the digits before it.
DEVICE u32 edge_digit(const Search &search, double wanted, double &above, bool &reached) {
    u32 edge = 0;
    double sum = above;
    reached = false;
    for (u32 digit = DIGITS; digit-- > 0 && !reached;) {
        double of_digit = search.sums[digit];
        if (of_digit > 0.0) {
            edge = digit;
            above = sum;
            sum += of_digit;
            reached = sum >= wanted;
        }
    }
    return edge;
}

// The fewest heaviest tokens that have `share` of all weight, of equals the lower tokens; at least one. For the whole
// block. Weights are numbers from 0 to 1, of which one is 1.
template <class Weigh>
DEVICE Nucleus nucleus_of(const Logits &logits, Search &search, Groups &groups, double share, Weigh weigh) {
    Interval interval = {USUAL_BITS, 16u << 24, 24, 0.0};
    double wanted = 0.0;
    u32 digit = 0, count = 0;
    bool first = true, listed = false;
    while (true) {
        float below = 0.0f;
        count = fill_columns(logits, search, interval, listed, count, below, weigh);
        listed = listed || block_reduce(count, search.longest, Greatest<u32>()) <= LISTED;
        sum_columns(search);
        double rest = 0.0, total = 0.0;
        if (first) {
            rest = block_sum(static_cast<double>(below), search.scratch);
            total = rest;
            for (u32 any = 0; any < DIGITS; any++) {
                total += search.sums[any];
            }
            wanted = share * total;
        }
        bool reached;
        digit = edge_digit(search, wanted, interval.above, reached);
        if (first && !reached && rest > 0.0) {
            interval = {0, USUAL_BITS, 26, total - rest};
            listed = false;
        } else {
            interval.low += digit << interval.shift;
            if (interval.shift == 0) {
                break;
            }
            interval.span = 1u << interval.shift;
            interval.shift = interval.shift > 4 ? interval.shift - 4 : 0;
        }
        first = false;
    }

    Nucleus nucleus = {interval.low, NO_TOKEN};
    // Of the tokens with this very weight, so many are needed; all of them where that is no number (the weight is 0).
    double weight = float_of(interval.low), missing = wanted - interval.above;
    double ratio = missing / weight;
    double needed = 1.0;
    if (ratio > 1.0 && ratio < logits.outputs) {
        needed = static_cast<u32>(ratio);
        needed += needed * weight < missing ? 1.0 : 0.0;
    }
    if (search.sums[digit] > (needed + 0.5) * weight) {
        auto is_equal = [&](u32 token, float logit) { return bits_of(weigh(token, logit)) == nucleus.bits ? 1.0f : 0.0f; };
        sum_groups(logits, groups, is_equal);
        nucleus.last_equal = first_beyond(logits, groups, needed - 0.5, is_equal);
    }
    return nucleus;
}
