// The scheduler of a block's threads. Everything is global: one kernel runs at a time, under the driver's lock.
#include "block.h"
#include <algorithm>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

namespace emulated {

Thread *current;
Index block_index, block_size, grid_size;
void *dynamic_memory;

namespace {

constexpr u32 whole_warp = ~0u;
// Where nothing was written, floats are NaN and indices are far outside.
constexpr int poison = 0xff;

const Launch *running;
// Never destroyed: a process may end while its threads still call.
std::vector<std::unique_ptr<Thread>> &threads = *new std::vector<std::unique_ptr<Thread>>;
Warp warps[most_threads / warp_size];
u32 thread_count, warp_count;
// At the barrier, and past their end.
u32 waiting, ended;
u32 barrier_line;
bool backwards;
// Whether this launch begins with its last block.
bool last_first;
char failure[1024];
bool faulted;
const void *fault_address;

// Dynamic shared memory ends where the page begins that nobody may touch; what lies below is watched.
class DynamicMemory {
  public:
    char *at(u32 bytes) { return end() - (bytes + 15) / 16 * 16; }
    char *end() { return memory() + room; }
    void clear(u32 bytes) { memset(at(bytes) - watched, poison, end() - at(bytes) + watched); }
    bool is_whole(u32 bytes) {
        const char *from = at(bytes) - watched;
        return std::all_of(from, from + watched, [](char byte) { return byte == static_cast<char>(poison); });
    }

  private:
    char *memory() {
        if (!mapped) {
            void *fresh = mmap(nullptr, 2 * room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (fresh == MAP_FAILED) {
                throw std::bad_alloc();
            }
            mapped = static_cast<char *>(fresh);
            mprotect(mapped + room, room, PROT_NONE);
        }
        return mapped;
    }
    static constexpr size_t room = 256 * 1024, watched = 64;
    char *mapped = nullptr;
} dynamic;

// What is wrong with the thread that runs.
void describe(const char *format, va_list arguments) {
    const Index &block = block_index, &thread = current->index;
    int length = snprintf(failure, sizeof failure, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): ",
                          running->kernel->name, block.x, block.y, block.z, thread.x, thread.y, thread.z);
    vsnprintf(failure + length, sizeof failure - length, format, arguments);
}

void describe_fault(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    describe(format, arguments);
    va_end(arguments);
}

// The next thread of the warp that can go on, or null.
Thread *next_of(Warp &warp) {
    if (warp.runnable == 0) {
        return nullptr;
    }
    u32 lane = backwards ? 31 - __builtin_clz(warp.runnable) : __builtin_ctz(warp.runnable);
    warp.runnable &= ~(1u << lane);
    return threads[static_cast<size_t>(&warp - warps) * warp_size + lane].get();
}

// Lets the other lanes go on, else the other warps.
void yield() {
    Thread *self = current;
    Thread *next = next_of(*self->warp);
    if (next == nullptr) {
        Fiber::pause(self->fiber);
        return;
    }
    current = next;
    Fiber::switch_to(self->fiber, next->fiber);
}

void refuse_at_collective(const char *doing) {
    const Warp &warp = *current->warp;
    if (warp.arrived != 0) {
        fail("%s while lanes %#x of its warp wait in %s, line %u", doing, warp.arrived, warp.collective->name,
             warp.line);
    }
}

void end_thread() {
    refuse_at_collective("ends");
    if (waiting != 0) {
        fail("ends while %u threads wait at the barrier of line %u", waiting, barrier_line);
    }
    ended += 1;
    yield();
}

void thread_body() {
    for (;;) {
        running->kernel->run(running->arguments);
        end_thread();
    }
}

void prepare_threads() {
    thread_count = block_size.x * block_size.y * block_size.z;
    warp_count = (thread_count + warp_size - 1) / warp_size;
    while (threads.size() < thread_count) {
        threads.push_back(std::make_unique<Thread>(thread_body));
    }
    for (u32 number = 0; number < thread_count; number++) {
        Thread &thread = *threads[number];
        thread.index = {number % block_size.x, number / block_size.x % block_size.y,
                        number / (block_size.x * block_size.y)};
        thread.number = number;
        thread.lane = number % warp_size;
        thread.warp = &warps[number / warp_size];
    }
}

// Runs every warp until its threads wait at the barrier or have ended.
void run_to_barrier() {
    for (u32 turn = 0; turn < warp_count; turn++) {
        u32 number = backwards ? warp_count - 1 - turn : turn;
        u32 lanes = std::min(warp_size, thread_count - number * warp_size);
        warps[number].runnable = lanes == warp_size ? whole_warp : (1u << lanes) - 1;
        warps[number].arrived = 0;
        while (Thread *next = next_of(warps[number])) {
            current = next;
            Fiber::enter(next->fiber);
            if (faulted) {
                describe_fault("touches %p, which is outside all memory or not aligned, or its stack is full",
                               fault_address);
            }
            if (failure[0] != '\0') {
                return;
            }
        }
    }
}

void run_block() {
    const Kernel &kernel = *running->kernel;
    memset(kernel.shared, poison, kernel.shared_bytes);
    dynamic.clear(running->dynamic_bytes);
    for (u32 number = 0; number < thread_count; number++) {
        threads[number]->copies.clear();
        threads[number]->copy_group = 0;
    }
    ended = 0;
    do {
        waiting = 0;
        run_to_barrier();
        backwards = !backwards;
    } while (failure[0] == '\0' && ended == 0);
    current = nullptr;
    if (failure[0] == '\0' && !dynamic.is_whole(running->dynamic_bytes)) {
        snprintf(failure, sizeof failure, "kernel %s, block (%u, %u, %u): wrote before its dynamic shared memory",
                 kernel.name, block_index.x, block_index.y, block_index.z);
    }
}

} // namespace

std::string run(const Launch &launch) {
    running = &launch;
    failure[0] = '\0';
    faulted = false;
    backwards = false;
    block_size = launch.block;
    grid_size = launch.grid;
    dynamic_memory = dynamic.at(launch.dynamic_bytes);
    prepare_threads();
    u64 blocks = static_cast<u64>(grid_size.x) * grid_size.y * grid_size.z;
    for (u64 turn = 0; turn < blocks; turn++) {
        u64 number = last_first ? blocks - 1 - turn : turn;
        block_index = {static_cast<u32>(number % grid_size.x), static_cast<u32>(number / grid_size.x % grid_size.y),
                       static_cast<u32>(number / grid_size.x / grid_size.y)};
        run_block();
        if (failure[0] != '\0') {
            for (u32 thread = 0; thread < thread_count; thread++) {
                threads[thread]->fiber.reset();
            }
            return failure;
        }
    }
    last_first = !last_first;
    return {};
}

bool is_running() { return current != nullptr; }

// Runs in a handler of signals, on a small stack: the words come later.
void fault(const void *address) {
    faulted = true;
    fault_address = address;
    Fiber::leave();
}

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    describe(format, arguments);
    va_end(arguments);
    Fiber::leave();
}

