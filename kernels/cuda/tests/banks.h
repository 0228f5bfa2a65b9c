// Banks of shared memory, which serves eight accesses of 16 bytes at once, if each is to other ones.
#pragma once
#include "../tiles.cuh"
#include "card.h"

// Of tiles of ROWS tokens: the copies of eight threads that follow each other, and a matrix of ldmatrix, which is one
// chunk of eight rows, have no conflicts.
template <u32 SIZE, u32 ROWS> void tiles_have_no_bank_conflicts() {
    using card::check;
    constexpr u32 CHUNKS = SIZE / 8, ALL = ROWS * CHUNKS;
    std::vector<bool> taken(ALL, false);
    auto banks = [](u32 place) { return 1u << place / 8 % 8; };
    for (u32 copy = 0; copy < ALL; copy += 8) {
        u32 written = 0;
        for (u32 thread = copy; thread < copy + 8; thread++) {
            u32 place = place_of<SIZE>(thread / CHUNKS, thread % CHUNKS);
            check(place / 8 < ALL && !taken[place / 8], "two chunks share a place, heads of %u", SIZE);
            taken[place / 8] = true;
            written |= banks(place);
        }
        check(written == 0xff, "copies have bank conflicts, heads of %u", SIZE);
    }
    for (u32 row = 0; row < ROWS; row += 8) {
        for (u32 chunk = 0; chunk < CHUNKS; chunk++) {
            u32 read = 0;
            for (u32 further = 0; further < 8; further++) {
                read |= banks(place_of<SIZE>(row + further, chunk));
            }
            check(read == 0xff, "ldmatrix has bank conflicts, heads of %u", SIZE);
        }
    }
}
