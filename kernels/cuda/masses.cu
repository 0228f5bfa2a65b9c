// The probabilities of sets of tokens: sums of softmax(logits) at temperature 1. NaN where the greatest logit is not
// finite, or any is NaN.
// Shapes: logits[rows][stride], questions[grid], sets[..] (first member, count), members[..] (tokens), out[..];
// grid questions, block 512.
#include "logits.cuh"

struct Question {
    u32 row, first_set, sets, out;
};

extern "C" __global__ void __launch_bounds__(LOGITS_BLOCK, 1)
masses(const float *all_logits, u32 stride, u32 outputs, const Question *questions, const u32 *sets, const u32 *members,
       double *out) {
    __shared__ u64 scratch[WARPS_MOST];
    __shared__ double sum_scratch[WARPS_MOST];
    Question question = questions[blockIdx.x];
    Logits logits = logits_of(all_logits, stride, outputs, question.row);
    Top top = top_of(logits, scratch);
    // Four a time in f32: cards for desktops are slow at doubles.
    double sum = 0.0;
    float four = 0.0f;
    each_logit(logits, [&](u32 token, float logit) {
        four += machine::exp(logit - top.logit);
        if (token % 4 == 3) {
            sum += four;
            four = 0.0f;
        }
    });
    double total = block_sum(sum, sum_scratch);

    for (u32 set = warp_index(); set < question.sets; set += LOGITS_BLOCK / 32) {
        u32 first = sets[2 * (question.first_set + set)], count = sets[2 * (question.first_set + set) + 1];
        double mass = 0.0;
        for (u32 member = lane_index(); member < count; member += 32) {
            u32 token = members[first + member];
            mass += token < outputs ? machine::exp(logits.row[token] - top.logit) : 0.0f;
        }
        mass = warp_sum(mass);
        if (lane_index() == 0) {
            out[question.out + set] = top.token == NO_TOKEN ? static_cast<double>(machine::nan()) : mass / total;
        }
    }
}
