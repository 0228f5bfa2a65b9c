// What products multiply, and where they go: weights of 16 or 8 bits, rows that follow each other or that a list names.
//
// Which input is which column of mma is free, as long as both sides agree. So a lane takes inputs that follow each other,
// 16 bytes of weights a piece: four lanes have a PIECE each, and so on from there.
#pragma once
#include "machine.cuh"

// A matrix[outputs][inputs]. Of 16 bits: bf16. Of 8 bits: signed bytes from -127 to 127, in each four of which the middle
// two have changed places (the bytes of a u32 are the inputs 0, 2, 1, 3), and scales[ceil(inputs / 128)][outputs]: a weight
// is byte * scale.
template <u32 BITS> struct Matrix {
    // Inputs of 16 bytes.
    static constexpr u32 PIECE = 128 / BITS;
    static constexpr bool SCALED = BITS == 8;
    static constexpr u32 SCALE_INPUTS = 128;
    const unsigned char *bytes;
    const float *scales;
    u32 inputs, outputs;

    __device__ __forceinline__ const unsigned char *at(u32 output, u32 input) const {
        return bytes + (static_cast<u64>(output) * inputs + input) * BITS / 8;
    }
    // What an output's sums over inputs with this one's scale are multiplied by.
    __device__ __forceinline__ float scale(u32 output, u32 input) const {
        return output < outputs ? scales[static_cast<u64>(input / SCALE_INPUTS) * outputs + output] : 0.0f;
    }
    // The matrix `number` of those that begin here.
    __device__ __forceinline__ Matrix matrix(u32 number) const {
        u64 groups = (inputs + SCALE_INPUTS - 1) / SCALE_INPUTS, size = static_cast<u64>(outputs) * inputs * BITS / 8;
        return {bytes + number * size, scales + (SCALED ? number * groups * outputs : 0), inputs, outputs};
    }
};

// Four bytes become two pairs of bf16, exactly: 0x4300 with the low seven bits is 128 more than they, 0xc300 with the
// highest one -128, or -256.
DEVICE void widen(u32 bytes, u32 &first, u32 &second) {
    u32 odd = bytes >> 8;
    first = add_pairs((bytes & 0x007f007fu) | 0x43004300u, (bytes & 0x00800080u) | 0xc300c300u);
    second = add_pairs((odd & 0x007f007fu) | 0x43004300u, (odd & 0x00800080u) | 0xc300c300u);
}

// A piece as pairs of bf16, two for each of the products of 16 inputs that it is part of.
DEVICE void widen_piece(const u32x4 &piece, u32 (&pairs)[4]) {
    pairs[0] = piece.x;
    pairs[1] = piece.y;
    pairs[2] = piece.z;
    pairs[3] = piece.w;
}
DEVICE void widen_piece(const u32x4 &piece, u32 (&pairs)[8]) {
    widen(piece.x, pairs[0], pairs[1]);
    widen(piece.y, pairs[2], pairs[3]);
    widen(piece.z, pairs[4], pairs[5]);
    widen(piece.w, pairs[6], pairs[7]);
}

// The rows of a block, `count` of them: row r is that number[r] of x, or r where there is no list.
struct Rows {
    const bf16 *x;
    // Elements from one to the next; a multiple of 8, and x is one of 16 bytes.
    u32 stride;
    const u32 *numbers;
    u32 count;

    // 0 past the end.
    __device__ __forceinline__ u32 number(u32 row) const {
        return row >= count ? 0 : numbers == nullptr ? row : numbers[row];
    }
    __device__ __forceinline__ const bf16 *at(u32 number) const { return x + static_cast<u64>(number) * stride; }
};

// Where a block's product goes: that of its row r and of an output to first + r * stride + output.
struct Target {
    void *out;
    u64 first;
    u32 stride;
    // Whether they are f32 rather than bf16, and whether the product is added to what is there.
    u32 wide, add;
};

DEVICE void store_one(const Target &target, u32 row, u32 output, float sum) {
    u64 at = target.first + static_cast<u64>(row) * target.stride + output;
    if (target.wide != 0) {
        float *to = static_cast<float *>(target.out) + at;
        *to = target.add != 0 ? *to + sum : sum;
    } else {
        bf16 *to = static_cast<bf16 *>(target.out) + at;
        *to = to_bf16(target.add != 0 ? to_float(*to) + sum : sum);
    }
}
