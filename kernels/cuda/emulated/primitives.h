// The functions of machine.cuh for this machine's CPU, and the words of CUDA's C++ that kernels use.
//
// Conversions, shuffles, ldmatrix and the layouts of mma are the hardware's. Sums of a product are added one by one in
// f32, in the order of the inner dimension, where hardware has an order of its own; the approximate functions are those
// of libm. Asynchronous copies are made as late as CUDA allows: by the wait that names them.
#pragma once
#include "block.h"
#include <math.h>
#include <string.h>

#ifndef EMULATED_LISTING
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One section a file, as kernel_file.h names it: all of it is poisoned before each block.
#ifndef EMULATED_SHARED
#define EMULATED_SHARED "shared_memory"
#endif
#define __shared__ static __attribute__((section(EMULATED_SHARED)))
#endif

#define DEVICE [[maybe_unused]] static inline
#define threadIdx (emulated::current->index)
#define blockIdx (emulated::block_index)
#define blockDim (emulated::block_size)
#define gridDim (emulated::grid_size)

// The line of whoever calls, for errors.
#define CALLER u32 line = __builtin_LINE()

DEVICE void __syncthreads(CALLER) { emulated::barrier(line); }

DEVICE u32 bits_of(float number) {
    u32 bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}
DEVICE float float_of(u32 bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

DEVICE bf16 to_bf16(float number) {
    u32 bits = bits_of(number);
    if (number != number) {
        return {0x7fff};
    }
    // Half of the last kept place, less one where that place is even.
    return {static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
DEVICE float to_float(bf16 number) { return float_of(static_cast<u32>(number.bits) << 16); }

DEVICE u32 pack(float low, float high) { return to_bf16(low).bits | static_cast<u32>(to_bf16(high).bits) << 16; }
DEVICE float low_of(u32 pair) { return float_of(pair << 16); }
DEVICE float high_of(u32 pair) { return float_of(pair & 0xffff0000u); }
DEVICE u32 add_pairs(u32 a, u32 b) { return pack(low_of(a) + low_of(b), high_of(a) + high_of(b)); }

namespace machine {
DEVICE float infinity() { return INFINITY; }
DEVICE float nan() { return NAN; }
DEVICE float exp2(float x) { return exp2f(x); }
DEVICE float exp(float x) { return expf(x); }
DEVICE double exp(double x) { return ::exp(x); }
DEVICE float tanh(float x) { return tanhf(x); }
DEVICE float rsqrt(float x) { return 1.0f / sqrtf(x); }
DEVICE float fma(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE float max(float a, float b) { return fmaxf(a, b); }
DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 max(u32 a, u32 b) { return a > b ? a : b; }
DEVICE u32 count_ones(u32 bits) { return __builtin_popcount(bits); }
} // namespace machine

template <class T> DEVICE T *dynamic_shared() { return static_cast<T *>(emulated::dynamic_memory); }

DEVICE u32 lane_index() { return threadIdx.x & 31u; }
DEVICE u32 warp_index() { return threadIdx.x >> 5; }

namespace emulated {

extern const Collective shuffle_by_xor, shuffle_from_above, shuffle_from_below, shuffle_from_lane, vote, meeting;
extern const Collective load, load_transposed, product;

inline Slot &slot() { return current->warp->slots[current->lane]; }

template <class T> T shuffle(const Collective &how, T value, u32 argument, u32 line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    Slot &mine = slot();
    memcpy(&mine.word.value, &value, sizeof value);
    mine.word.argument = argument;
    collective(how, line);
    memcpy(&value, &mine.word.value, sizeof value);
    return value;
}

inline void load_rows(const Collective &how, u32 (&pairs)[4], const bf16 *row, u32 line) {
    check_shared(row, 16, how.name, line);
    Slot &mine = slot();
    mine.matrices.row = row;
    collective(how, line);
    memcpy(pairs, mine.matrices.pairs, sizeof pairs);
}

void start_copy(void *shared, const void *global, bool there, u32 line);
void end_copies(u32 newest);

} // namespace emulated

template <class T> DEVICE T shuffle_xor(T value, u32 mask, CALLER) {
    return emulated::shuffle(emulated::shuffle_by_xor, value, mask, line);
}
template <class T> DEVICE T shuffle_down(T value, u32 by, CALLER) {
    return emulated::shuffle(emulated::shuffle_from_above, value, by, line);
}
template <class T> DEVICE T shuffle_up(T value, u32 by, CALLER) {
    return emulated::shuffle(emulated::shuffle_from_below, value, by, line);
}
template <class T> DEVICE T shuffle_from(T value, u32 lane, CALLER) {
    return emulated::shuffle(emulated::shuffle_from_lane, value, lane, line);
}
DEVICE u32 warp_ballot(bool vote, CALLER) {
    return emulated::shuffle(emulated::vote, static_cast<u32>(vote), 0, line);
}
DEVICE void sync_warp(CALLER) { emulated::collective(emulated::meeting, line); }

DEVICE void load_matrices(u32 (&pairs)[4], const bf16 *row, CALLER) {
    emulated::load_rows(emulated::load, pairs, row, line);
}
DEVICE void load_matrices_transposed(u32 (&pairs)[4], const bf16 *row, CALLER) {
    emulated::load_rows(emulated::load_transposed, pairs, row, line);
}

DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1, CALLER) {
    emulated::Slot &mine = emulated::slot();
    memcpy(mine.product.sums, sums, sizeof sums);
    memcpy(mine.product.a, a, sizeof a);
    mine.product.b[0] = b0;
    mine.product.b[1] = b1;
    emulated::collective(emulated::product, line);
    memcpy(sums, mine.product.sums, sizeof sums);
}

DEVICE void copy_async(void *shared, const void *global, bool there = true, CALLER) {
    emulated::start_copy(shared, global, there, line);
}
DEVICE void copy_commit() { emulated::current->copy_group += 1; }
template <int newest> DEVICE void copy_wait() { emulated::end_copies(newest); }

#undef CALLER
