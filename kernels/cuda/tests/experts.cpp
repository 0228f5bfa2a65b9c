// route against the rules written out; assign_seats against a stable sort; add_routed against doubles.
#define EMULATED_FILE experts
#include "../emulated/kernel_file.h"
#include "card.h"
#include <algorithm>
#include <numeric>

namespace {
#include "../add_routed.cu"
#include "../assign_seats.cu"
#include "../route.cu"
EMULATED_BEGIN
EMULATED_KERNEL(add_routed)
EMULATED_KERNEL(assign_seats)
EMULATED_KERNEL(route)

using namespace card;

struct Routing {
    u32 experts, used, groups, used_groups, normalise;
    float scale;
};
struct Routes {
    std::vector<u32> experts;
    std::vector<double> weights;
};

// The first of the greatest that may be taken.
template <class Taken> u32 best(const std::vector<double> &numbers, Taken may_be_taken) {
    u32 best = ~0u;
    for (u32 index = 0; index < numbers.size(); index++) {
        if (may_be_taken(index) && (best == ~0u || numbers[index] > numbers[best])) {
            best = index;
        }
    }
    return best;
}

// One row's, by the rules.
Routes routed(const Routing &routing, const float *scores) {
    std::vector<double> numbers(scores, scores + routing.experts);
    double top = *std::max_element(numbers.begin(), numbers.end()), sum = 0.0;
    for (double &number : numbers) {
        // What is too small for f32 is equal.
        sum += number = static_cast<float>(std::exp(number - top));
    }
    for (double &number : numbers) {
        number /= sum;
    }
    u32 size = routing.groups == 0 ? routing.experts : routing.experts / routing.groups;
    std::vector<bool> open(routing.experts / size, routing.groups == 0), chosen(routing.experts);
    std::vector<double> bests(open.size(), 0.0);
    for (u32 expert = 0; expert < routing.experts; expert++) {
        // What is no number is not greater.
        double &of_group = bests[expert / size];
        of_group = numbers[expert] > of_group ? numbers[expert] : of_group;
    }
    for (u32 group = 0; routing.groups != 0 && group < routing.used_groups; group++) {
        open[best(bests, [&](u32 one) { return !open[one]; })] = true;
    }
    for (u32 one = 0; one < routing.used; one++) {
        chosen[best(numbers, [&](u32 expert) { return open[expert / size] && !chosen[expert]; })] = true;
    }
    Routes routes;
    for (u32 expert = 0; expert < routing.experts; expert++) {
        if (chosen[expert]) {
            routes.experts.push_back(expert);
            routes.weights.push_back(numbers[expert]);
        }
    }
    double total = std::accumulate(routes.weights.begin(), routes.weights.end(), 0.0);
    for (double &weight : routes.weights) {
        weight *= routing.normalise != 0 ? routing.scale / total : routing.scale;
    }
    return routes;
}

struct Chosen {
    Memory<u32> experts;
    Memory<float> weights;
};
Chosen route_all(const Routing &routing, u32 rows, const float *scores) {
    Chosen chosen = {Memory<u32>(rows * routing.used, ~0u), Memory<float>(rows * routing.used)};
    launch("route", {(rows + 3) / 4, 1, 1}, 128, 0, scores, chosen.experts.at(), chosen.weights.at(), rows, routing.experts,
           routing.used, routing.groups, routing.used_groups, routing.normalise, routing.scale);
    return chosen;
}

void check_routes(const Routing &routing, Memory<float> &scores) {
    u32 rows = scores.size() / routing.experts;
    Chosen chosen = route_all(routing, rows, scores.at());
    for (u32 row = 0; row < rows; row++) {
        Routes expected = routed(routing, scores.at(row * routing.experts));
        for (u32 one = 0; one < routing.used; one++) {
            size_t index = row * routing.used + one;
            check(chosen.experts[index] == expected.experts[one], "row %u: expert %u instead of %u", row,
                  chosen.experts[index], expected.experts[one]);
            double weight = expected.weights[one];
            check(std::isnan(weight) == std::isnan(chosen.weights[index]), "row %u: weight %g", row, chosen.weights[index]);
            if (!std::isnan(weight)) {
                check_close(chosen.weights[index], weight, 1e-5 * weight + 1e-30, "weight", index);
            }
        }
        Chosen alone = route_all(routing, 1, scores.at(row * routing.experts));
        check(same_bits(alone.weights.at(), chosen.weights.at(row * routing.used), routing.used), "row %u alone", row);
    }
}

void routes_are_those_of_the_rules() {
    const Routing all[] = {{8, 3, 0, 0, 0, 1.0f},     {64, 6, 0, 0, 0, 1.0f},    {64, 6, 0, 0, 1, 1.0f},
                           {160, 6, 8, 3, 0, 16.0f}, {256, 16, 8, 4, 1, 2.5f}, {33, 1, 3, 1, 0, 1.0f},
                           {1, 1, 0, 0, 1, 1.0f},    {6, 3, 3, 2, 0, 2.0f},    {8, 8, 0, 0, 1, 1.0f}};
    Random random(1);
    for (const Routing &routing : all) {
        Memory<float> scores(21 * routing.experts);
        random.fill(scores, 2.0f);
        auto row = [&](u32 number) { return scores.at(number * routing.experts); };
        for (u32 expert = 0; expert < routing.experts; expert++) {
            // All are equal; few different numbers; the last are the best; far below the best.
            row(1)[expert] = 0.5f;
            row(2)[expert] = static_cast<float>(random.below(3));
            row(3)[expert] = static_cast<float>(expert) * 0.1f;
            row(4)[expert] = expert == 5 ? 300.0f : row(4)[expert];
            row(5)[expert] = expert % 3 == 0 ? -machine::infinity() : row(5)[expert];
            row(6)[expert] = NAN;
            row(7)[expert] = -machine::infinity();
        }
        row(8)[routing.experts - 1] = NAN;
        row(9)[routing.experts / 2] = machine::infinity();
        check_routes(routing, scores);
    }
}

// What assign_seats gives.
struct Seats {
    Memory<u32> rows, seats, tile_count;
    Memory<SeatTile> tiles;
};
Seats assign(Memory<u32> &routes, u32 used, u32 tiles) {
    size_t count = routes.size();
    Seats seats = {Memory<u32>(count, ~0u), Memory<u32>(count, ~0u), Memory<u32>(1, ~0u), Memory<SeatTile>(tiles)};
    launch("assign_seats", {1, 1, 1}, 1024, 0, static_cast<const u32 *>(routes.at()), seats.rows.at(), seats.seats.at(),
           seats.tiles.at(), seats.tile_count.at(), static_cast<u32>(count), used);
    return seats;
}

template <class Pick> void seats_are_sorted(u32 rows, u32 used, u32 experts, Pick pick) {
    Memory<u32> routes(rows * used);
    for (u32 row = 0; row < rows; row++) {
        std::vector<u32> of_row = pick(row);
        check(of_row.size() == used, "the test's own routes");
        std::copy(of_row.begin(), of_row.end(), routes.at(row * used));
    }
    std::vector<u32> sorted(routes.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](u32 a, u32 b) { return routes[a] < routes[b]; });
    u32 count = routes.size(), busy = std::min(experts, count);
    Seats seats = assign(routes, used, (count - busy) / 64 + busy);
    u32 tile = 0;
    for (u32 seat = 0; seat < count; seat++) {
        u32 expert = routes[sorted[seat]];
        u32 found = seats.seats[sorted[seat]];
        check(found == seat, "route %u has seat %u instead of %u", sorted[seat], found, seat);
        check(seats.rows[seat] == sorted[seat] / used, "the row of seat %u", seat);
        const SeatTile &mine = seats.tiles[tile];
        u32 in_tile = mine.end - mine.first;
        check(mine.expert == expert && seat >= mine.first && seat < mine.end && in_tile <= 64, "seat %u", seat);
        // Nothing but an expert's last tile has room left.
        bool is_last = seat + 1 == count || routes[sorted[seat + 1]] != expert;
        check(seat + 1 != mine.end || in_tile == 64 || is_last, "tile %u", tile);
        tile += seat + 1 == mine.end;
    }
    check(seats.tile_count[0] == tile, "%u tiles instead of %u", seats.tile_count[0], tile);
}

