// latent_store: how latent vectors and rotated parts find their places.
#define EMULATED_FILE latent_store
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../latent_store.cu"
EMULATED_BEGIN
EMULATED_KERNEL(latent_store)

using namespace card;

constexpr float EPSILON = 1e-6f;
constexpr u32 ROWS = 5, SLOTS = 9, POSITIONS = 40;
constexpr unsigned short UNTOUCHED = 0x1234;

struct Case {
    u32 heads, rank, rope, nope;
    bool neighbours;
    u32 key() const { return rank + rope; }
    u32 projected() const { return heads * (nope + rope); }
};

std::vector<double> turned(const Case &here, const bf16 *x, const float *turns) {
    std::vector<double> part(here.rope);
    for (u32 pair = 0; pair < here.rope / 2; pair++) {
        u32 first = here.neighbours ? 2 * pair : pair, second = here.neighbours ? first + 1 : pair + here.rope / 2;
        double a = to_float(x[first]), b = to_float(x[second]), cos = turns[2 * pair], sin = turns[2 * pair + 1];
        part[first] = a * cos - b * sin;
        part[second] = a * sin + b * cos;
    }
    return part;
}

std::vector<double> normed(const Case &here, const bf16 *x, const float *weight) {
    std::vector<double> latent(here.rank);
    double squares = 0.0;
    for (u32 at = 0; at < here.rank; at++) {
        latent[at] = to_float(x[at]) * double(weight[at]);
        squares += double(to_float(x[at])) * to_float(x[at]);
    }
    for (double &number : latent) {
        number /= std::sqrt(squares / here.rank + EPSILON);
    }
    return latent;
}

void check_part(const bf16 *got, const std::vector<double> &expected, const char *what) {
    for (size_t at = 0; at < expected.size(); at++) {
        check_close(to_float(got[at]), expected[at], rounding(expected[at]) + 1e-5, what, at);
    }
}

// Both inputs lie in rows of one matrix, with something between them.
void parts_are_turned_and_stored(const Case &here, u64 seed) {
    Random random(seed);
    u32 down_at = here.projected() + 2, stride = down_at + here.key();
    Memory<bf16> product(ROWS * stride);
    Memory<float> norm(here.rank), turns(POSITIONS * here.rope);
    random.fill(product);
    random.fill(norm);
    random.fill(turns);
    Memory<u32> positions({3, 39, 0, 17, 3});
    // The last row, which is padding, keeps what it has.
    Memory<u32> slots({8, 2, 5, 0, ~0u});
    Memory<bf16> queries(ROWS * here.heads * here.key(), bf16{UNTOUCHED}), keys(SLOTS * here.key(), bf16{UNTOUCHED});
    launch("latent_store", {ROWS, (here.heads + 4) / 4, 1}, 128, 0, product.at(), u64(stride), product.at(down_at),
           u64(stride), norm.at(), turns.at(), positions.at(), slots.at(), queries.at(), keys.at(), here.heads, here.rank,
           here.rope, here.nope, u32(here.neighbours), EPSILON);
    std::vector<bool> written(SLOTS, false);
    for (u32 row = 0; row < ROWS; row++) {
        const float *row_turns = turns.at(positions[row] * here.rope);
        for (u32 head = 0; head < here.heads; head++) {
            const bf16 *from = product.at(row * stride + head * (here.nope + here.rope) + here.nope);
            const bf16 *query = queries.at((row * here.heads + head) * here.key());
            check_part(query + here.rank, turned(here, from, row_turns), "query");
            for (u32 at = 0; at < here.rank; at++) {
                check(query[at].bits == UNTOUCHED, "the plain part of a query is another kernel's");
            }
        }
        if (slots[row] != ~0u) {
            const bf16 *from = product.at(row * stride + down_at), *key = keys.at(slots[row] * here.key());
            check_part(key, normed(here, from, norm.at()), "latent vector");
            check_part(key + here.rank, turned(here, from + here.rank, row_turns), "key");
            written[slots[row]] = true;
        }
    }
    for (size_t at = 0; at < keys.size(); at++) {
        size_t slot = at / here.key();
        check(written[slot] || keys[at].bits == UNTOUCHED, "slot %zu is nobody's", slot);
    }
}

} // namespace

int main() {
    u64 seed = 1;
    for (bool neighbours : {false, true}) {
        parts_are_turned_and_stored({16, 512, 64, 128, neighbours}, seed++);
        parts_are_turned_and_stored({2, 32, 32, 32, neighbours}, seed++);
        parts_are_turned_and_stored({3, 96, 130, 2, neighbours}, seed++);
    }
    puts("latent_store: passed");
}
