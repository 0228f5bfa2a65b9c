// One block of a kernel that runs: its threads as fibers, its shared memory, its barriers.
//
// The threads of a warp run one after another, each until it waits; which warp goes first changes from barrier to
// barrier, so that a missing barrier shows. Blocks go from the first to the last in one launch, and from the last to the
// first in the next, so that two that write to one place show. What a card leaves undefined is an error here, with the
// names of kernel, block, thread and lines: threads that wait at different barriers or collectives, or end while others
// wait; a collective of a warp that is not whole; a shared address that is none.
#pragma once
#include "fiber.h"
#include <memory>
#include <string>
#include <vector>

namespace emulated {

using u32 = unsigned int;
using u64 = unsigned long long;

struct Index {
    u32 x, y, z;
};

// A kernel that was compiled in; kernel.h makes one of a function.
struct Kernel {
    const char *name;
    void (*run)(void *const *arguments);
    std::vector<size_t> parameter_sizes;
    // Where its file's static shared memory lies.
    char *shared;
    size_t shared_bytes;
};

struct Launch {
    const Kernel *kernel;
    Index grid, block;
    u32 dynamic_bytes;
    void *const *arguments;
};

constexpr u32 warp_size = 32;
constexpr u32 most_threads = 1024;
// Of a block: what a launch may ask for without an attribute, and with it.
constexpr u32 shared_limit = 48 * 1024;
constexpr u32 shared_limit_opt_in = 160 * 1024;

// What a thread hands to a collective, and gets back in the same place.
union Slot {
    struct {
        u64 value;
        u32 argument;
    } word;
    struct {
        float sums[4];
        u32 a[4], b[2];
    } product;
    struct {
        const void *row;
        u32 pairs[4];
    } matrices;
};

struct Collective {
    const char *name;
    // Over the slots of all lanes.
    void (*perform)(Slot *slots);
};

struct Warp {
    Slot slots[warp_size];
    // One bit a lane: those that can go on (the running one left out), and those that wait for a collective's others.
    u32 runnable, arrived;
    const Collective *collective;
    u32 line;
};

// 16 bytes on their way to shared memory; from null come zeros.
struct Copy {
    void *to;
    const void *from;
    u32 group;
};

struct Thread {
    explicit Thread(Fiber::Body body) : fiber(body) {}
    Index index;
    u32 number, lane;
    Warp *warp;
    std::vector<Copy> copies;
    u32 copy_group;
    Fiber fiber;
};

// What the kernel's functions see.
extern Thread *current;
extern Index block_index, block_size, grid_size;
extern void *dynamic_memory;

// Runs all blocks. Returns what went wrong, or nothing.
std::string run(const Launch &launch);
// Whether a kernel runs right now: then a fault is its own. Ends it, out of a handler of signals.
bool is_running();
[[noreturn]] void fault(const void *address);

// For the thread that runs.
void barrier(u32 line);
void collective(const Collective &collective, u32 line);
[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char *format, ...);
// Fails unless all bytes are shared memory of this block, at a multiple of 16.
void check_shared(const void *address, size_t bytes, const char *what, u32 line);

} // namespace emulated