void seats_are_those_of_a_stable_sort() {
    Random random(2);
    auto of = [&](u32 used, u32 experts) {
        return [&random, used, experts](u32) {
            std::vector<u32> all(experts);
            std::iota(all.begin(), all.end(), 0);
            for (u32 one = 0; one < used; one++) {
                std::swap(all[one], all[one + random.below(experts - one)]);
            }
            std::sort(all.begin(), all.begin() + used);
            all.resize(used);
            return all;
        };
    };
    for (u32 rows : {1u, 2u, 11u, 64u, 200u, 1000u}) {
        seats_are_sorted(rows, 3, 8, of(3, 8));
        seats_are_sorted(rows, 6, 64, of(6, 64));
        seats_are_sorted(rows, 16, 256, of(16, 256));
    }
    seats_are_sorted(4096, 16, 256, of(16, 256));
    // One expert has all rows, and one each has one; most have none.
    seats_are_sorted(190, 2, 64, [](u32 row) { return std::vector<u32>{7, row == 100 ? 63u : 9u}; });
    seats_are_sorted(65536, 1, 1, [](u32) { return std::vector<u32>{0}; });
    seats_are_sorted(128, 1, 256, [](u32 row) { return std::vector<u32>{row < 64 ? 255u : 0u}; });
    seats_are_sorted(0, 1, 1, of(1, 1));
}

void outputs_are_added_in_the_order_of_routes() {
    Random random(3);
    for (u32 width : {4u, 64u, 2048u, 2564u}) {
        u32 rows = 5, used = 6;
        Memory<float> outputs(rows * used * width), weights(rows * used), stream(rows * width);
        random.fill(outputs);
        random.fill(weights, 0.2f);
        random.fill(stream);
        Memory<u32> seats(rows * used);
        for (u32 route = 0; route < seats.size(); route++) {
            seats[route] = (route * 7 + 3) % seats.size();
        }
        std::vector<float> expected(stream.at(), stream.at() + stream.size());
        for (u32 row = 0; row < rows; row++) {
            for (u32 route = row * used; route < (row + 1) * used; route++) {
                for (u32 at = 0; at < width; at++) {
                    float &sum = expected[row * width + at];
                    sum = std::fma(outputs[seats[route] * width + at], weights[route], sum);
                }
            }
        }
        launch("add_routed", {rows, (width + 1023) / 1024, 1}, 256, 0, static_cast<const float *>(outputs.at()),
               static_cast<const u32 *>(seats.at()), static_cast<const float *>(weights.at()), stream.at(), used, width);
        check(same_bits(stream.at(), expected.data(), expected.size()), "rows of %u", width);
    }
}

} // namespace

int main() {
    routes_are_those_of_the_rules();
    seats_are_those_of_a_stable_sort();
    outputs_are_added_in_the_order_of_routes();
    puts("experts: passed");
}
