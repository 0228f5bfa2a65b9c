// attend_latent_R_P and merge_parts against latent attention in doubles.
#define EMULATED_FILE attend_latent
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../attend_latent.cu"
#include "../merge_parts.cu"
#include "banks.h"
EMULATED_BEGIN
EMULATED_KERNEL(attend_latent_512_64)
EMULATED_KERNEL(attend_latent_32_32)
EMULATED_KERNEL(merge_parts)

using namespace card;

constexpr unsigned short POISON = 0x7fff;

struct Sizes {
    u32 rank, rope;
    u32 key() const { return rank + rope; }
};
constexpr Sizes ALL_SIZES[] = {{512, 64}, {32, 32}};

// Rows that share a list of slots, and where each is: the last ones.
struct World {
    Sizes sizes;
    u32 heads;
    float scale;
    Memory<bf16> queries, keys;
    Memory<u32> slots, positions;

    World(Sizes sizes, u32 heads, u32 rows, u32 tokens, u64 seed)
        : sizes(sizes), heads(heads), scale(1.0f / std::sqrt(float(sizes.key()))), queries(rows * heads * sizes.key()),
          keys(2 * tokens * sizes.key()), slots(tokens), positions(rows) {
        Random random(seed);
        random.fill(queries);
        random.fill(keys);
        // Every token has a slot of its own, in no order.
        for (u32 token = 0; token < tokens; token++) {
            slots[token] = 2 * token + random.below(2);
        }
        for (u32 token = tokens; token-- > 1;) {
            std::swap(slots[token], slots[random.below(token + 1)]);
        }
        for (u32 row = 0; row < rows; row++) {
            positions[row] = tokens - rows + row;
        }
    }

    u32 rows() const { return static_cast<u32>(positions.size()); }
    // Numbers of a row of `out`.
    u32 per_row() const { return heads * sizes.rank; }
    bf16 *key(u32 token) { return keys.at(slots[token] * sizes.key()); }
    bf16 *query(u32 row, u32 head) { return queries.at((row * heads + head) * sizes.key()); }

    // One head's output in doubles, the weighted mean of the values' magnitudes after it.
    std::vector<double> expected(u32 row, u32 head, u32 begin, u32 end) {
        std::vector<double> scores;
        double greatest = -INFINITY;
        for (u32 token = begin; token < end && token <= positions[row]; token++) {
            double score = 0.0;
            for (u32 at = 0; at < sizes.key(); at++) {
                score += double(to_float(query(row, head)[at])) * to_float(key(token)[at]);
            }
            scores.push_back(score * scale);
            greatest = std::fmax(greatest, scores.back());
        }
        std::vector<double> sums(2 * sizes.rank, 0.0);
        double total = 0.0;
        for (u32 index = 0; index < scores.size(); index++) {
            double weight = std::exp(scores[index] - greatest);
            total += weight;
            for (u32 at = 0; at < sizes.rank; at++) {
                double value = to_float(key(begin + index)[at]);
                sums[at] += weight * value;
                sums[sizes.rank + at] += weight * std::fabs(value);
            }
        }
        for (double &sum : sums) {
            sum = total == 0.0 ? 0.0 : sum / total;
        }
        return sums;
    }
};

struct Result {
    Memory<bf16> out;
    Memory<float> sums, stats;
};

// Runs the tasks, and two more that are none.
Result attend_all(World &world, std::vector<Task> tasks, u32 parts = 0) {
    Result result = {Memory<bf16>(world.rows() * world.per_row(), bf16{POISON}),
                     Memory<float>(parts * world.per_row(), NAN), Memory<float>(parts * world.heads * 2, NAN)};
    Memory<u32> count({static_cast<u32>(tasks.size())});
    Memory<Task> all(tasks);
    std::string name = "attend_latent_" + std::to_string(world.sizes.rank) + "_" + std::to_string(world.sizes.rope);
    launch(name.c_str(), {static_cast<u32>(tasks.size()) + 2, 1, 1}, 256, 128 * world.sizes.key() + 16384,
           world.queries.at(), world.keys.at(), all.at(), count.at(), world.slots.at(), world.positions.at(),
           result.out.at(), result.sums.at(), result.stats.at(), world.heads, world.scale);
    return result;
}

Memory<bf16> merge_all(World &world, Result &result, Memory<Parts> &parts) {
    Memory<bf16> out(parts.size() * world.per_row(), bf16{POISON});
    launch("merge_parts", {static_cast<u32>(parts.size()), world.heads, 1}, world.sizes.rank, 0, result.sums.at(),
           result.stats.at(), parts.at(), out.at(), world.heads, world.sizes.rank);
    return out;
}

