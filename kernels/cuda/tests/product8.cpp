// product8 against doubles; a row's bits do not depend on how many others there are.
#define EMULATED_FILE product8
#include "../emulated/kernel_file.h"
#include "matrices.h"

namespace {
#include "../product8.cu"
EMULATED_BEGIN
EMULATED_KERNEL(product8)

using namespace card;

template <class T> void multiply_all(Matrices &weights, Memory<bf16> &x, u32 first, u32 rows, Memory<T> &out, u32 add) {
    launch("product8", {(rows + 63) / 64, (weights.outputs + 31) / 32, 1}, 256, 49152, x.at(first * weights.inputs),
           weights.words.at(), weights.scales.at(), static_cast<void *>(out.at()), rows, weights.inputs, weights.outputs,
           u32(sizeof(T) == 4), add);
}

void products_are_those_of_doubles(u32 rows, u32 inputs, u32 outputs) {
    Random random(rows + inputs + outputs);
    Matrices weights(8, 1, outputs, inputs, random);
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
            auto [sum, magnitude] = weights.times(0, output, x.at(row * inputs));
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
    Matrices weights(8, 1, outputs, inputs, random);
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
