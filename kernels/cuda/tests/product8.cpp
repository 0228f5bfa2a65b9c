// product8 against doubles; a row's bits do not depend on how many others there are.
#define EMULATED_FILE product8
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../product8.cu"
EMULATED_BEGIN
EMULATED_KERNEL(product8)

using namespace card;

struct Weights {
    u32 inputs, outputs;
    Memory<u32> words;
    Memory<float> scales;
    std::vector<signed char> plain;

    Weights(u32 inputs, u32 outputs, Random &random)
        : inputs(inputs), outputs(outputs), words(outputs * inputs / 4), scales((inputs + 127) / 128 * outputs),
          plain(outputs * inputs) {
        random.fill(scales, 0.01f);
        for (size_t four = 0; four < words.size(); four++) {
            for (u32 one = 0; one < 4; one++) {
                int number = static_cast<int>(random.below(255)) - 127;
                plain[4 * four + one] = static_cast<signed char>(number);
                u32 place = one == 1 ? 2 : one == 2 ? 1 : one;
                words[four] |= static_cast<u32>(static_cast<unsigned char>(number)) << 8 * place;
            }
        }
    }

    // The product, and what its terms' magnitudes add up to.
    std::pair<double, double> times(const bf16 *x, u32 output) const {
        double sum = 0.0, magnitude = 0.0;
        for (u32 input = 0; input < inputs; input++) {
            double term = double(to_float(x[input])) * plain[output * inputs + input] * scales[input / 128 * outputs + output];
            sum += term;
            magnitude += std::fabs(term);
        }
        return {sum, magnitude};
    }
};

template <class T> void multiply_all(const Weights &weights, Memory<bf16> &x, u32 first, u32 rows, Memory<T> &out, u32 add) {
    Memory<u32> words(weights.words);
    Memory<float> scales(weights.scales);
    launch("product8", {(weights.outputs + 31) / 32, (rows + 63) / 64, 1}, 256, 49152, x.at(first * weights.inputs),
           words.at(), scales.at(), static_cast<void *>(out.at()), rows, weights.inputs, weights.outputs,
           u32(sizeof(T) == 4), add);
}

void products_are_those_of_doubles(u32 rows, u32 inputs, u32 outputs) {
    Random random(rows + inputs + outputs);
    Weights weights(inputs, outputs, random);
    Memory<bf16> x(rows * inputs);
    random.fill(x);
    Memory<float> wide(rows * outputs, 0.5f), fresh(rows * outputs, NAN);
    Memory<bf16> narrow(rows * outputs, to_bf16(0.25f));
    multiply_all(weights, x, 0, rows, wide, 1);
    multiply_all(weights, x, 0, rows, fresh, 0);
    multiply_all(weights, x, 0, rows, narrow, 1);
    for (u32 row = 0; row < rows; row++) {
        for (u32 output = 0; output < outputs; output++) {
            size_t index = row * outputs + output;
            auto [sum, magnitude] = weights.times(x.at(row * inputs), output);
            double error = 1e-6 * magnitude + 1e-6;
            check_close(fresh[index], sum, error, "product", index);
            check_close(wide[index], sum + 0.5, error, "sum", index);
            check_close(to_float(narrow[index]), sum + 0.25, error + rounding(sum + 0.25), "rounded sum", index);
        }
    }
}

void a_row_does_not_depend_on_the_others() {
    Random random(5);
    u32 rows = 130, inputs = 1040, outputs = 40;
    Weights weights(inputs, outputs, random);
    Memory<bf16> x(rows * inputs);
    random.fill(x);
    Memory<float> together(rows * outputs);
    multiply_all(weights, x, 0, rows, together, 0);
    x[3 * inputs + 5].bits = 0x7fc0;
    Memory<float> beside(rows * outputs);
    multiply_all(weights, x, 0, rows, beside, 0);
    for (u32 row : {0, 1, 7, 8, 63, 64, 100, 129}) {
        Memory<float> alone(outputs);
        multiply_all(weights, x, row, 1, alone, 0);
        check(same_bits(alone.at(), together.at(row * outputs), outputs), "row %u alone", row);
        check(same_bits(alone.at(), beside.at(row * outputs), outputs), "row %u beside NaN", row);
    }
    check(std::isnan(beside[3 * outputs]), "NaN is NaN");
}

} // namespace

int main() {
    products_are_those_of_doubles(1, 16, 1);
    products_are_those_of_doubles(5, 576, 100);
    products_are_those_of_doubles(16, 896, 64);
    products_are_those_of_doubles(70, 256, 33);
    a_row_does_not_depend_on_the_others();
    puts("product8: passed");
}
