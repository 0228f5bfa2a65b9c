// attend_N and merge_parts against attention in doubles.
#define EMULATED_FILE attend
#include "../emulated/kernel_file.h"
#include "card.h"

namespace {
#include "../attend.cu"
#include "../merge_parts.cu"
#include "banks.h"
EMULATED_BEGIN
EMULATED_KERNEL(attend_32)
EMULATED_KERNEL(attend_64)
EMULATED_KERNEL(attend_96)
EMULATED_KERNEL(attend_128)
EMULATED_KERNEL(attend_256)
EMULATED_KERNEL(merge_parts)

using namespace card;

struct Settings {
    u32 size, heads, kv_heads;
    float scale, softcap;
    u32 window;
};

// Rows that share a list of slots, and where each is.
struct World {
    Settings settings;
    Memory<bf16> queries, keys, values;
    Memory<u32> slots, positions;

    World(Settings settings, u32 rows, u32 tokens, u64 seed)
        : settings(settings), queries(rows * settings.heads * settings.size),
          keys(2 * tokens * settings.kv_heads * settings.size), values(keys.size()), slots(tokens), positions(rows) {
        Random random(seed);
        random.fill(queries);
        random.fill(keys);
        random.fill(values);
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

    u32 per_row() const { return settings.heads * settings.size; }
    bf16 *key(Memory<bf16> &of, u32 token, u32 kv_head) {
        return of.at((slots[token] * settings.kv_heads + kv_head) * settings.size);
    }

    bool sees(u32 row, u32 token, u32 begin, u32 end) const {
        u32 position = positions[row];
        return token >= begin && token < end && token <= position &&
               (settings.window == 0 || token + settings.window > position);
    }

    // One head's output in doubles, the weighted mean of the values' magnitudes after it.
    std::vector<double> expected(u32 row, u32 head, u32 begin, u32 end) {
        u32 size = settings.size, kv_head = head / (settings.heads / settings.kv_heads);
        const bf16 *query = queries.at((row * settings.heads + head) * size);
        std::vector<double> scores;
        double greatest = -INFINITY;
        for (u32 token = begin; token < end; token++) {
            double score = 0.0;
            for (u32 at = 0; at < size; at++) {
                score += double(to_float(query[at])) * to_float(key(keys, token, kv_head)[at]);
            }
            score *= settings.scale;
            score = settings.softcap > 0.0f ? settings.softcap * std::tanh(score / settings.softcap) : score;
            scores.push_back(sees(row, token, begin, end) ? score : -INFINITY);
            greatest = std::fmax(greatest, scores.back());
        }
        std::vector<double> sums(2 * size, 0.0);
        double total = 0.0;
        for (u32 token = begin; token < end; token++) {
            double weight = scores[token - begin] == -INFINITY ? 0.0 : std::exp(scores[token - begin] - greatest);
            total += weight;
            for (u32 at = 0; weight > 0.0 && at < size; at++) {
                double value = to_float(key(values, token, kv_head)[at]);
                sums[at] += weight * value;
                sums[size + at] += weight * std::fabs(value);
            }
        }
        for (double &sum : sums) {
            sum = total == 0.0 ? 0.0 : sum / total;
        }
        return sums;
    }
};

constexpr u32 POISON = 0x7fff;

struct Result {
    Memory<bf16> out;
    Memory<float> sums, stats;
};

// Runs the tasks, and two more that are none.
Result attend_all(World &world, std::vector<Task> tasks, u32 parts) {
    const Settings &settings = world.settings;
    u32 rows = static_cast<u32>(world.positions.size());
    Result result = {Memory<bf16>(rows * world.per_row(), bf16{POISON}),
                     Memory<float>(parts * world.per_row(), NAN), Memory<float>(parts * settings.heads * 2, NAN)};
    Memory<u32> count({static_cast<u32>(tasks.size())});
    Memory<Task> all(tasks);
    std::string name = "attend_" + std::to_string(settings.size);
    u32 tile = settings.size > 128 ? 32 : 64;
    launch(name.c_str(), {static_cast<u32>(tasks.size()) + 2, settings.kv_heads, 1}, 128, 8 * tile * settings.size,
           world.queries.at(), world.keys.at(), world.values.at(), all.at(), count.at(), world.slots.at(),
           world.positions.at(), result.out.at(), result.sums.at(), result.stats.at(), settings.heads,
           settings.kv_heads, settings.scale, settings.softcap, settings.window);
    return result;
}

// All queries of the rows over [begin, end), 64 a task.
void add_tasks(std::vector<Task> &tasks, const Settings &settings, u32 first_row, u32 rows, u32 begin, u32 end,
               u32 partial, u32 first_token = 0) {
    u32 queries = rows * (settings.heads / settings.kv_heads);
    for (u32 first = 0; first < queries; first += 64) {
        tasks.push_back({first_row, rows, first, first_token, first_token, begin, end, partial});
    }
}

void check_rows(World &world, Memory<bf16> &out, u32 first_row, u32 rows, u32 begin, u32 end, const char *what) {
    u32 size = world.settings.size;
    for (u32 row = first_row; row < first_row + rows; row++) {
        for (u32 head = 0; head < world.settings.heads; head++) {
            std::vector<double> expected = world.expected(row, head, begin, end);
            for (u32 at = 0; at < size; at++) {
                size_t index = (row * world.settings.heads + head) * size + at;
                check_close(to_float(out[index]), expected[at], 2.0 * rounding(expected[size + at]), what, index);
            }
        }
    }
}

Settings settings_of(u32 size, u32 heads, u32 kv_heads, u32 window = 0, float softcap = 0.0f) {
    return {size, heads, kv_heads, 1.0f / std::sqrt(float(size)), softcap, window};
}

void attention_is_that_of_doubles() {
    u64 seed = 1;
    for (u32 size : {32, 64, 96, 128, 256}) {
        for (u32 per_kv : {1, 4, 7}) {
            for (u32 window : {0, 37, 200}) {
                float softcap = per_kv == 4 ? 2.0f : 0.0f;
                u32 rows = per_kv == 1 ? 70 : 21, tokens = 170 + 13 * per_kv;
                World world(settings_of(size, 2 * per_kv, 2, window, softcap), rows, tokens, seed++);
                std::vector<Task> tasks;
                // A list of slots that begins past the first token; a range that begins and ends within tiles.
                u32 begin = per_kv == 7 ? 45 : 0, end = per_kv == 1 ? tokens - 10 : tokens;
                add_tasks(tasks, world.settings, 0, rows, begin, end, WHOLE, begin);
                Result result = attend_all(world, tasks, 0);
                check_rows(world, result.out, 0, rows, begin, end, "whole");
            }
        }
    }
}

// In parts of different lengths, some of which some rows see nothing of; then merged.
void parts_merge_to_the_whole() {
    for (u32 size : {64, 96, 256}) {
        for (u32 window : {0, 50}) {
            u32 rows = 5, tokens = 300;
            World world(settings_of(size, 6, 2, window), rows, tokens, size + window);
            world.positions[2] = 20;
            world.positions[3] = 0;
            std::vector<Task> tasks;
            u32 bounds[] = {0, 64, 130, 131, 290, 300};
            for (u32 part = 0; part < 5; part++) {
                add_tasks(tasks, world.settings, 0, rows, bounds[part], bounds[part + 1], part * rows);
            }
            Result result = attend_all(world, tasks, 5 * rows);
            Memory<Parts> parts(rows + 1);
            for (u32 row = 0; row < rows; row++) {
                parts[row] = {row, rows, 2, 2 * rows + row, rows, 3};
            }
            parts[rows] = {0, 0, 0, 0, 0, 0};
            Memory<bf16> out((rows + 1) * world.per_row(), bf16{POISON});
            launch("merge_parts", {rows + 1, world.settings.heads, 1}, size, 0, result.sums.at(), result.stats.at(),
                   parts.at(), out.at(), world.settings.heads, size);
            check_rows(world, out, 0, rows, 0, tokens, "merged");
            for (u32 at = 0; at < world.per_row(); at++) {
                check(out[rows * world.per_row() + at].bits == 0, "a row without parts is not zeros");
            }
            // Position 0 sees nothing of the last part.
            size_t unseen = (4 * rows + 3) * world.settings.heads;
            check(result.stats[2 * unseen] == -INFINITY && result.stats[2 * unseen + 1] == 0.0f &&
                      result.sums[unseen * size] == 0.0f,
                  "what sees nothing leaves %f, %f", result.stats[2 * unseen], result.stats[2 * unseen + 1]);
        }
    }
}

void a_row_that_sees_nothing_is_zeros() {
    World world(settings_of(64, 4, 2), 3, 100, 5);
    world.positions[1] = 10;
    std::vector<Task> tasks;
    add_tasks(tasks, world.settings, 0, 2, 40, 90, WHOLE, 40);
    add_tasks(tasks, world.settings, 2, 1, 50, 50, WHOLE);
    Result result = attend_all(world, tasks, 0);
    check_rows(world, result.out, 0, 2, 40, 90, "beside a row that sees nothing");
    check_rows(world, result.out, 2, 1, 50, 50, "an empty range");
}

// The same row alone, among others, and at another place of the block gives the same bits.
void a_row_does_not_depend_on_its_neighbours() {
    for (u32 size : {32, 128, 256}) {
        for (u32 window : {0, 90}) {
            u32 rows = 40, tokens = 260;
            World world(settings_of(size, 14, 2, window), rows, tokens, 77 + size);
            std::vector<Task> together, alone;
            add_tasks(together, world.settings, 0, rows, 3, tokens, WHOLE, 3);
            for (u32 row = 0; row < rows; row++) {
                add_tasks(alone, world.settings, row, 1, 3, tokens, WHOLE, 3);
            }
            Result a = attend_all(world, together, 0), b = attend_all(world, alone, 0);
            check(same_bits(a.out.at(), b.out.at(), a.out.size()), "rows alone differ, heads of %u", size);
        }
    }
}

// What is no number in one row's query, or in what only later rows see, leaves the others' bits alone.
void nan_stays_where_it_is() {
    for (u32 size : {64, 96, 256}) {
        u32 rows = 30, tokens = 150;
        World world(settings_of(size, 4, 2), rows, tokens, 9);
        std::vector<Task> tasks;
        add_tasks(tasks, world.settings, 0, rows, 0, tokens, WHOLE);
        Result before = attend_all(world, tasks, 0);
        world.queries[(7 * world.settings.heads + 1) * size + 3].bits = 0x7fc0;
        for (u32 kv_head = 0; kv_head < 2; kv_head++) {
            world.key(world.values, tokens - rows + 20, kv_head)[5].bits = 0x7fc0;
            world.key(world.values, tokens - rows + 21, kv_head)[size - 1].bits = 0xff80;
            world.key(world.keys, tokens - rows + 22, kv_head)[0].bits = 0x7f80;
        }
        Result after = attend_all(world, tasks, 0);
        for (u32 row = 0; row < 20; row++) {
            for (u32 head = 0; head < 4; head++) {
                size_t at = (row * world.settings.heads + head) * size;
                bool same = same_bits(before.out.at(at), after.out.at(at), size);
                check(same == (row != 7 || head != 1), "row %u, head %u beside NaN", row, head);
            }
        }
        for (u32 row = 20; row < rows; row++) {
            check(std::isnan(to_float(after.out[row * world.per_row() + 5])), "row %u sees NaN", row);
        }
    }
}

} // namespace

int main() {
    tiles_have_no_bank_conflicts<32, Shape<32>::TILE>();
    tiles_have_no_bank_conflicts<64, Shape<64>::TILE>();
    tiles_have_no_bank_conflicts<96, Shape<96>::TILE>();
    tiles_have_no_bank_conflicts<128, Shape<128>::TILE>();
    tiles_have_no_bank_conflicts<256, Shape<256>::TILE>();
    attention_is_that_of_doubles();
    parts_merge_to_the_whole();
    a_row_that_sees_nothing_is_zeros();
    a_row_does_not_depend_on_its_neighbours();
    nan_stays_where_it_is();
    puts("attend: passed");
}