void barrier(u32 line) {
    refuse_at_collective("is at a barrier");
    if (ended != 0) {
        fail("is at the barrier of line %u, but %u threads have ended", line, ended);
    }
    if (waiting != 0 && barrier_line != line) {
        fail("is at the barrier of line %u, others at that of line %u", line, barrier_line);
    }
    barrier_line = line;
    waiting += 1;
    yield();
}

void collective(const Collective &collective, u32 line) {
    Warp &warp = *current->warp;
    u32 lane = 1u << current->lane;
    if (thread_count % warp_size != 0 && current->warp == &warps[warp_count - 1]) {
        fail("is in %s, line %u, but its warp has %u lanes", collective.name, line, thread_count % warp_size);
    }
    if (warp.arrived == 0) {
        warp.collective = &collective;
        warp.line = line;
    } else if (warp.collective != &collective || warp.line != line) {
        fail("is in %s, line %u, other lanes of its warp in %s, line %u", collective.name, line, warp.collective->name,
             warp.line);
    }
    warp.arrived |= lane;
    if (warp.arrived == whole_warp) {
        collective.perform(warp.slots);
        warp.arrived = 0;
        warp.runnable = whole_warp & ~lane;
        return;
    }
    // The others are neither runnable nor have they arrived: they cannot come any more.
    if ((warp.runnable | warp.arrived) != whole_warp) {
        fail("is in %s, line %u, but other lanes of its warp are at a barrier or have ended", collective.name, line);
    }
    yield();
}

void check_shared(const void *address, size_t bytes, const char *what, u32 line) {
    uintptr_t at = reinterpret_cast<uintptr_t>(address);
    auto is_within = [&](const char *begin, const char *end) {
        return at >= reinterpret_cast<uintptr_t>(begin) && at + bytes <= reinterpret_cast<uintptr_t>(end);
    };
    const Kernel &kernel = *running->kernel;
    if (at % 16 != 0) {
        fail("%s, line %u: %p is no multiple of 16", what, line, address);
    }
    if (!is_within(kernel.shared, kernel.shared + kernel.shared_bytes) &&
        !is_within(static_cast<char *>(dynamic_memory), dynamic.end())) {
        fail("%s, line %u: %p is no shared memory", what, line, address);
    }
}

} // namespace emulated
