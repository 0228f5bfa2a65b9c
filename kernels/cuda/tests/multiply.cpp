// multiply_experts and multiply_heads against doubles; a row's bits do not depend on the rows beside it.
#define EMULATED_FILE multiply
#include "../emulated/kernel_file.h"
#include "matrices.h"
#include <algorithm>

namespace {
#include "../multiply_experts.cu"
#include "../multiply_heads.cu"
EMULATED_BEGIN
EMULATED_KERNEL(multiply_experts_few)
EMULATED_KERNEL(multiply_experts_few8)
EMULATED_KERNEL(multiply_experts_many)
EMULATED_KERNEL(multiply_experts_many8)
EMULATED_KERNEL(multiply_heads_few)
EMULATED_KERNEL(multiply_heads_few8)
EMULATED_KERNEL(multiply_heads_many)
EMULATED_KERNEL(multiply_heads_many8)

using namespace card;

// One of the kernels of a product.
struct Way {
    bool many;
    u32 bits;

    std::string name(const char *product) const {
        return std::string(product) + (many ? "_many" : "_few") + (bits == 8 ? "8" : "");
    }
    u32 pieces(u32 outputs) const { return many ? (outputs + 127) / 128 : (outputs + 31) / 32; }
    u32 threads() const { return many ? 128 : 256; }
    u32 shared() const { return many && bits == 16 ? 73728 : 49152; }
};
constexpr Way WAYS[] = {{false, 16}, {false, 8}, {true, 16}, {true, 8}};

// Seats of experts, so many each.
struct Seats {
    std::vector<SeatTile> tiles;
    std::vector<u32> experts, rows;

