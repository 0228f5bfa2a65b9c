// Tiles of latent keys on their way from their slots to shared memory. A key's first RANK numbers are its value, too.
//
// Rows, chunks and swizzle are those of tiles.cuh. STAGES tiles take 2 * STAGES * TILE * SIZE bytes.
#pragma once
#include "tiles.cuh"

constexpr u32 LATENT_THREADS = 256;

template <u32 RANK_, u32 ROPE_> struct Latent {
    static constexpr u32 RANK = RANK_, SIZE = RANK_ + ROPE_;
    static constexpr u32 TILE = 16, STAGES = 4;
    static constexpr u32 CHUNKS = SIZE / 8, TILE_CHUNKS = TILE * CHUNKS;
    static constexpr u32 COPIES = (TILE_CHUNKS + LATENT_THREADS - 1) / LATENT_THREADS;
};

// The tokens of a task, and where their keys are.
struct LatentSource {
    const bf16 *keys;
    // Of the token 0, if the list began there: only [begin, end) is read.
    const u32 *slots;
    u32 end;
};

template <class Shape> DEVICE bf16 *latent_tile(u32 number) {
    return dynamic_shared<bf16>() + number % Shape::STAGES * (Shape::TILE * Shape::SIZE);
}

// The slots of the tile that begins with the token `start`: a lane has that of token `lane`, and so have all 16 after it.
DEVICE u32 load_latent_slots(const LatentSource &source, u32 start) {
    u32 token = start + lane_index() % 16;
    return token < source.end ? source.slots[token] : 0;
}

// Starts the copies of the tile that begins with the token `start`; tokens past the end become zeros.
template <class Shape> DEVICE void start_latent_tile(const LatentSource &source, u32 start, u32 slots, bf16 *tile) {
#pragma unroll
    for (u32 number = 0; number < Shape::COPIES; number++) {
        u32 copy = number * LATENT_THREADS + threadIdx.x;
        u32 row = copy / Shape::CHUNKS, chunk = copy % Shape::CHUNKS;
        u64 slot = shuffle_from(slots, row % Shape::TILE);
        if (copy < Shape::TILE_CHUNKS) {
            copy_async(tile + place_of<Shape::SIZE>(row, chunk), source.keys + slot * Shape::SIZE + 8 * chunk,
                       start + row < source.end);
        }
    }
}

// As hide_odd_values: values that are no finite numbers become zeros, and the rotated part of their token's key NaN, which
// only those who see the token notice. All of the tile must be there.
template <class Shape> DEVICE void hide_odd_latents(bf16 *tile) {
    constexpr u32 VALUE_CHUNKS = Shape::RANK / 8, NAN_PAIR = 0x7fff7fffu;
#pragma unroll 1
    for (u32 index = threadIdx.x; index < Shape::TILE * VALUE_CHUNKS; index += LATENT_THREADS) {
        u32 row = index / VALUE_CHUNKS;
        u32x4 *value = reinterpret_cast<u32x4 *>(tile + place_of<Shape::SIZE>(row, index % VALUE_CHUNKS));
        u32x4 four = *value;
        if (is_odd(four.x) || is_odd(four.y) || is_odd(four.z) || is_odd(four.w)) {
            *value = {0, 0, 0, 0};
            bf16 *turned = tile + place_of<Shape::SIZE>(row, VALUE_CHUNKS);
            *reinterpret_cast<u32x4 *>(turned) = {NAN_PAIR, NAN_PAIR, NAN_PAIR, NAN_PAIR};
        }
    }
}
