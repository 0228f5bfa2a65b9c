// Tiles of keys and values on their way from their slots to shared memory.
//
// A tile has TILE tokens, each a row of SIZE numbers in chunks of 16 bytes. Chunks are swizzled (their place in the row
// depends on the row), so that neither the copies nor ldmatrix, which reads one chunk of eight rows, ever has two
// accesses to one bank. Two stages of keys and values take 8 * TILE * SIZE bytes.
#pragma once
#include "machine.cuh"

constexpr u32 ATTEND_THREADS = 128;

template <u32 SIZE> struct Shape {
    static constexpr u32 TILE = SIZE > 128 ? 32 : 64;
    // Tokens whose scores are in registers at once.
    static constexpr u32 STEP = 32;
    static constexpr u32 CHUNKS = SIZE / 8;
    // Copies of 16 bytes that a thread makes of a tile of keys.
    static constexpr u32 COPIES = TILE * CHUNKS / ATTEND_THREADS;
};

// Where a chunk of a row lies in its tile, counted in numbers. The swizzle moves chunks within a PERIOD of them: rows of
// a multiple of 128 bytes all begin at the same bank, those of 64 and 192 bytes at one of two by turns.
template <u32 SIZE> struct Swizzle {
    static constexpr u32 PERIOD = Shape<SIZE>::CHUNKS % 8 == 0 ? 8 : 4;
};
template <u32 SIZE> DEVICE u32 place_of(u32 row, u32 chunk) {
    u32 key = Swizzle<SIZE>::PERIOD == 8 ? row % 8 : row / 2 % 4;
    return 8 * (row * Shape<SIZE>::CHUNKS + (chunk ^ key));
}

// A lane's row of the matrices that ldmatrix reads at once: `row` plus a multiple of 8, and of each two chunks one, from
// `first` on. Of a period's pairs of chunks it knows the addresses; all others are at a constant distance, so that they
// take no register.
template <u32 SIZE> struct MatrixRow {
    static constexpr u32 PAIRS = Swizzle<SIZE>::PERIOD / 2;
    const bf16 *at[PAIRS];
};
template <u32 SIZE> DEVICE MatrixRow<SIZE> matrix_row(const bf16 *tile, u32 row, u32 first) {
    MatrixRow<SIZE> result;
#pragma unroll
    for (u32 pair = 0; pair < MatrixRow<SIZE>::PAIRS; pair++) {
        result.at[pair] = tile + place_of<SIZE>(row, first + 2 * pair);
    }
    return result;
}
// The row `further` on, a multiple of 8; the chunk `first` + 2 * pair.
template <u32 SIZE> DEVICE const bf16 *row_at(const MatrixRow<SIZE> &row, u32 further, u32 pair) {
    constexpr u32 PAIRS = MatrixRow<SIZE>::PAIRS;
    return row.at[pair % PAIRS] + pair / PAIRS * PAIRS * 16 + further * SIZE;
}

// A stage of shared memory: the keys' tile, then the values'.
template <u32 SIZE> DEVICE bf16 *keys_of(u32 stage) {
    return dynamic_shared<bf16>() + stage * 2 * Shape<SIZE>::TILE * SIZE;
}
template <u32 SIZE> DEVICE bf16 *values_of(u32 stage) { return keys_of<SIZE>(stage) + Shape<SIZE>::TILE * SIZE; }

// The tokens of a task, and where their keys and values are.
struct Source {
    const bf16 *keys, *values;
    // Of the token 0, if the list began there: only [begin, end) is read.
    const u32 *slots;
    u32 end, kv_heads, kv_head;
};

// The slots of a tile: a lane has those of the tokens `lane` and `lane + 32`.
struct TileSlots {
    u32 low, high;
};

template <u32 SIZE> DEVICE TileSlots load_slots(const Source &source, u32 start) {
    u32 low = start + lane_index(), high = low + 32;
    return {low < source.end ? source.slots[low] : 0,
            Shape<SIZE>::TILE > 32 && high < source.end ? source.slots[high] : 0};
}

// The row of a tile that this thread's copy `number` is of, and the chunk. The first way, where it is one, leaves the
// compiler less to keep in registers.
template <u32 SIZE> DEVICE u32 row_of_copy(u32 number) {
    constexpr u32 CHUNKS = Shape<SIZE>::CHUNKS;
    return ATTEND_THREADS % CHUNKS == 0 ? threadIdx.x / CHUNKS + number * (ATTEND_THREADS / CHUNKS)
                                        : (number * ATTEND_THREADS + threadIdx.x) / CHUNKS;
}
template <u32 SIZE> DEVICE u32 chunk_of_copy(u32 number) {
    constexpr u32 CHUNKS = Shape<SIZE>::CHUNKS;
    return (ATTEND_THREADS % CHUNKS == 0 ? threadIdx.x : number * ATTEND_THREADS + threadIdx.x) % CHUNKS;
}

// Starts the copies of the tile that begins with the token `start`; tokens past the end become zeros.
template <u32 SIZE> DEVICE void start_tile(const Source &source, u32 start, const TileSlots &slots, u32 stage) {
    constexpr u32 CHUNKS = Shape<SIZE>::CHUNKS;
#pragma unroll
    for (u32 number = 0; number < Shape<SIZE>::COPIES; number++) {
        u32 row = row_of_copy<SIZE>(number), chunk = chunk_of_copy<SIZE>(number);
        // Where all threads' rows are in one half of the tile, one shuffle does.
        u32 first = number * ATTEND_THREADS / CHUNKS, last = (number * ATTEND_THREADS + ATTEND_THREADS - 1) / CHUNKS;
        u32 slot = 0;
        if (first < 32) {
            slot = shuffle_from(slots.low, row & 31);
        }
        if (last >= 32) {
            u32 high = shuffle_from(slots.high, row & 31);
            slot = row >= 32 ? high : slot;
        }
        u64 from = static_cast<u64>(slot * source.kv_heads + source.kv_head) * SIZE + 8 * chunk;
        u32 to = place_of<SIZE>(row, chunk);
        bool there = start + row < source.end;
        copy_async(keys_of<SIZE>(stage) + to, source.keys + from, there);
        copy_async(values_of<SIZE>(stage) + to, source.values + from, there);
    }
    copy_commit();
}

// Whether one of two bf16 is infinite or not a number.
DEVICE bool is_odd(u32 pair) { return (pair & 0x7f80u) == 0x7f80u || (pair & 0x7f800000u) == 0x7f800000u; }

// A weight of 0 does not hide a value that is no finite number: 0 * NaN is NaN. So in tiles that some queries see in
// part, such values become zeros, and their token's key NaN, which only those who see the token notice. Each thread
// looks at what it copied itself.
template <u32 SIZE> DEVICE void hide_odd_values(u32 stage) {
#pragma unroll 1
    for (u32 number = 0; number < Shape<SIZE>::COPIES; number++) {
        u32 place = place_of<SIZE>(row_of_copy<SIZE>(number), chunk_of_copy<SIZE>(number));
        u32x4 *value = reinterpret_cast<u32x4 *>(values_of<SIZE>(stage) + place);
        u32x4 four = *value;
        if (is_odd(four.x) || is_odd(four.y) || is_odd(four.z) || is_odd(four.w)) {
            constexpr u32 NAN_PAIR = 0x7fff7fffu;
            *value = {0, 0, 0, 0};
            *reinterpret_cast<u32x4 *>(keys_of<SIZE>(stage) + place) = {NAN_PAIR, NAN_PAIR, NAN_PAIR, NAN_PAIR};
        }
    }
}
