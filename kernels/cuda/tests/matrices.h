// Weights of products in tests: of 16 or 8 bits, as kernels have them, and as plain numbers.
#pragma once
#include "card.h"
#include <utility>

namespace card {

class Matrices {
  public:
    const u32 bits, outputs, inputs;
    Memory<u32> words;
    // Some, though not used, with 16 bits.
    Memory<float> scales;

    Matrices(u32 bits, u32 count, u32 outputs, u32 inputs, Random &random)
        : bits(bits), outputs(outputs), inputs(inputs), words(count * outputs * inputs * bits / 32),
          scales(bits == 8 ? count * groups() * outputs : 1), plain(count * outputs * inputs) {
        random.fill(scales, 0.01f);
        for (size_t at = 0; at < plain.size(); at++) {
            if (bits == 16) {
                bf16 number = to_bf16(random.normal());
                plain[at] = to_float(number);
                words[at / 2] |= static_cast<u32>(number.bits) << at % 2 * 16;
            } else {
                int number = static_cast<int>(random.below(255)) - 127;
                size_t row = at / inputs, matrix = row / outputs, group = at % inputs / 128;
                plain[at] = number * double(scales[(matrix * groups() + group) * outputs + row % outputs]);
                u32 place = at % 4 == 1 ? 2 : at % 4 == 2 ? 1 : at % 4;
                words[at / 4] |= static_cast<u32>(static_cast<unsigned char>(number)) << 8 * place;
            }
        }
    }

    // The product of an output, and what its terms' magnitudes add up to.
    std::pair<double, double> times(u32 matrix, u32 output, const bf16 *x) const {
        const double *row = &plain[(static_cast<size_t>(matrix) * outputs + output) * inputs];
        double sum = 0.0, magnitude = 0.0;
        for (u32 input = 0; input < inputs; input++) {
            double term = to_float(x[input]) * row[input];
            sum += term;
            magnitude += std::fabs(term);
        }
        return {sum, magnitude};
    }

  private:
    u32 groups() const { return (inputs + 127) / 128; }
    std::vector<double> plain;
};

} // namespace card
