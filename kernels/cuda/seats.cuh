// Seats: the rows of experts, sorted by expert, then by row.
#pragma once
#include "machine.cuh"

constexpr u32 TILE_SEATS = 64;
constexpr u32 EXPERTS_MOST = 256;

// The seats [first, end) are of one expert, and TILE_SEATS at most.
struct SeatTile {
    u32 expert, first, end;
};
