// A row of numbers that a block reads once: four numbers a thread and step, the first HELD steps kept in registers.
// Wider rows read the rest again. Widths are multiples of 4, rows start at multiples of 16 bytes (of bf16: 8).
#pragma once
#include "reduce.cuh"

// With 256 threads, rows of up to 8192 numbers stay in registers.
constexpr u32 HELD = 8;

// Calls `visit(four, at)` for each group of four of this thread, `at` being its place in the row. `four` is what `held`
// keeps, and a change to it stays; past the steps that are held, it is what `load(at)` gives.
template <class Load, class Visit> DEVICE void each_four(f32x4 (&held)[HELD], u32 width, Load load, Visit visit) {
#pragma unroll
    for (u32 step = 0; step < HELD; step++) {
        u32 at = 4 * (step * blockDim.x + threadIdx.x);
        if (at < width) {
            visit(held[step], at);
        }
    }
    for (u32 at = 4 * (HELD * blockDim.x + threadIdx.x); at < width; at += 4 * blockDim.x) {
        f32x4 four = load(at);
        visit(four, at);
    }
}

DEVICE f32x4 load_four(const float *from) { return *reinterpret_cast<const f32x4 *>(from); }
DEVICE f32x4 load_four(const bf16 *from) {
    u32x2 pairs = *reinterpret_cast<const u32x2 *>(from);
    return {low_of(pairs.x), high_of(pairs.x), low_of(pairs.y), high_of(pairs.y)};
}
DEVICE void store_four(float *to, f32x4 four) { *reinterpret_cast<f32x4 *>(to) = four; }
DEVICE void store_four(bf16 *to, f32x4 four) {
    *reinterpret_cast<u32x2 *>(to) = {pack(four.x, four.y), pack(four.z, four.w)};
}

DEVICE f32x4 scaled(f32x4 four, float by) { return {four.x * by, four.y * by, four.z * by, four.w * by}; }
DEVICE f32x4 times(f32x4 a, f32x4 b) { return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }
DEVICE f32x4 plus(f32x4 a, f32x4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

// The factor of a row's RMS norm: 1 / sqrt(mean of the squares + epsilon). `load` gives the row's groups of four, which
// `held` keeps.
template <class Load>
DEVICE float load_and_norm(f32x4 (&held)[HELD], u32 width, float epsilon, float *scratch, Load load) {
    float squares = 0.0f;
    each_four(held, width, load, [&](f32x4 &four, u32 at) {
        four = load(at);
        squares += (four.x * four.x + four.y * four.y) + (four.z * four.z + four.w * four.w);
    });
    return machine::rsqrt(block_sum(squares, scratch) / static_cast<float>(width) + epsilon);
}
