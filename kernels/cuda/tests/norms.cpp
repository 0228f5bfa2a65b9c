// embed, norm, join_norm, gather_norm, gate and soft_cap against doubles.
#define EMULATED_FILE norms
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../embed.cu"
#include "../gate.cu"
#include "../gather_norm.cu"
#include "../join_norm.cu"
#include "../norm.cu"
#include "../soft_cap.cu"
EMULATED_BEGIN
EMULATED_KERNEL(embed)
EMULATED_KERNEL(gate)
EMULATED_KERNEL(gather_norm)
EMULATED_KERNEL(join_norm)
EMULATED_KERNEL(norm)
EMULATED_KERNEL(soft_cap)

using namespace card;

constexpr float EPSILON = 1e-5f;
constexpr u32 WIDTHS[] = {4, 64, 576, 896, 3584, 8192, 9216};

// One row, normed and weighed.
std::vector<double> rms(const float *x, const float *weight, u32 width) {
    double squares = 0.0;
    for (u32 at = 0; at < width; at++) {
        squares += double(x[at]) * x[at];
    }
    std::vector<double> result(width);
    for (u32 at = 0; at < width; at++) {
        result[at] = x[at] / std::sqrt(squares / width + EPSILON) * weight[at];
    }
    return result;
}

void embeddings_are_scaled() {
    Random random(1);
    u32 width = 260;
    Memory<bf16> table(5 * width);
    random.fill(table);
    // The second and the third are what the step before has drawn.
    Memory<u32> tokens({3, 1u << 31, 2 | 1u << 31, 4}), drawn({~0u, 9, 2});
    const u32 expected[] = {3, ~0u, 2, 4};
    Memory<float> stream(4 * width, -7.0f);
    launch("embed", {4, 1, 1}, 32, 0, tokens.at(), drawn.at(), table.at(), stream.at(), width, 1.5f);
    for (u32 row = 0; row < 4; row++) {
        for (u32 at = 0; at < width; at++) {
            float got = stream[row * width + at];
            check(row == 1 ? std::isnan(got) : got == 1.5f * to_float(table[expected[row] * width + at]), "row %u", row);
        }
    }
}

void norms_are_those_of_doubles() {
    Random random(2);
    for (u32 width : WIDTHS) {
        u32 rows = 3;
        Memory<float> stream(rows * width), weight(width);
        random.fill(stream, 3.0f);
        random.fill(weight);
        Memory<bf16> out(rows * width);
        // A row of no numbers between two that are.
        stream[width + 1] = NAN;
        launch("norm", {rows, 1, 1}, 256, 0, stream.at(), weight.at(), out.at(), width, EPSILON);
        Memory<u32> wanted({2, 0});
        Memory<bf16> gathered(2 * width);
        Memory<float> hidden(2 * width);
        launch("gather_norm", {2, 1, 1}, 256, 0, stream.at(), wanted.at(), weight.at(), gathered.at(), hidden.at(), width,
               EPSILON);
        bf16 *no_out = nullptr;
        float *no_hidden = nullptr;
        launch("gather_norm", {2, 1, 1}, 256, 0, stream.at(), wanted.at(), weight.at(), no_out, no_hidden, width, EPSILON);
        for (u32 row : {0, 2}) {
            std::vector<double> expected = rms(stream.at(row * width), weight.at(), width);
            u32 place = row == 2 ? 0 : 1;
            for (u32 at = 0; at < width; at++) {
                check_close(to_float(out[row * width + at]), expected[at], rounding(expected[at]), "norm", at);
                check_close(hidden[place * width + at], expected[at], 1e-5 * std::fabs(expected[at]), "hidden", at);
            }
            check(same_bits(gathered.at(place * width), out.at(row * width), width), "gathered row %u", row);
        }
        for (u32 at = 0; at < width; at++) {
            check(std::isnan(to_float(out[width + at])), "a row with NaN is NaN");
        }
    }
}

void branches_join_through_their_norm() {
    Random random(3);
    for (u32 width : WIDTHS) {
        u32 rows = 2;
        Memory<float> stream(rows * width), branch(rows * width), branch_weight(width), weight(width);
        for (Memory<float> *memory : {&stream, &branch, &branch_weight, &weight}) {
            random.fill(*memory);
        }
        Memory<float> before(stream), without_out(stream);
        Memory<bf16> out(rows * width);
        bf16 *none = nullptr;
        launch("join_norm", {rows, 1, 1}, 256, 0, stream.at(), branch.at(), branch_weight.at(), weight.at(), out.at(),
               width, EPSILON);
        launch("join_norm", {rows, 1, 1}, 256, 0, without_out.at(), branch.at(), branch_weight.at(), weight.at(), none,
               width, EPSILON);
        check(same_bits(stream.at(), without_out.at(), stream.size()), "the stream depends on what follows");
        for (u32 row = 0; row < rows; row++) {
            std::vector<double> joined = rms(branch.at(row * width), branch_weight.at(), width);
            std::vector<double> normed = rms(stream.at(row * width), weight.at(), width);
            for (u32 at = 0; at < width; at++) {
                double expected = before[row * width + at] + joined[at];
                check_close(stream[row * width + at], expected, 1e-5 * (std::fabs(expected) + 1.0), "stream", at);
                check_close(to_float(out[row * width + at]), normed[at], rounding(normed[at]), "next norm", at);
            }
        }
    }
}

void gates_open_by_their_kind() {
    Random random(4);
    for (u32 hidden : {8, 136, 4104}) {
        Memory<bf16> gate_up(2 * 2 * hidden);
        random.fill(gate_up, 4.0f);
        for (u32 kind : {0, 1}) {
            Memory<bf16> out(2 * hidden);
            launch("gate", {2, 2, 1}, 64, 0, gate_up.at(), out.at(), hidden, kind);
            for (u32 index = 0; index < 2 * hidden; index++) {
                u32 row = index / hidden, at = index % hidden;
                double x = to_float(gate_up[row * 2 * hidden + at]), up = to_float(gate_up[(row * 2 + 1) * hidden + at]);
                double silu = x / (1.0 + std::exp(-x));
                double gelu = 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
                double expected = (kind == 0 ? silu : gelu) * up;
                check_close(to_float(out[index]), expected, rounding(expected) + 3e-7 * std::fabs(x * up), "gate", index);
            }
        }
    }
}

void caps_are_soft() {
    Random random(5);
    for (u64 count : {1, 6, 4099}) {
        Memory<float> x(count);
        random.fill(x, 40.0f);
        Memory<float> before(x);
        launch("soft_cap", {3, 1, 1}, 64, 0, x.at(), count, 30.0f);
        for (size_t index = 0; index < count; index++) {
            check_close(x[index], 30.0 * std::tanh(before[index] / 30.0), 1e-5, "cap", index);
        }
    }
}

} // namespace

int main() {
    embeddings_are_scaled();
    norms_are_those_of_doubles();
    branches_join_through_their_norm();
    gates_open_by_their_kind();
    caps_are_soft();
    puts("norms: passed");
}
