// Tests of blocks without the driver: barriers, collectives, copies, and what is wrong.
#include "../machine.cuh"
#include "test.h"

namespace emulated {
namespace {

void sums_by_a_tree() {
    u32 out[6];
    for (u32 threads : {1024u, 32u, 2u}) {
        CHECK(run_kernel("sum_of_threads", {3, 2, 1}, threads, 0, out).empty());
        for (u32 block = 0; block < 6; block++) {
            CHECK(out[block] == threads * (threads - 1) / 2 + block % 3);
        }
    }
}

void shuffles_move_values() {
    u32 out[64][6];
    double numbers[64];
    CHECK(run_kernel("shuffles", {1, 1, 1}, 64, 0, &out[0][0], numbers).empty());
    for (u32 thread = 0; thread < 64; thread++) {
        u32 lane = thread % 32;
        CHECK(out[thread][0] == (lane ^ 5));
        CHECK(out[thread][1] == (lane + 3 < 32 ? lane + 3 : lane));
        CHECK(out[thread][2] == (lane >= 3 ? lane - 3 : lane));
        CHECK(out[thread][3] == 14);
        CHECK(out[thread][4] == 0x49249249);
        CHECK(out[thread][5] == thread / 32);
        CHECK(numbers[thread] == (lane ^ 1) + 0.5);
    }
}

void product_is_a_product() {
    alignas(16) bf16 a[16][16], b[32][8];
    float c[16][8];
    u32 state = 1;
    auto next = [&] {
        state = state * 1664525 + 1013904223;
        return to_bf16(static_cast<float>(state >> 8) / 16777216.0f - 0.5f);
    };
    for (auto &row : a) {
        for (bf16 &number : row) {
            number = next();
        }
    }
    for (auto &row : b) {
        for (bf16 &number : row) {
            number = next();
        }
    }
    CHECK(run_kernel("product", {1, 1, 1}, 32, 1024, &a[0][0], &b[0][0], &c[0][0]).empty());
    for (u32 row = 0; row < 16; row++) {
        for (u32 column = 0; column < 8; column++) {
            float sum = 0;
            for (u32 inner = 0; inner < 16; inner++) {
                sum += to_float(a[row][inner]) * to_float(b[inner][column]);
            }
            CHECK(c[row][column] == sum);
        }
    }
}

void conversions_round_to_even() {
    CHECK(to_bf16(1.0f).bits == 0x3f80);
    CHECK(to_bf16(float_of(0x3f808000)).bits == 0x3f80);
    CHECK(to_bf16(float_of(0x3f818000)).bits == 0x3f82);
    CHECK(to_bf16(float_of(0x3f808001)).bits == 0x3f81);
    CHECK(to_bf16(float_of(0x7f7fffff)).bits == 0x7f80);
    CHECK(to_bf16(machine::infinity()).bits == 0x7f80);
    CHECK(to_bf16(float_of(0xff800001)).bits == 0x7fff);
    u32 pair = pack(1.5f, -2.0f);
    CHECK(low_of(pair) == 1.5f && high_of(pair) == -2.0f);
}

void copies_come_when_waited_for() {
    alignas(16) float from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float out[3];
    CHECK(run_kernel("late_copy", {1, 1, 1}, 1, 32, from, out).empty());
    CHECK(out[0] == 1 && out[1] != out[1] && out[2] == 5);
}

void unwritten_shared_memory_is_poison() {
    float out[4];
    CHECK(run_kernel("unwritten", {2, 1, 1}, 1, 4, out).empty());
    for (float number : out) {
        CHECK(number != number);
    }
}

void missing_barrier_shows() {
    u32 out[64];
    CHECK(run_kernel("no_barrier", {1, 1, 1}, 64, 0, out).empty());
    bool all_there = true;
    for (u32 thread = 0; thread < 64; thread++) {
        all_there &= out[thread] == (thread + 32) % 64;
    }
    CHECK(!all_there);
}

} // namespace

void test_block() {
    sums_by_a_tree();
    shuffles_move_values();
    product_is_a_product();
    conversions_round_to_even();
    copies_come_when_waited_for();
    unwritten_shared_memory_is_poison();
    missing_barrier_shows();
}

void test_errors() {
    prepare_for_faults();
    u32 out[6 * 64];
    std::string failure = run_kernel("some_at_barrier", {1, 1, 1}, 64, 0);
    CHECK(has(failure, "kernel some_at_barrier, block (0, 0, 0), thread (40, 0, 0): ends while 40 threads wait"));
    failure = run_kernel("two_barriers", {1, 1, 1}, 64, 0);
    CHECK(has(failure, "thread (32, 0, 0): is at the barrier of line"));
    failure = run_kernel("some_in_collective", {1, 1, 1}, 32, 0, static_cast<u32 *>(out));
    CHECK(has(failure, "thread (16, 0, 0): ends while lanes 0xffff of its warp wait in shuffle_xor"));
    failure = run_kernel("collective_or_barrier", {1, 1, 1}, 32, 0, static_cast<u32 *>(out));
    CHECK(has(failure, "thread (3, 0, 0): is at a barrier while lanes 0x7 of its warp wait"));
    double doubles[64];
    failure = run_kernel("shuffles", {1, 1, 1}, 40, 0, static_cast<u32 *>(out), static_cast<double *>(doubles));
    CHECK(has(failure, "thread (32, 0, 0): is in shuffle_xor") && has(failure, "its warp has 8 lanes"));
    alignas(16) bf16 numbers[256] = {};
    failure = run_kernel("load_from_global", {1, 1, 1}, 32, 0, static_cast<const bf16 *>(numbers),
                         static_cast<u32 *>(out));
    CHECK(has(failure, "is no shared memory"));
    CHECK(run_kernel("past_dynamic", {1, 1, 1}, 1, 64, 15u).empty());
    failure = run_kernel("past_dynamic", {1, 1, 1}, 1, 64, 16u);
    CHECK(has(failure, "kernel past_dynamic, block (0, 0, 0), thread (0, 0, 0): touches"));
    CHECK(run_kernel("deep", {1, 1, 1}, 2, 0, static_cast<u32 *>(out), 50u).empty());
    CHECK(out[0] == 50 * 51 / 2);
    failure = run_kernel("deep", {1, 1, 1}, 2, 0, static_cast<u32 *>(out), 100000u);
    CHECK(has(failure, "touches"));
    // After any error all goes on.
    sums_by_a_tree();
}

} // namespace emulated