// All queries of the rows over [begin, end), 64 a task; the list of slots begins with `first_token`.
void add_tasks(std::vector<Task> &tasks, const World &world, u32 first_row, u32 rows, u32 begin, u32 end,
               u32 partial = WHOLE, u32 first_token = 0) {
    for (u32 first = 0; first < rows * world.heads; first += 64) {
        tasks.push_back({first_row, rows, first, first_token, first_token, begin, end, partial});
    }
}

void check_rows(World &world, Memory<bf16> &out, u32 first_row, u32 rows, u32 begin, u32 end, const char *what) {
    u32 rank = world.sizes.rank;
    for (u32 row = first_row; row < first_row + rows; row++) {
        for (u32 head = 0; head < world.heads; head++) {
            std::vector<double> expected = world.expected(row, head, begin, end);
            for (u32 at = 0; at < rank; at++) {
                size_t index = (row * world.heads + head) * rank + at;
                check_close(to_float(out[index]), expected[at], 2.0 * rounding(expected[rank + at]), what, index);
            }
        }
    }
}

void attention_is_that_of_doubles() {
    u64 seed = 1;
    for (Sizes sizes : ALL_SIZES) {
        for (u32 heads : {1, 5, 16}) {
            u32 rows = heads == 1 ? 70 : 9, tokens = 130 + 7 * heads;
            World world(sizes, heads, rows, tokens, seed++);
            std::vector<Task> tasks;
            // A list of slots that begins past the first token; a range that begins and ends within tiles.
            u32 begin = heads == 5 ? 45 : 0, end = heads == 1 ? tokens - 10 : tokens;
            add_tasks(tasks, world, 0, rows, begin, end, WHOLE, begin);
            Result result = attend_all(world, tasks);
            check_rows(world, result.out, 0, rows, begin, end, "whole");
        }
    }
}

// Positions and ends at and beside the edges of tiles, from one token to more tiles than there are stages.
void tiles_end_anywhere() {
    for (Sizes sizes : ALL_SIZES) {
        for (u32 edge = 16; edge <= 96; edge += 16) {
            for (u32 tokens : {edge - 15, edge - 1, edge, edge + 1}) {
                World world(sizes, 2, 3, tokens + 3, edge + tokens);
                for (u32 row = 0; row < 3; row++) {
                    world.positions[row] = tokens - 1 + row;
                }
                std::vector<Task> tasks;
                add_tasks(tasks, world, 0, 2, 0, tokens + 2);
                add_tasks(tasks, world, 2, 1, 0, tokens);
                Result result = attend_all(world, tasks);
                check_rows(world, result.out, 0, 2, 0, tokens + 2, "its own position");
                check_rows(world, result.out, 2, 1, 0, tokens, "the range's end");
            }
        }
    }
}

// Tokens that all rows share, in parts of different lengths, which chunks of rows have for themselves; then each row's own.
void parts_merge_to_the_whole() {
    for (Sizes sizes : ALL_SIZES) {
        u32 rows = 7, tokens = 210, shared = 150;
        World world(sizes, 6, rows, tokens, sizes.rank);
        world.positions[2] = 20;
        world.positions[3] = 0;
        std::vector<Task> tasks;
        u32 bounds[] = {0, 64, 130, 131, shared}, parts_shared = 4;
        for (u32 part = 0; part < parts_shared; part++) {
            add_tasks(tasks, world, 0, 3, bounds[part], bounds[part + 1], part * rows);
            add_tasks(tasks, world, 3, 4, bounds[part], bounds[part + 1], part * rows + 3);
        }
        Memory<Parts> parts(rows + 1);
        for (u32 row = 0; row < rows; row++) {
            u32 own = parts_shared * rows + 2 * row;
            add_tasks(tasks, world, row, 1, shared, shared + 1 + row, own, shared);
            add_tasks(tasks, world, row, 1, shared + 1 + row, tokens, own + 1, shared);
            parts[row] = {row, rows, parts_shared, own, 1, 2};
            // Their list of slots begins with the first token of their own.
            tasks[tasks.size() - 1].slots_at = tasks[tasks.size() - 2].slots_at = shared;
        }
        parts[rows] = {0, 0, 0, 0, 0, 0};
        Result result = attend_all(world, tasks, (parts_shared + 2) * rows);
        Memory<bf16> out = merge_all(world, result, parts);
        check_rows(world, out, 0, rows, 0, tokens, "merged");
        for (u32 at = 0; at < world.per_row(); at++) {
            check(out[rows * world.per_row() + at].bits == 0, "a row without parts is not zeros");
        }
        // Position 0 sees nothing of the second part.
        size_t unseen = (rows + 3) * world.heads;
        check(result.stats[2 * unseen] == -INFINITY && result.stats[2 * unseen + 1] == 0.0f &&
                  result.sums[unseen * sizes.rank] == 0.0f,
              "what sees nothing leaves %f, %f", result.stats[2 * unseen], result.stats[2 * unseen + 1]);
    }
}

