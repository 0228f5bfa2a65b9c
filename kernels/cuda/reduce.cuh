// Reductions over a warp and a block in one order: a tree over each warp's lanes, then the warps one after another.
//
// All threads of the block call the block's functions, in whole warps, and all get the result. `scratch` is shared
// memory for one value a warp; the next reduction may use it at once.
#pragma once
#include "machine.cuh"

constexpr u32 WARPS_MOST = 32;

template <class T> struct Sum {
    __device__ T operator()(T a, T b) const { return a + b; }
};
template <class T> struct Greatest {
    __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <class T, class Join> DEVICE T warp_reduce(T value, Join join) {
#pragma unroll
    for (u32 mask = 16; mask > 0; mask /= 2) {
        value = join(value, shuffle_xor(value, mask));
    }
    return value;
}

template <class T, class Join> DEVICE T block_reduce(T value, T *scratch, Join join) {
    value = warp_reduce(value, join);
    // Whoever still reads the last result is waited for.
    __syncthreads();
    if (lane_index() == 0) {
        scratch[warp_index()] = value;
    }
    __syncthreads();
    T result = scratch[0];
    for (u32 warp = 1; warp < blockDim.x / 32; warp++) {
        result = join(result, scratch[warp]);
    }
    return result;
}

template <class T> DEVICE T warp_sum(T value) { return warp_reduce(value, Sum<T>()); }
template <class T> DEVICE T block_sum(T value, T *scratch) { return block_reduce(value, scratch, Sum<T>()); }
