// widen8 gives byte * scale of each weight, rounded once.
#define EMULATED_FILE widen8
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../widen8.cu"
EMULATED_BEGIN
EMULATED_KERNEL(widen8)

using namespace card;

void weights_are_bytes_times_scales(u32 inputs, u32 outputs, u32 pieces) {
    Random random(inputs + outputs);
    Memory<u32> words(outputs * inputs / 4);
    Memory<float> scales((inputs + 127) / 128 * outputs);
    Memory<bf16> out(outputs * inputs, to_bf16(NAN));
    random.fill(scales, 0.01f);
    for (size_t at = 0; at < words.size(); at++) {
        words[at] = random.below(1u << 16) << 16 | random.below(1u << 16);
    }
    launch("widen8", {outputs, pieces, 1}, 256, 0, static_cast<void *>(words.at()), scales.at(), out.at(), inputs,
           outputs);
    for (u32 output = 0; output < outputs; output++) {
        for (u32 input = 0; input < inputs; input++) {
            size_t index = output * inputs + input;
            u32 place = input % 4 == 1 ? 2 : input % 4 == 2 ? 1 : input % 4;
            auto byte = static_cast<signed char>(words[index / 4] >> 8 * place & 0xff);
            float expected = static_cast<float>(byte) * scales[input / 128 * outputs + output];
            check(out[index].bits == to_bf16(expected).bits, "weight %zu", index);
        }
    }
}

} // namespace

int main() {
    weights_are_bytes_times_scales(16, 1, 1);
    weights_are_bytes_times_scales(576, 9, 1);
    weights_are_bytes_times_scales(8208, 3, 2);
    puts("widen8: passed");
}
