// Draws each row's token, as engine/src/sampling.rs does: greedily at temperature 0, else by the weights
// exp((logit - greatest) / temperature) of all tokens, or of the nucleus of top_p.
// Shapes: logits[rows][stride], draws[grid], tokens[grid]; grid rows, block 512.
#include "nucleus.cuh"

enum : u32 { NOTHING = 0 };

struct Draw {
    u32 row;
    float temperature;
    float top_p;
    u32 kind;
    double random;
};

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float FLOAT_MOST = 3.4028234e38f;

extern "C" __global__ void __launch_bounds__(LOGITS_BLOCK, 1)
draw(const float *all_logits, u32 stride, u32 outputs, const Draw *draws, u32 *tokens) {
    __shared__ Search search;
    __shared__ Groups groups;
    Draw wanted = draws[blockIdx.x];
    if (wanted.kind == NOTHING) {
        return;
    }
    Logits logits = logits_of(all_logits, stride, outputs, wanted.row);
    Top top = top_of(logits, groups.picked);
    u32 token = top.token;
    if (token != NO_TOKEN && wanted.temperature > 0.0f) {
        // Finite, so that the greatest logit's weight is 1 whatever the temperature.
        float inverse = LOG2_E / wanted.temperature;
        inverse = inverse < FLOAT_MOST ? inverse : FLOAT_MOST;
        auto weigh = [&](u32, float logit) { return machine::exp2((logit - top.logit) * inverse); };
        Nucleus nucleus = {0, NO_TOKEN};
        if (wanted.top_p < 1.0f) {
            nucleus = nucleus_of(logits, search, groups, wanted.top_p, weigh);
        }
        auto weigh_kept = [&](u32 at, float logit) {
            float weight = weigh(at, logit);
            return is_kept(nucleus, at, weight) ? weight : 0.0f;
        };
        double total = sum_groups(logits, groups, weigh_kept);
        token = first_beyond(logits, groups, wanted.random * total, weigh_kept);
    }
    if (threadIdx.x == 0) {
        tokens[blockIdx.x] = token;
    }
}
