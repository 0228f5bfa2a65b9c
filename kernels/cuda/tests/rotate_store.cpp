// rotate_store and expand_slots: how queries, keys and values find their places.
#define EMULATED_FILE rotate_store
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../expand_slots.cu"
#include "../rotate_store.cu"
EMULATED_BEGIN
EMULATED_KERNEL(expand_slots)
EMULATED_KERNEL(rotate_store)

using namespace card;

constexpr float EPSILON = 1e-6f;
constexpr u32 ROWS = 5, SLOTS = 9, POSITIONS = 40;
constexpr unsigned short UNTOUCHED = 0x1234;

struct Case {
    u32 heads, kv_heads, size, turned;
    bool neighbours, biased, normed;
};

// One head in doubles: bias, norm, turn.
std::vector<double> expected_head(const Case &here, const bf16 *x, const float *bias, const float *norm,
                                  const float *turns, bool turn) {
    std::vector<double> head(here.size);
    double squares = 0.0;
    for (u32 at = 0; at < here.size; at++) {
        head[at] = to_float(x[at]) + (bias == nullptr ? 0.0 : bias[at]);
        squares += head[at] * head[at];
    }
    for (u32 at = 0; norm != nullptr && at < here.size; at++) {
        head[at] *= norm[at] / std::sqrt(squares / here.size + EPSILON);
    }
    for (u32 pair = 0; turn && pair < here.turned / 2; pair++) {
        u32 first = here.neighbours ? 2 * pair : pair, second = here.neighbours ? first + 1 : pair + here.turned / 2;
        double a = head[first], b = head[second], cos = turns[2 * pair], sin = turns[2 * pair + 1];
        head[first] = a * cos - b * sin;
        head[second] = a * sin + b * cos;
    }
    return head;
}

void heads_are_turned_and_stored(const Case &here, u64 seed) {
    Random random(seed);
    u32 all = here.heads + 2 * here.kv_heads, size = here.size;
    Memory<bf16> qkv(ROWS * all * size);
    Memory<float> bias(all * size), query_norm(size), key_norm(size), turns(POSITIONS * here.turned);
    random.fill(qkv);
    for (Memory<float> *memory : {&bias, &query_norm, &key_norm, &turns}) {
        random.fill(*memory);
    }
    Memory<u32> positions({3, 39, 0, 17, 3});
    // The last row, which is padding, keeps what it has.
    Memory<u32> slots({8, 2, 5, 0, ~0u});
    Memory<bf16> queries(ROWS * here.heads * size), keys(SLOTS * here.kv_heads * size, bf16{UNTOUCHED}), values(keys);
    float *no_bias = here.biased ? bias.at() : nullptr, *no_query_norm = here.normed ? query_norm.at() : nullptr;
    float *no_key_norm = here.normed ? key_norm.at() : nullptr;
    launch("rotate_store", {ROWS, (all + 3) / 4, 1}, 128, 0, qkv.at(), no_bias, no_query_norm, no_key_norm, turns.at(),
           positions.at(), slots.at(), queries.at(), keys.at(), values.at(), here.heads, here.kv_heads, size,
           here.turned, u32(here.neighbours), EPSILON);
    std::vector<bool> written(SLOTS, false);
    for (u32 row = 0; row < ROWS; row++) {
        for (u32 head = 0; head < all; head++) {
            bool is_query = head < here.heads, is_value = head >= here.heads + here.kv_heads;
            if (!is_query && slots[row] == ~0u) {
                continue;
            }
            const float *norm = is_value ? nullptr : is_query ? no_query_norm : no_key_norm;
            std::vector<double> expected =
                expected_head(here, qkv.at((row * all + head) * size), here.biased ? bias.at(head * size) : nullptr, norm,
                              turns.at(positions[row] * here.turned), !is_value);
            u32 kv_head = (head - here.heads) % here.kv_heads;
            const bf16 *got = is_query ? queries.at((row * here.heads + head) * size)
                                       : (is_value ? values : keys).at((slots[row] * here.kv_heads + kv_head) * size);
            for (u32 at = 0; at < size; at++) {
                check_close(to_float(got[at]), expected[at], rounding(expected[at]) + 1e-5, "head", head * size + at);
            }
            written[is_query ? SLOTS - 1 : slots[row]] = true;
        }
    }
    for (size_t at = 0; at < keys.size(); at++) {
        u32 slot = static_cast<u32>(at / (here.kv_heads * size));
        bool other = slot != 8 && slot != 2 && slot != 5 && slot != 0;
        check(!other || (keys[at].bits == UNTOUCHED && values[at].bits == UNTOUCHED), "slot %u is nobody's", slot);
    }
}

void segments_become_slots() {
    Memory<Segment> segments({{7, 64, 0}, {3, 1, 64}, {9, 30, 65}, {1000000, 64, 1000000}});
    Memory<u32> count({3}), slots(95, ~0u);
    launch("expand_slots", {4, 1, 1}, 64, 0, segments.at(), count.at(), slots.at());
    for (u32 at = 0; at < 95; at++) {
        u32 expected = at < 64 ? 7 * 64 + at : at == 64 ? 3 * 64 : 9 * 64 + at - 65;
        check(slots[at] == expected, "slot %u", at);
    }
}

} // namespace

int main() {
    u64 seed = 1;
    for (bool neighbours : {false, true}) {
        heads_are_turned_and_stored({3, 1, 64, 64, neighbours, false, false}, seed++);
        heads_are_turned_and_stored({4, 2, 32, 32, neighbours, true, false}, seed++);
        heads_are_turned_and_stored({7, 1, 128, 128, neighbours, true, true}, seed++);
        heads_are_turned_and_stored({2, 2, 96, 24, neighbours, false, true}, seed++);
        heads_are_turned_and_stored({2, 1, 256, 256, neighbours, false, true}, seed++);
    }
    segments_become_slots();
    puts("rotate_store: passed");
}
