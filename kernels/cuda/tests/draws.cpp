// draw and masses against doubles and a full sort.
#define EMULATED_FILE draws
#include "../emulated/kernel_file.h"
#include "card.h"
#include <algorithm>
#include <numeric>

namespace {
#include "../draw.cu"
#include "../masses.cu"
EMULATED_BEGIN
EMULATED_KERNEL(draw)
EMULATED_KERNEL(masses)

using namespace card;

std::vector<u32> draw_all(Memory<float> &logits, u32 stride, u32 outputs, const std::vector<Draw> &draws) {
    Memory<Draw> all(draws);
    Memory<u32> tokens(draws.size(), 12345);
    launch("draw", {static_cast<u32>(draws.size()), 1, 1}, 512, 0, logits.at(), stride, outputs, all.at(), tokens.at());
    return {tokens.at(), tokens.at() + draws.size()};
}

// The share of probability before each token and after the last, of the nucleus alone; a token that is left out is empty.
std::vector<double> shares(const float *logits, u32 outputs, double temperature, double top_p) {
    double top = *std::max_element(logits, logits + outputs), total = 0.0;
    std::vector<double> weights(outputs);
    for (u32 token = 0; token < outputs; token++) {
        weights[token] = std::exp((logits[token] - top) / temperature);
        total += weights[token];
    }
    std::vector<u32> order(outputs);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](u32 a, u32 b) { return logits[a] > logits[b]; });
    double sum = 0.0;
    size_t kept = 0;
    while (kept < outputs && (kept == 0 || (top_p < 1.0 && sum < top_p * total) || top_p >= 1.0)) {
        sum += weights[order[kept++]];
    }
    for (size_t rest = kept; rest < outputs; rest++) {
        weights[order[rest]] = 0.0;
    }
    std::vector<double> bounds(outputs + 1, 0.0);
    for (u32 token = 0; token < outputs; token++) {
        bounds[token + 1] = bounds[token] + weights[token] / sum;
    }
    return bounds;
}

// Every draw is the token whose share holds its random number; how close to a bound rounding may err.
void draws_invert_the_cumulated_shares() {
    Random random(1);
    struct Size {
        u32 outputs, stride;
        float spread;
    };
    // One more than a vocabulary of 512 groups of 512 tokens makes groups of 1024.
    for (Size size : {Size{3, 3, 1.0f}, {129, 132, 2.0f}, {5003, 5003, 3.0f}, {32768, 32768, 0.01f}, {262145, 262148, 2.0f}}) {
        Memory<float> logits(3 * size.stride, NAN);
        for (u32 row = 0; row < 3; row++) {
            for (u32 token = 0; token < size.outputs; token++) {
                logits[row * size.stride + token] = random.normal(size.spread) - 5.0f;
            }
        }
        std::vector<Draw> draws;
        for (u32 index = 0; index < 24; index++) {
            float temperature = index % 3 == 0 ? 1.0f : index % 3 == 1 ? 0.3f : 2.5f;
            float top_p = index % 4 == 0 ? 1.0f : index % 4 == 1 ? 0.9f : index % 4 == 2 ? 0.3f : 0.999f;
            draws.push_back({index % 2 + 1, temperature, top_p, 1, index == 5 ? 0.0 : index == 6 ? 0.9999999999 : random.uniform()});
        }
        std::vector<u32> tokens = draw_all(logits, size.stride, size.outputs, draws);
        for (size_t index = 0; index < draws.size(); index++) {
            const Draw &draw = draws[index];
            const float *row = logits.at(draw.row * size.stride);
            std::vector<double> bounds = shares(row, size.outputs, draw.temperature, draw.top_p);
            check(tokens[index] < size.outputs, "a token past the end");
            double from = bounds[tokens[index]], to = bounds[tokens[index] + 1];
            check(draw.random >= from - 1e-5 && draw.random < to + 1e-5 && to > from,
                  "draw %zu of %u: %u has [%g, %g), random %g, temperature %g, top-p %g", index, size.outputs,
                  tokens[index], from, to, draw.random, draw.temperature, draw.top_p);
        }
    }
}

void frequencies_are_probabilities() {
    u32 outputs = 9;
    Memory<float> logits(12, -INFINITY);
    double probabilities[] = {0.05, 0.0, 0.3, 0.1, 0.0, 0.02, 0.33, 0.15, 0.05};
    for (u32 token = 0; token < outputs; token++) {
        logits[token] = static_cast<float>(std::log(probabilities[token]));
    }
    std::vector<Draw> draws;
    u32 count = 1500;
    for (u32 index = 0; index < count; index++) {
        draws.push_back({0, 1.0f, 1.0f, 1, (index + 0.5) / count});
    }
    std::vector<double> counts(outputs, 0.0);
    for (u32 token : draw_all(logits, 12, outputs, draws)) {
        counts[token] += 1.0 / count;
    }
    for (u32 token = 0; token < outputs; token++) {
        check_close(counts[token], probabilities[token], 1.5 / count, "frequency", token);
    }
}

// Of equals, the nucleus takes the lower tokens; where all weigh the same, as many as it takes.
void ties_keep_the_lower_tokens() {
    u32 outputs = 4000;
    Memory<float> logits(outputs, 1.0f);
    logits[3999] = 2.0f;
    double total = 3999.0 * std::exp(-1.0) + 1.0;
    // The last token, and 1000 of the others.
    float top_p = static_cast<float>((1.0 + 999.5 * std::exp(-1.0)) / total);
    double kept = 1.0 + 1000.0 * std::exp(-1.0);
    double before_last = 1000.0 * std::exp(-1.0) / kept;
    std::vector<u32> tokens = draw_all(logits, outputs, outputs,
                                       {{0, 1.0f, top_p, 1, before_last - 1e-5}, {0, 1.0f, top_p, 1, before_last + 1e-5},
                                        {0, 1.0f, 0.0f, 1, 0.5}, {0, 1.0f, top_p, 1, 0.0}});
    check(tokens[0] == 999, "the last of the equals that are kept is %u", tokens[0]);
    check(tokens[1] == 3999 && tokens[2] == 3999, "the heaviest are %u, %u", tokens[1], tokens[2]);
    check(tokens[3] == 0, "the first is %u", tokens[3]);
}

