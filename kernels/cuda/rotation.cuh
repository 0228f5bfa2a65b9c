// Rotary positions (Su et al., arXiv:2104.09864): pairs of a head's elements are turned by their position's angles.
#pragma once
#include "machine.cuh"

// The pair that `element` is in, and its place there.
struct Turn {
    u32 pair, first, second;
    bool is_first;
};

DEVICE Turn turn_of(u32 element, u32 turned, bool neighbours) {
    if (neighbours) {
        u32 pair = element / 2;
        return {pair, 2 * pair, 2 * pair + 1, element % 2 == 0};
    }
    u32 half = turned / 2;
    u32 pair = element < half ? element : element - half;
    return {pair, pair, pair + half, element < half};
}

// The turned `element` of a head whose elements are what `head(at)` gives; `turns` are its position's (cos, sin).
template <class Head>
DEVICE float turned_element(Head head, const float *turns, u32 element, u32 turned, bool neighbours) {
    if (element >= turned) {
        return head(element);
    }
    Turn turn = turn_of(element, turned, neighbours);
    float cos = turns[2 * turn.pair], sin = turns[2 * turn.pair + 1];
    float a = head(turn.first), b = head(turn.second);
    return turn.is_first ? a * cos - b * sin : a * sin + b * cos;
}