void a_row_that_sees_nothing_is_zeros() {
    for (Sizes sizes : ALL_SIZES) {
        World world(sizes, 4, 3, 100, 5);
        world.positions[1] = 10;
        std::vector<Task> tasks;
        add_tasks(tasks, world, 0, 2, 40, 90, WHOLE, 40);
        add_tasks(tasks, world, 2, 1, 50, 50);
        Result result = attend_all(world, tasks);
        check_rows(world, result.out, 0, 2, 40, 90, "beside a row that sees nothing");
        check_rows(world, result.out, 2, 1, 50, 50, "an empty range");
    }
}

// The same row alone, among others, and at another place of the block gives the same bits; parts are as good as rows.
void a_row_does_not_depend_on_its_neighbours() {
    for (Sizes sizes : ALL_SIZES) {
        u32 rows = 23, tokens = 180;
        World world(sizes, 7, rows, tokens, 77 + sizes.rank);
        world.positions[4] = 12;
        std::vector<Task> together, alone, in_parts;
        add_tasks(together, world, 0, rows, 3, tokens, WHOLE, 3);
        for (u32 row = 0; row < rows; row++) {
            add_tasks(alone, world, row, 1, 3, tokens, WHOLE, 3);
        }
        for (u32 row = 0; row < rows; row += 5) {
            add_tasks(in_parts, world, row, std::min(5u, rows - row), 3, tokens, row, 3);
        }
        Result a = attend_all(world, together), b = attend_all(world, alone), c = attend_all(world, in_parts, rows);
        check(same_bits(a.out.at(), b.out.at(), a.out.size()), "rows alone differ, rank %u", sizes.rank);
        for (Task &task : together) {
            task.partial = 0;
        }
        Result d = attend_all(world, together, rows);
        check(same_bits(c.sums.at(), d.sums.at(), c.sums.size()), "parts differ, rank %u", sizes.rank);
        check(same_bits(c.stats.at(), d.stats.at(), c.stats.size()), "parts' stats differ, rank %u", sizes.rank);
    }
}

// What is no number in one row's query, or in what only later rows see, leaves the others' bits alone.
void nan_stays_where_it_is() {
    for (Sizes sizes : ALL_SIZES) {
        u32 rows = 30, tokens = 150, rank = sizes.rank;
        World world(sizes, 4, rows, tokens, 9);
        std::vector<Task> tasks;
        add_tasks(tasks, world, 0, rows, 0, tokens);
        Result before = attend_all(world, tasks);
        world.query(7, 1)[3].bits = 0x7fc0;
        u32 first = tokens - rows;
        // In values of both halves, and in a rotated part.
        world.key(first + 20)[5].bits = 0x7fc0;
        world.key(first + 21)[rank - 1].bits = 0xff80;
        world.key(first + 22)[rank + 1].bits = 0x7f80;
        Result after = attend_all(world, tasks);
        for (u32 row = 0; row < 20; row++) {
            for (u32 head = 0; head < 4; head++) {
                size_t at = (row * world.heads + head) * rank;
                bool same = same_bits(before.out.at(at), after.out.at(at), rank);
                check(same == (row != 7 || head != 1), "row %u, head %u beside NaN", row, head);
            }
        }
        for (u32 row = 20; row < rows; row++) {
            check(std::isnan(to_float(after.out[row * world.per_row() + 5])), "row %u sees NaN", row);
        }
        // A token that all of a block see: each of them gets NaN.
        world.key(3)[rank / 2].bits = 0x7fc0;
        Result last = attend_all(world, tasks);
        for (u32 row = 0; row < rows; row++) {
            check(std::isnan(to_float(last.out[row * world.per_row() + rank / 2])), "row %u of all sees NaN", row);
        }
    }
}

} // namespace

int main() {
    tiles_have_no_bank_conflicts<576, 16>();
    tiles_have_no_bank_conflicts<64, 16>();
    attention_is_that_of_doubles();
    tiles_end_anywhere();
    parts_merge_to_the_whole();
    a_row_that_sees_nothing_is_zeros();
    a_row_does_not_depend_on_its_neighbours();
    nan_stays_where_it_is();
    puts("attend_latent: passed");
}
