// What a block of attention leaves.
#pragma once
#include "attend.cuh"

struct Output {
    bf16 *out;
    float *sums, *stats;
    u32 heads;
};

// A task's fields that say where its results go: read again, rather than kept in registers all along.
DEVICE Task read_again(const Task *task) {
    auto read = [](const u32 &number) { return *static_cast<const volatile u32 *>(&number); };
    Task again = {};
    again.first_row = read(task->first_row);
    again.rows = read(task->rows);
    again.first_query = read(task->first_query);
    again.partial = read(task->partial);
    return again;
}

// What a query leaves, its row of `out` or its part: of a head's SIZE columns those from `first` on that the warp has.
// Who has the first leaves the part's stats, too. Collective, for all queries of the warp.
template <u32 SIZE, u32 COLUMNS>
DEVICE void store(const Output &output, const Task &task, const Query &query, u32 half, const float (&sums)[COLUMNS][4],
                  const Running &running, u32 first) {
    u32 quarter = lane_index() % 4;
    float sum = running.sum[half];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    if (task.partial == WHOLE) {
        float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
        bf16 *to = output.out + (static_cast<u64>(query.row) * output.heads + query.head) * SIZE + first;
#pragma unroll
        for (u32 pair = 0; pair < COLUMNS / 2; pair++) {
            u32 left = pack(sums[2 * pair][2 * half] * inverse, sums[2 * pair][2 * half + 1] * inverse);
            u32 right = pack(sums[2 * pair + 1][2 * half] * inverse, sums[2 * pair + 1][2 * half + 1] * inverse);
            // Neighbours swap, so that each has four numbers that follow each other, and four lanes 32 bytes.
            bool is_right = quarter % 2 == 1;
            u32 swapped = shuffle_xor(is_right ? left : right, 1);
            u32x2 four = is_right ? u32x2{swapped, right} : u32x2{left, swapped};
            if (query.exists) {
                *reinterpret_cast<u32x2 *>(to + 16 * pair + quarter % 2 * 8 + quarter / 2 * 4) = four;
            }
        }
        return;
    }
    if (!query.exists) {
        return;
    }
    u64 part = static_cast<u64>(task.partial + query.row - task.first_row) * output.heads + query.head;
#pragma unroll
    for (u32 column = 0; column < COLUMNS; column++) {
        f32x2 two = {sums[column][2 * half], sums[column][2 * half + 1]};
        *reinterpret_cast<f32x2 *>(output.sums + part * SIZE + first + 8 * column + 2 * quarter) = two;
    }
    if (quarter == 0 && first == 0) {
        *reinterpret_cast<f32x2 *>(output.stats + 2 * part) = {running.greatest[half] * LN_2, sum};
    }
}
