// Kernels of the emulator's own test: right ones, and ones that do what a card leaves undefined.
#include "../machine.cuh"

// Sums the numbers of a block's threads by a tree.
extern "C" __global__ void __launch_bounds__(1024) sum_of_threads(u32 *out) {
    __shared__ u32 parts[1024];
    parts[threadIdx.x] = threadIdx.x;
    __syncthreads();
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            parts[threadIdx.x] += parts[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        out[blockIdx.y * gridDim.x + blockIdx.x] = parts[0] + blockIdx.x;
    }
}

extern "C" __global__ void shuffles(u32 *out, double *numbers) {
    u32 lane = lane_index(), *mine = out + 6 * threadIdx.x;
    mine[0] = shuffle_xor(lane, 5);
    mine[1] = shuffle_down(lane, 3);
    mine[2] = shuffle_up(lane, 3);
    mine[3] = shuffle_from(lane * 2, 7);
    mine[4] = warp_ballot(lane % 3 == 0);
    sync_warp();
    mine[5] = warp_index();
    numbers[threadIdx.x] = shuffle_xor(lane + 0.5, 1);
}

// c = a b by one warp: a 16 x 16, b 16 x 8, each by rows; c by rows.
extern "C" __global__ void product(const bf16 *a, const bf16 *b, float *c) {
    bf16 *tile = dynamic_shared<bf16>();
    u32 lane = lane_index();
    copy_async(tile + lane * 8, a + lane * 8);
    copy_commit();
    // Half of the second 16 rows are not there.
    copy_async(tile + 256 + lane * 8, b + lane * 8, lane < 16);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    u32 of_a[4], of_b[4];
    load_matrices(of_a, tile + lane % 16 * 16 + lane / 16 * 8);
    load_matrices_transposed(of_b, tile + 256 + lane * 8);
    float sums[4] = {0, 0, 0, 0};
    multiply(sums, of_a, of_b[0], of_b[1]);
    // The other two matrices are zeros.
    multiply(sums, of_a, of_b[2], of_b[3]);
    u32 group = lane / 4, two = lane % 4 * 2;
    c[group * 8 + two] = sums[0];
    c[group * 8 + two + 1] = sums[1];
    c[(group + 8) * 8 + two] = sums[2];
    c[(group + 8) * 8 + two + 1] = sums[3];
}

// What the second of two copies brought, before and after it is waited for.
extern "C" __global__ void late_copy(const float *from, float *out) {
    float *tile = dynamic_shared<float>();
    copy_async(tile, from);
    copy_commit();
    copy_async(tile + 4, from + 4);
    copy_commit();
    copy_wait<1>();
    out[0] = tile[0];
    out[1] = tile[4];
    copy_wait<0>();
    out[2] = tile[4];
}

extern "C" __global__ void unwritten(float *out) {
    __shared__ float written[32];
    out[2 * blockIdx.x] = written[threadIdx.x];
    out[2 * blockIdx.x + 1] = dynamic_shared<float>()[threadIdx.x];
    written[threadIdx.x] = 1;
    dynamic_shared<float>()[threadIdx.x] = 1;
}

extern "C" __global__ void no_barrier(u32 *out) {
    __shared__ u32 numbers[64];
    numbers[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = numbers[(threadIdx.x + 32) % 64];
}

extern "C" __global__ void some_at_barrier() {
    if (threadIdx.x < 40) {
        __syncthreads();
    }
}

extern "C" __global__ void two_barriers() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

extern "C" __global__ void some_in_collective(u32 *out) {
    if (lane_index() < 16) {
        out[threadIdx.x] = shuffle_xor(threadIdx.x, 1);
    }
}

extern "C" __global__ void collective_or_barrier(u32 *out) {
    if (lane_index() == 3) {
        __syncthreads();
    }
    out[threadIdx.x] = shuffle_xor(threadIdx.x, 1);
}

extern "C" __global__ void load_from_global(const bf16 *from, u32 *out) {
    u32 pairs[4];
    load_matrices(pairs, from + lane_index() * 8);
    out[threadIdx.x] = pairs[0];
}

extern "C" __global__ void past_dynamic(u32 at) { dynamic_shared<u32>()[at] = 1; }

extern "C" __global__ void write_at(float *out, int at) { out[at] = 1; }

extern "C" __global__ void read_at(const float *from, int at, float *out) { out[0] = from[at]; }

extern "C" __global__ void add(float *out, float number, u32 count) {
    u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count) {
        out[at] += number;
    }
}

// More than a thread's stack.
extern "C" __global__ void deep(u32 *out, u32 depth) {
    struct Descent {
        static u32 go(u32 depth, const volatile u32 *above) {
            volatile u32 room[256];
            room[0] = above[0] + depth;
            return depth == 0 ? room[0] : go(depth - 1, room);
        }
    };
    u32 none = 0;
    out[0] = Descent::go(depth, &none);
}
