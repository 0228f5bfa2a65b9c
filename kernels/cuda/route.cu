// Chooses rows' experts by a router's scores: the most probable by softmax over all, of equal ones the first, sorted by
// number (DeepSeek-V2, arXiv:2405.04434, section 2.2). Where there are groups of experts, they come from the groups with
// the best single experts.
// Shapes: scores[rows][experts], chosen[rows][used], weights[rows][used]; experts up to 256, used up to 16; groups 0: none.
// Grid ceil(rows / 4), block 128: a warp a row.
//
// Scores that are not numbers make all probabilities so; then the first experts are chosen. Sums are of a row alone.
#include "reduce.cuh"
#include "seats.cuh"

constexpr u32 ROUTE_THREADS = 128;
// Experts of a lane: every 32nd.
constexpr u32 LANE_EXPERTS = EXPERTS_MOST / 32;

// Keys of the probabilities of a lane's experts: larger for larger ones, 0 for what is no number.
DEVICE void load_keys(const float *scores, u32 experts, u32 (&keys)[LANE_EXPERTS], bool &are_numbers) {
    float numbers[LANE_EXPERTS], top = -machine::infinity(), sum = 0.0f;
    bool odd = false;
#pragma unroll
    for (u32 one = 0; one < LANE_EXPERTS; one++) {
        u32 expert = 32 * one + lane_index();
        numbers[one] = expert < experts ? scores[expert] : -machine::infinity();
        odd = odd || numbers[one] != numbers[one];
        top = machine::max(top, numbers[one]);
    }
    top = warp_reduce(top, Greatest<float>());
#pragma unroll
    for (u32 one = 0; one < LANE_EXPERTS; one++) {
        numbers[one] = 32 * one + lane_index() < experts ? machine::exp(numbers[one] - top) : 0.0f;
        sum += numbers[one];
    }
    sum = warp_sum(sum);
    are_numbers = warp_ballot(odd) == 0 && sum == sum;
#pragma unroll
    for (u32 one = 0; one < LANE_EXPERTS; one++) {
        keys[one] = are_numbers ? bits_of(numbers[one] / sum) : 0;
    }
}

// Collective. The key of the best expert among those that have their bit in a lane's set, and below it its number, from
// the greatest down.
DEVICE u64 best_of(const u32 (&keys)[LANE_EXPERTS], u32 set) {
    u64 best = 0;
#pragma unroll
    for (u32 one = 0; one < LANE_EXPERTS; one++) {
        u64 key = static_cast<u64>(keys[one]) << 32 | static_cast<u32>(~(32 * one + lane_index()));
        best = (set >> one & 1) != 0 && key > best ? key : best;
    }
    return warp_reduce(best, Greatest<u64>());
}
DEVICE u32 expert_of(u64 best) { return ~static_cast<u32>(best); }

// Which of a lane's experts are in [first, end).
DEVICE u32 set_of(u32 first, u32 end) {
    u32 set = 0;
#pragma unroll
    for (u32 one = 0; one < LANE_EXPERTS; one++) {
        u32 expert = 32 * one + lane_index();
        set |= static_cast<u32>(expert >= first && expert < end) << one;
    }
    return set;
}

extern "C" __global__ void __launch_bounds__(ROUTE_THREADS)
route(const float *scores, u32 *chosen, float *weights, u32 rows, u32 experts, u32 used, u32 groups, u32 used_groups,
      u32 normalise, float scale) {
    u32 row = blockIdx.x * (ROUTE_THREADS / 32) + warp_index();
    if (row >= rows) {
        return;
    }
    u32 keys[LANE_EXPERTS];
    bool are_numbers;
    load_keys(scores + static_cast<u64>(row) * experts, experts, keys, are_numbers);

    u32 all = set_of(0, experts), open = groups == 0 ? all : 0;
    for (u32 group = 0; group < used_groups && groups != 0; group++) {
        // The best expert of those that are left is of the best group.
        u32 size = experts / groups, first = expert_of(best_of(keys, all & ~open)) / size * size;
        open |= set_of(first, first + size);
    }

    // Each of the first lanes keeps one choice.
    u32 mine = ~0u;
    float weight = 0.0f, sum = 0.0f;
    for (u32 choice = 0; choice < used; choice++) {
        u64 best = best_of(keys, open);
        u32 expert = expert_of(best);
        float probability = are_numbers ? float_of(static_cast<u32>(best >> 32)) : machine::nan();
        open &= ~set_of(expert, expert + 1);
        sum += probability;
        if (choice == lane_index()) {
            mine = expert;
            weight = probability;
        }
    }
    u32 place = 0;
    for (u32 choice = 0; choice < used; choice++) {
        place += shuffle_from(mine, choice) < mine ? 1 : 0;
    }
    if (lane_index() < used) {
        u64 at = static_cast<u64>(row) * used + place;
        chosen[at] = mine;
        weights[at] = weight * (normalise != 0 ? scale / sum : scale);
    }
}
