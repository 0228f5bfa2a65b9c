// What only hardware has, for all kernels: on the device inline PTX for sm_80 and later, elsewhere the same functions
// from emulated/primitives.h, in plain C++, so that the tests run the sources of the kernels without a GPU.
//
// A warp is 32 threads that follow each other in threadIdx.x. What is named collective here must be called by all
// threads of a warp at the same place; blocks whose threads do so have whole warps.
#pragma once

using u32 = unsigned int;
using u64 = unsigned long long;

struct bf16 {
    unsigned short bits;
};

// Loads and stores of 8 and 16 bytes at once.
struct alignas(8) u32x2 {
    u32 x, y;
};
struct alignas(16) u32x4 {
    u32 x, y, z, w;
};
struct alignas(8) f32x2 {
    float x, y;
};
struct alignas(16) f32x4 {
    float x, y, z, w;
};

#ifndef __CUDACC__
#include "emulated/primitives.h"
#else

#define DEVICE static __device__ __forceinline__

// The bytes of a number as another type.
DEVICE u32 bits_of(float number) { return __float_as_uint(number); }
DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

// To bf16 by round to nearest even; a NaN stays one.
DEVICE bf16 to_bf16(float number) {
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(number));
    return result;
}
DEVICE float to_float(bf16 number) { return float_of(static_cast<u32>(number.bits) << 16); }

// Two bf16 in a u32: `low` is the one at the lower address.
DEVICE u32 pack(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
DEVICE float low_of(u32 pair) { return float_of(pair << 16); }
DEVICE float high_of(u32 pair) { return float_of(pair & 0xffff0000u); }
// Sums of pairs of bf16, each rounded to nearest even.
DEVICE u32 add_pairs(u32 a, u32 b) {
    u32 sums;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sums) : "r"(a), "r"(0x3f803f80u), "r"(b));
    return sums;
}

namespace machine {
DEVICE float infinity() { return float_of(0x7f800000u); }
DEVICE float nan() { return float_of(0x7fffffffu); }
// 2^x to two units in the last place, 0 where that is below the normal numbers. Of -infinity: 0.
DEVICE float exp2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
DEVICE float exp(float x) { return expf(x); }
DEVICE double exp(double x) { return ::exp(x); }
DEVICE float tanh(float x) { return tanhf(x); }
DEVICE float rsqrt(float x) { return rsqrtf(x); }
DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float max(float a, float b) { return fmaxf(a, b); }
DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 max(u32 a, u32 b) { return a > b ? a : b; }
DEVICE u32 count_ones(u32 bits) { return __popc(bits); }
} // namespace machine

// Dynamic shared memory, aligned to 16 bytes; as many as the launch says.
extern __shared__ u32x4 machine_dynamic_shared[];
template <class T> DEVICE T *dynamic_shared() { return reinterpret_cast<T *>(machine_dynamic_shared); }

// This thread's number in its warp, and its warp's in the block.
DEVICE u32 lane_index() { return threadIdx.x & 31u; }
DEVICE u32 warp_index() { return threadIdx.x >> 5; }

// Collective. The value of the lane `lane ^ mask`, `lane + by` (past the warp's end: the own one), and `lane`.
// For float, u32, double and u64.
template <class T> DEVICE T shuffle_xor(T value, u32 mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
template <class T> DEVICE T shuffle_down(T value, u32 by) { return __shfl_down_sync(0xffffffffu, value, by); }
template <class T> DEVICE T shuffle_up(T value, u32 by) { return __shfl_up_sync(0xffffffffu, value, by); }
template <class T> DEVICE T shuffle_from(T value, u32 lane) { return __shfl_sync(0xffffffffu, value, lane); }
// Collective. One bit a lane.
DEVICE u32 warp_ballot(bool vote) { return __ballot_sync(0xffffffffu, vote); }
// Collective. Orders what the warp's threads wrote to shared memory before it.
DEVICE void sync_warp() { __syncwarp(); }

DEVICE u32 shared_address(const void *shared) { return static_cast<u32>(__cvta_generic_to_shared(shared)); }

// Collective. Four matrices of 8 x 8 bf16 in shared memory: lane 8 m + r names row r of matrix m (8 numbers, at a
// multiple of 16 bytes). Of each matrix a lane gets the pair (row lane / 4, columns 2 (lane % 4) and the next);
// transposed: rows 2 (lane % 4) and the next of column lane / 4.
DEVICE void load_matrices(u32 (&pairs)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
                 : "r"(shared_address(row))
                 : "memory");
}
DEVICE void load_matrices_transposed(u32 (&pairs)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Collective. sums += a b: a 16 x 16, b 16 x 8, sums 16 x 8. With group = lane / 4 and two = 2 (lane % 4), a lane holds
// of a the pairs (row group, columns two), (group + 8, two), (group, two + 8), (group + 8, two + 8); of b the pairs
// (rows two, column group), (two + 8, group); of sums (row group, columns two, two + 1), (group + 8, two, two + 1).
DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts to copy 16 bytes of global memory to shared memory (both at multiples of 16), zeros where they are not
// `there` (then `global` is not read, but is an address still). The copies of a thread up to its `copy_commit` are a
// group; after `copy_wait<n>` all its groups but the newest n have come, for this thread: others need a barrier.
DEVICE void copy_async(void *shared, const void *global, bool there = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(there ? 16 : 0)
                 : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int newest> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory"); }

#endif
