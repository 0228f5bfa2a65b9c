// Each output is a sum in f32, its terms added one by one in the order of the inner dimension, so it depends on nothing
// else than its row, its column and the number of parts.
#include "../machine.cuh"
#include "product.h"
#include <algorithm>
#include <vector>

namespace emulated {
namespace {

// Outputs whose sums run side by side.
constexpr size_t lanes = 16;

void put(const Product &product, size_t row, size_t output, float sum) {
    float value = product.alpha * sum;
    auto at = [&](size_t stride) { return row * stride + output; };
    if (product.wide) {
        if (product.beta != 0) {
            value += product.beta * static_cast<const float *>(product.c)[at(product.stride_c)];
        }
        static_cast<float *>(product.d)[at(product.stride_d)] = value;
    } else {
        if (product.beta != 0) {
            value += product.beta * to_float(static_cast<const bf16 *>(product.c)[at(product.stride_c)]);
        }
        static_cast<bf16 *>(product.d)[at(product.stride_d)] = to_bf16(value);
    }
}

// `panel` holds, for each number of the inner dimension, those of `lanes` outputs.
void sum_row(const bf16 *b, const float *panel, size_t begin, size_t end, float *sums) {
    float running[lanes] = {};
    for (size_t inner = begin; inner < end; inner++) {
        float factor = to_float(b[inner]);
        for (size_t lane = 0; lane < lanes; lane++) {
            running[lane] += factor * panel[inner * lanes + lane];
        }
    }
    std::copy(running, running + lanes, sums);
}

} // namespace

void multiply(const Product &product) {
    static thread_local std::vector<float> panel;
    panel.assign(product.inner * lanes, 0.0f);
    const bf16 *a = static_cast<const bf16 *>(product.a);
    const bf16 *b = static_cast<const bf16 *>(product.b);
    size_t plane = product.outputs * product.rows;
    for (size_t first = 0; first < product.outputs; first += lanes) {
        size_t count = std::min(lanes, product.outputs - first);
        for (size_t lane = 0; lane < count; lane++) {
            for (size_t inner = 0; inner < product.inner; inner++) {
                panel[inner * lanes + lane] = to_float(a[(first + lane) * product.stride_a + inner]);
            }
        }
        for (size_t row = 0; row < product.rows; row++) {
            for (unsigned part = 0; part < product.parts; part++) {
                float sums[lanes];
                sum_row(b + row * product.stride_b, panel.data(), product.inner * part / product.parts,
                        product.inner * (part + 1) / product.parts, sums);
                for (size_t lane = 0; lane < count; lane++) {
                    if (product.parts == 1) {
                        put(product, row, first + lane, sums[lane]);
                    } else {
                        product.workspace[part * plane + row * product.outputs + first + lane] = sums[lane];
                    }
                }
            }
        }
    }
    for (size_t at = 0; product.parts > 1 && at < plane; at++) {
        float sum = 0;
        for (unsigned part = 0; part < product.parts; part++) {
            sum += product.workspace[part * plane + at];
        }
        put(product, at / product.outputs, at % product.outputs, sum);
    }
}

} // namespace emulated
