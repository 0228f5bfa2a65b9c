// What the lanes of a warp do together, once all have come: shuffles, ldmatrix, mma; and each thread's own copies.
#include "../machine.cuh"
#include <algorithm>

namespace emulated {
namespace {

// Each lane's value becomes that of the lane that `source` names; of the own one where that is no lane.
template <class Source> void move_values(Slot *slots, Source source) {
    u64 values[warp_size];
    for (u32 lane = 0; lane < warp_size; lane++) {
        values[lane] = slots[lane].word.value;
    }
    for (u32 lane = 0; lane < warp_size; lane++) {
        u32 from = source(lane, slots[lane].word.argument);
        slots[lane].word.value = values[from < warp_size ? from : lane];
    }
}

void move_by_xor(Slot *slots) {
    move_values(slots, [](u32 lane, u32 mask) { return lane ^ (mask % warp_size); });
}
void move_from_above(Slot *slots) {
    move_values(slots, [](u32 lane, u32 by) { return lane + by % warp_size; });
}
void move_from_below(Slot *slots) {
    move_values(slots, [](u32 lane, u32 by) { return lane - by % warp_size; });
}
void move_from_lane(Slot *slots) {
    move_values(slots, [](u32, u32 lane) { return lane % warp_size; });
}

void count_votes(Slot *slots) {
    u64 votes = 0;
    for (u32 lane = 0; lane < warp_size; lane++) {
        votes |= (slots[lane].word.value & 1) << lane;
    }
    for (u32 lane = 0; lane < warp_size; lane++) {
        slots[lane].word.value = votes;
    }
}

void meet(Slot *) {}

// Matrix m's rows are those that lanes 8 m to 8 m + 7 name.
template <bool transposed> void load_matrices_of(Slot *slots) {
    unsigned short rows[warp_size][8];
    for (u32 lane = 0; lane < warp_size; lane++) {
        memcpy(rows[lane], slots[lane].matrices.row, sizeof rows[lane]);
    }
    for (u32 lane = 0; lane < warp_size; lane++) {
        u32 group = lane / 4, two = lane % 4 * 2;
        for (u32 matrix = 0; matrix < 4; matrix++) {
            const unsigned short(*of)[8] = rows + 8 * matrix;
            u32 low = transposed ? of[two][group] : of[group][two];
            u32 high = transposed ? of[two + 1][group] : of[group][two + 1];
            slots[lane].matrices.pairs[matrix] = low | high << 16;
        }
    }
}

void multiply_fragments(Slot *slots) {
    // a with its columns as rows, so that the innermost loop below is over neighbours.
    float a[16][16], b[16][8], sums[16][8];
    for (u32 lane = 0; lane < warp_size; lane++) {
        u32 group = lane / 4, two = lane % 4 * 2;
        const auto &mine = slots[lane].product;
        for (u32 part = 0; part < 4; part++) {
            u32 row = group + part % 2 * 8, column = two + part / 2 * 8;
            a[row][column] = low_of(mine.a[part]);
            a[row][column + 1] = high_of(mine.a[part]);
        }
        for (u32 part = 0; part < 2; part++) {
            b[two + 8 * part][group] = low_of(mine.b[part]);
            b[two + 8 * part + 1][group] = high_of(mine.b[part]);
            memcpy(&sums[group + 8 * part][two], &mine.sums[2 * part], 2 * sizeof(float));
        }
    }
    for (u32 row = 0; row < 16; row++) {
        for (u32 inner = 0; inner < 16; inner++) {
            for (u32 column = 0; column < 8; column++) {
                sums[row][column] += a[row][inner] * b[inner][column];
            }
        }
    }
    for (u32 lane = 0; lane < warp_size; lane++) {
        u32 group = lane / 4, two = lane % 4 * 2;
        for (u32 part = 0; part < 2; part++) {
            memcpy(&slots[lane].product.sums[2 * part], &sums[group + 8 * part][two], 2 * sizeof(float));
        }
    }
}

void make(const Copy &copy) {
    if (copy.from != nullptr) {
        memcpy(copy.to, copy.from, 16);
    } else {
        memset(copy.to, 0, 16);
    }
}

} // namespace

const Collective shuffle_by_xor = {"shuffle_xor", move_by_xor};
const Collective shuffle_from_above = {"shuffle_down", move_from_above};
const Collective shuffle_from_below = {"shuffle_up", move_from_below};
const Collective shuffle_from_lane = {"shuffle_from", move_from_lane};
const Collective vote = {"warp_ballot", count_votes};
const Collective meeting = {"sync_warp", meet};
const Collective load = {"load_matrices", load_matrices_of<false>};
const Collective load_transposed = {"load_matrices_transposed", load_matrices_of<true>};
const Collective product = {"multiply", multiply_fragments};

void start_copy(void *shared, const void *global, bool there, u32 line) {
    check_shared(shared, 16, "copy_async", line);
    if (reinterpret_cast<u64>(global) % 16 != 0) {
        fail("copy_async, line %u: %p is no multiple of 16", line, global);
    }
    current->copies.push_back({shared, there ? global : nullptr, current->copy_group});
}

void end_copies(u32 newest) {
    std::vector<Copy> &copies = current->copies;
    auto is_due = [&](const Copy &copy) { return copy.group + newest < current->copy_group; };
    // Groups follow one another, so the due ones come first.
    auto rest = std::find_if_not(copies.begin(), copies.end(), is_due);
    std::for_each(copies.begin(), rest, make);
    copies.erase(copies.begin(), rest);
}

} // namespace emulated