// The edge of the nucleus lies where weights are below 2^-31, a billionth of the heaviest's.
void a_long_tail_is_cut_where_it_should() {
    u32 outputs = 200000;
    Memory<float> logits(outputs, -23.0f);
    logits[0] = 0.0f;
    double weight = std::exp(-23.0), total = 1.0 + (outputs - 1) * weight;
    float top_p = 0.99999f;
    double kept = (top_p * total - 1.0) / weight;
    std::vector<u32> tokens =
        draw_all(logits, outputs, outputs, {{0, 1.0f, top_p, 1, 1.0 - 1e-13}, {0, 1.0f, top_p, 1, 0.9}});
    check(std::fabs(tokens[0] - kept) < 30.0, "the last token is %u instead of %.1f", tokens[0], kept);
    check(tokens[1] == 0, "the first is %u", tokens[1]);
}

void greedy_takes_the_first_of_equals_and_refuses_what_is_no_number() {
    u32 outputs = 2000, stride = 2000;
    Memory<float> logits(6 * stride, -1.0f);
    logits[1733] = logits[90] = logits[1999] = 4.0f;
    logits[stride + 1999] = NAN;
    logits[2 * stride + 5] = INFINITY;
    for (u32 token = 0; token < outputs; token++) {
        logits[3 * stride + token] = -INFINITY;
    }
    // The greatest is zero, of either sign.
    logits[4 * stride + 700] = -0.0f;
    logits[4 * stride + 800] = 0.0f;
    std::vector<Draw> draws;
    for (float temperature : {0.0f, 1.0f}) {
        for (u32 row = 0; row < 6; row++) {
            draws.push_back({row, temperature, 0.15f, row == 5 ? 0u : 1u, 0.5});
        }
    }
    std::vector<u32> tokens = draw_all(logits, stride, outputs, draws);
    check(tokens[0] == 90 && tokens[4] == 700, "greedy takes %u, %u", tokens[0], tokens[4]);
    for (u32 first : {0, 6}) {
        check(tokens[first + 1] == ~0u && tokens[first + 2] == ~0u && tokens[first + 3] == ~0u, "what is no number is drawn");
        check(tokens[first + 5] == 12345, "nothing was wanted, and %u was drawn", tokens[first + 5]);
    }
    check(tokens[6] == 90 || tokens[6] == 1733 || tokens[6] == 1999, "top-p draws %u", tokens[6]);
}

// Settings that nobody should send end in some token, not outside.
void odd_settings_stay_inside() {
    u32 outputs = 700;
    Memory<float> logits(outputs);
    Random random(8);
    random.fill(logits, 20.0f);
    std::vector<Draw> draws;
    for (float temperature : {1e-44f, 1e30f, INFINITY, NAN}) {
        for (float top_p : {-1.0f, 0.5f, float(NAN)}) {
            for (double number : {0.0, 1.0, 1e9, double(NAN)}) {
                draws.push_back({0, temperature, top_p, 1, number});
            }
        }
    }
    for (u32 token : draw_all(logits, outputs, outputs, draws)) {
        check(token < outputs, "token %u", token);
    }
}

void masses_are_sums_of_probabilities() {
    Random random(9);
    u32 outputs = 30001, stride = 30004;
    Memory<float> logits(2 * stride, NAN);
    for (u32 token = 0; token < outputs; token++) {
        logits[token] = random.normal(4.0f);
        logits[stride + token] = 0.0f;
    }
    logits[stride + 77] = NAN;
    std::vector<u32> sets, members;
    for (u32 set = 0; set < 20; set++) {
        sets.push_back(static_cast<u32>(members.size()));
        sets.push_back(set * 3);
        for (u32 member = 0; member < set * 3; member++) {
            members.push_back(random.below(outputs));
        }
    }
    Memory<u32> all_sets(sets), all_members(members);
    Memory<Question> questions({{0, 0, 20, 2}, {1, 4, 1, 0}, {0, 7, 1, 1}});
    Memory<double> out(22, -1.0);
    launch("masses", {3, 1, 1}, 512, 0, logits.at(), stride, outputs, questions.at(), all_sets.at(), all_members.at(),
           out.at());
    double total = 0.0;
    for (u32 token = 0; token < outputs; token++) {
        total += std::exp(double(logits[token]));
    }
    for (u32 set = 0; set < 20; set++) {
        double expected = 0.0;
        for (u32 member = 0; member < sets[2 * set + 1]; member++) {
            expected += std::exp(double(logits[members[sets[2 * set] + member]])) / total;
        }
        check_close(out[2 + set], expected, 1e-6 * expected, "mass", set);
    }
    check(std::isnan(out[0]) && out[1] == out[9], "masses %g, %g", out[0], out[1]);
}

} // namespace

int main() {
    draws_invert_the_cumulated_shares();
    frequencies_are_probabilities();
    ties_keep_the_lower_tokens();
    a_long_tail_is_cut_where_it_should();
    greedy_takes_the_first_of_equals_and_refuses_what_is_no_number();
    odd_settings_stay_inside();
    masses_are_sums_of_probabilities();
    puts("draws: passed");
}