    Seats(const std::vector<u32> &counts, u32 all_rows, Random &random) {
        for (u32 expert = 0; expert < counts.size(); expert++) {
            u32 first = rows.size(), end = first + counts[expert];
            for (u32 seat = first; seat < end; seat++) {
                experts.push_back(expert);
                rows.push_back(random.below(all_rows));
            }
            for (u32 seat = first; seat < end; seat += 64) {
                tiles.push_back({expert, seat, std::min(seat + 64, end)});
            }
        }
    }
};

template <class T>
void multiply_seats(Way way, Matrices &matrices, const Seats &seats, bool by_row, Memory<bf16> &x, Memory<T> &out,
                    u32 add = 0) {
    // Grids are higher than there are tiles; of these, nothing may be read.
    Memory<SeatTile> tiles(seats.tiles);
    Memory<u32> rows(seats.rows), count({static_cast<u32>(seats.tiles.size())});
    launch(way.name("multiply_experts").c_str(), {way.pieces(matrices.outputs), count[0] + 2, 1}, way.threads(), way.shared(),
           static_cast<const bf16 *>(x.at()), static_cast<const void *>(matrices.words.at()),
           static_cast<const float *>(matrices.scales.at()), static_cast<const SeatTile *>(tiles.at()),
           static_cast<const u32 *>(count.at()), static_cast<const u32 *>(by_row ? rows.at() : nullptr),
           static_cast<void *>(out.at()), matrices.inputs, matrices.outputs, u32(sizeof(T) == 4), add);
}

void seats_get_the_products_of_their_experts(const std::vector<u32> &counts, u32 rows, u32 inputs, u32 outputs) {
    for (Way way : WAYS) {
        Random random(rows + inputs + outputs);
        Matrices matrices(way.bits, counts.size(), outputs, inputs, random);
        Seats seats(counts, rows, random);
        u32 count = seats.rows.size();
        for (bool by_row : {true, false}) {
            Memory<bf16> x((by_row ? rows : count) * inputs);
            random.fill(x);
            Memory<float> wide(count * outputs, NAN), sums(count * outputs, 0.5f);
            Memory<bf16> narrow(count * outputs);
            multiply_seats(way, matrices, seats, by_row, x, wide);
            multiply_seats(way, matrices, seats, by_row, x, sums, 1);
            multiply_seats(way, matrices, seats, by_row, x, narrow);
            for (u32 seat = 0; seat < count; seat++) {
                const bf16 *mine = x.at((by_row ? seats.rows[seat] : seat) * inputs);
                for (u32 output = 0; output < outputs; output++) {
                    size_t index = seat * outputs + output;
                    auto [sum, magnitude] = matrices.times(seats.experts[seat], output, mine);
                    double error = 1e-6 * magnitude + 1e-6;
                    check_close(wide[index], sum, error, "product", index);
                    check_close(sums[index], sum + 0.5, error, "sum", index);
                    check_close(to_float(narrow[index]), sum, error + rounding(sum), "rounded product", index);
                }
            }
        }
    }
}

// All seats at once, then each as the only one of its expert, and beside rows that are no numbers.
void a_seat_does_not_depend_on_the_others() {
    u32 rows = 40, inputs = 1040, outputs = 136;
    for (Way way : WAYS) {
        Random random(7);
        Matrices matrices(way.bits, 3, outputs, inputs, random);
        Seats seats({70, 0, 130}, rows, random);
        Memory<bf16> x(rows * inputs);
        random.fill(x);
        Memory<float> together(200 * outputs), beside(200 * outputs);
        multiply_seats(way, matrices, seats, true, x, together);
        for (u32 seat : {0u, 7u, 8u, 31u, 32u, 63u, 64u, 69u, 70u, 133u, 134u, 199u}) {
            Seats alone({}, rows, random);
            alone.experts = {seats.experts[seat]};
            alone.rows = {seats.rows[seat]};
            alone.tiles = {{seats.experts[seat], 0, 1}};
            Memory<float> lonely(outputs);
            multiply_seats(way, matrices, alone, true, x, lonely);
            check(same_bits(lonely.at(), together.at(seat * outputs), outputs), "%s: seat %u", way.name("").c_str(), seat);
        }
        x[3 * inputs + 5].bits = 0x7fc0;
        multiply_seats(way, matrices, seats, true, x, beside);
        for (u32 seat = 0; seat < 200; seat++) {
            bool same = same_bits(beside.at(seat * outputs), together.at(seat * outputs), outputs);
            check(same == (seats.rows[seat] != 3), "%s: seat %u beside NaN", way.name("").c_str(), seat);
        }
    }
}

void multiply_vectors(Way way, Matrices &matrices, u32 heads, const bf16 *x, u32 rows, const u32 (&strides)[4],
                      Memory<bf16> &out) {
    launch(way.name("multiply_heads").c_str(), {heads * way.pieces(matrices.outputs), (rows + 63) / 64, 1}, way.threads(),
           way.shared(), x, static_cast<const void *>(matrices.words.at()), static_cast<const float *>(matrices.scales.at()),
           out.at(), rows, matrices.inputs, matrices.outputs, strides[0], strides[1], strides[2], strides[3]);
}

// Vectors lie among other numbers, which stay as they are.
void heads_get_the_products_of_their_matrices(u32 heads, u32 rows, u32 inputs, u32 outputs) {
    u32 strides[4] = {heads * (inputs + 24) + 40, inputs + 24, heads * (outputs + 8) + 16, outputs + 8};
    bf16 untouched = to_bf16(77.0f);
    for (Way way : WAYS) {
        Random random(rows + inputs + outputs);
        Matrices matrices(way.bits, heads, outputs, inputs, random);
        Memory<bf16> x(rows * strides[0]), out(rows * strides[2], untouched);
        random.fill(x);
        multiply_vectors(way, matrices, heads, x.at(), rows, strides, out);
        for (u32 row = 0; row < rows; row++) {
            Memory<bf16> alone(strides[2], untouched);
            multiply_vectors(way, matrices, heads, x.at(row * strides[0]), 1, strides, alone);
            check(same_bits(alone.at(), out.at(row * strides[2]), strides[2]), "%s: row %u", way.name("").c_str(), row);
            for (u32 at = 0; at < strides[2]; at++) {
                u32 head = at / strides[3], output = at % strides[3];
                size_t index = row * strides[2] + at;
                if (head >= heads || output >= outputs) {
                    check(out[index].bits == untouched.bits, "number %zu was touched", index);
                    continue;
                }
                auto [sum, magnitude] = matrices.times(head, output, x.at(row * strides[0] + head * strides[1]));
                check_close(to_float(out[index]), sum, 1e-6 * magnitude + 1e-6 + rounding(sum), "product", index);
            }
        }
    }
}

} // namespace

int main() {
    seats_get_the_products_of_their_experts({1, 0, 5, 12, 0, 1, 8, 3}, 10, 64, 64);
    seats_get_the_products_of_their_experts({1, 0, 5, 12, 0, 1, 8, 3}, 10, 32, 64);
    std::vector<u32> many(64);
    for (u32 expert = 0; expert < 64; expert++) {
        many[expert] = expert % 5 == 0 ? 0 : expert % 9;
    }
    seats_get_the_products_of_their_experts(many, 40, 176, 48);
    seats_get_the_products_of_their_experts({0, 150, 3}, 60, 528, 200);
    seats_get_the_products_of_their_experts({2}, 1, 16, 3);
    seats_get_the_products_of_their_experts({}, 1, 16, 8);
    a_seat_does_not_depend_on_the_others();
    heads_get_the_products_of_their_matrices(2, 7, 32, 32);
    heads_get_the_products_of_their_matrices(3, 66, 128, 136);
    // More rows than the shared memory of a block has room for.
    heads_get_the_products_of_their_matrices(1, 200, 32, 40);
    heads_get_the_products_of_their_matrices(2, 3, 512, 128);
    puts("multiply: passed");
}
