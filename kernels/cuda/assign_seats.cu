// Gives routes their seats: sorts them by expert, then by row, and cuts each expert's seats into tiles.
// Shapes: routes[count] (numbers of experts, below 256; `used` a row, no two of them equal), rows_of_seats[count],
// seats_of_routes[count], tiles[..], tile_count[1]; count up to 65536. Grid 1, block 1024.
//
// Each warp has a stretch of the routes, counts its experts, and then gives out seats from where the warps before it end.
#include "seats.cuh"

constexpr u32 ASSIGN_WARPS = 32;

// Collective. The lanes that have this expert.
DEVICE u32 lanes_with(u32 expert, bool there) {
    u32 same = warp_ballot(there);
#pragma unroll
    for (u32 bit = 0; (1u << bit) < EXPERTS_MOST; bit++) {
        bool is_set = (expert >> bit & 1) != 0;
        u32 set = warp_ballot(is_set);
        same &= is_set ? set : ~set;
    }
    return same;
}

// Collective. Calls visit(route, expert, before, all, there) for each route of [first, end): how many routes of the same
// 32 that are `before` it, and how many in `all`, have its expert. What it writes to shared memory is seen by the next ones.
template <class Visit> DEVICE void each_route(const u32 *routes, u32 first, u32 end, Visit visit) {
    for (u32 start = first; start < end; start += 32) {
        u32 route = start + lane_index();
        bool there = route < end;
        u32 expert = there ? routes[route] : 0, same = lanes_with(expert, there);
        visit(route, expert, machine::count_ones(same & ((1u << lane_index()) - 1)), machine::count_ones(same), there);
        sync_warp();
    }
}

// What experts before this thread's have in all, for the first EXPERTS_MOST threads: seats, and tiles in the upper half.
DEVICE u64 sum_before(u64 mine, u64 *warp_sums) {
    u64 sum = mine;
#pragma unroll
    for (u32 by = 1; by < 32; by *= 2) {
        u64 other = shuffle_up(sum, by);
        sum += lane_index() >= by ? other : 0;
    }
    if (lane_index() == 31) {
        warp_sums[warp_index()] = sum;
    }
    __syncthreads();
    u64 before = sum - mine;
    for (u32 warp = 0; warp < warp_index() && warp < EXPERTS_MOST / 32; warp++) {
        before += warp_sums[warp];
    }
    return before;
}

extern "C" __global__ void __launch_bounds__(32 * ASSIGN_WARPS)
assign_seats(const u32 *routes, u32 *rows_of_seats, u32 *seats_of_routes, SeatTile *tiles, u32 *tile_count, u32 count,
             u32 used) {
    // Of each warp and expert: how many routes, then the next seat.
    __shared__ u32 next[ASSIGN_WARPS][EXPERTS_MOST];
    __shared__ u64 warp_sums[ASSIGN_WARPS];
    u32 stretch = (count + 32 * ASSIGN_WARPS - 1) / (32 * ASSIGN_WARPS) * 32;
    u32 first = machine::min(warp_index() * stretch, count), end = machine::min(first + stretch, count);
    u32 *my_next = next[warp_index()];
    for (u32 expert = lane_index(); expert < EXPERTS_MOST; expert += 32) {
        my_next[expert] = 0;
    }
    sync_warp();
    each_route(routes, first, end, [&](u32, u32 expert, u32 before, u32 all, bool there) {
        if (there && before == 0) {
            my_next[expert] += all;
        }
    });
    __syncthreads();

    u32 mine = threadIdx.x, seats = 0;
    for (u32 warp = 0; warp < ASSIGN_WARPS && mine < EXPERTS_MOST; warp++) {
        u32 of_warp = next[warp][mine];
        next[warp][mine] = seats;
        seats += of_warp;
    }
    u32 my_tiles = (seats + TILE_SEATS - 1) / TILE_SEATS;
    u64 before = sum_before(static_cast<u64>(my_tiles) << 32 | seats, warp_sums);
    u32 first_seat = static_cast<u32>(before), first_tile = static_cast<u32>(before >> 32);
    for (u32 warp = 0; warp < ASSIGN_WARPS && mine < EXPERTS_MOST; warp++) {
        next[warp][mine] += first_seat;
    }
    for (u32 tile = 0; tile < my_tiles; tile++) {
        u32 seat = first_seat + tile * TILE_SEATS;
        tiles[first_tile + tile] = {mine, seat, machine::min(seat + TILE_SEATS, first_seat + seats)};
    }
    if (mine == EXPERTS_MOST - 1) {
        *tile_count = first_tile + my_tiles;
    }
    __syncthreads();

    each_route(routes, first, end, [&](u32 route, u32 expert, u32 before, u32 all, bool there) {
        u32 seat = there ? my_next[expert] + before : 0;
        sync_warp();
        if (there) {
            seats_of_routes[route] = seat;
            rows_of_seats[seat] = route / used;
            if (before == 0) {
                my_next[expert] += all;
            }
        }
    });
}
