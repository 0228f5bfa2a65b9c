// What tests of kernels share: memory of the card, random numbers, launches, comparisons.
#pragma once
#include "../emulated/kernel.h"
#include "../machine.cuh"
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace card {

// Ends the test unless `holds`.
__attribute__((format(printf, 2, 3))) inline void check(bool holds, const char *format, ...) {
    if (holds) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    fputs("FAILED: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    exit(1);
}

// Numbers that end where a page begins that nobody may touch.
template <class T> class Memory {
  public:
    explicit Memory(size_t count, T fill = T()) : count(count) {
        size_t bytes = (count * sizeof(T) + 15) / 16 * 16;
        room = (bytes + page - 1) / page * page + page;
        mapped = static_cast<char *>(mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        check(mapped != MAP_FAILED, "no memory");
        mprotect(mapped + room - page, page, PROT_NONE);
        first = reinterpret_cast<T *>(mapped + room - page - bytes);
        for (size_t index = 0; index < count; index++) {
            first[index] = fill;
        }
    }
    Memory(std::initializer_list<T> all) : Memory(all.size()) {
        size_t index = 0;
        for (const T &one : all) {
            first[index++] = one;
        }
    }
    explicit Memory(const std::vector<T> &all) : Memory(all.size()) {
        for (size_t index = 0; index < count; index++) {
            first[index] = all[index];
        }
    }
    Memory(const Memory &other) : Memory(other.count) { memcpy(first, other.first, count * sizeof(T)); }
    Memory &operator=(const Memory &) = delete;
    ~Memory() { munmap(mapped, room); }

    T &operator[](size_t index) { return first[index]; }
    const T &operator[](size_t index) const { return first[index]; }
    size_t size() const { return count; }
    T *at(size_t index = 0) { return first + index; }

  private:
    static constexpr size_t page = 4096;
    size_t count, room;
    char *mapped;
    T *first;
};

class Random {
  public:
    explicit Random(u64 seed) : state(seed * 0x9e3779b97f4a7c15ull + 1) {}
    u64 bits() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
    }
    u32 below(u32 bound) { return static_cast<u32>((bits() >> 16) % bound); }
    double uniform() { return static_cast<double>(bits() >> 11) / 9007199254740992.0; }
    // Of mean 0 and deviation `by`, close enough to a normal one.
    float normal(float by = 1.0f) {
        double sum = 0.0;
        for (int draw = 0; draw < 12; draw++) {
            sum += uniform();
        }
        return static_cast<float>(sum - 6.0) * by;
    }
    void fill(Memory<float> &memory, float by = 1.0f) {
        for (size_t index = 0; index < memory.size(); index++) {
            memory[index] = normal(by);
        }
    }
    void fill(Memory<bf16> &memory, float by = 1.0f) {
        for (size_t index = 0; index < memory.size(); index++) {
            memory[index] = to_bf16(normal(by));
        }
    }

  private:
    u64 state;
};

// A kernel's pointers and numbers have the types of its parameters.
template <class... Arguments>
void launch(const char *name, emulated::Index grid, u32 threads, u32 dynamic_bytes, Arguments... arguments) {
    const emulated::Kernel *kernel = emulated::find_kernel(name);
    check(kernel != nullptr, "no kernel %s", name);
    check(kernel->parameter_sizes == std::vector<size_t>{sizeof(Arguments)...}, "the parameters of %s", name);
    void *pointers[] = {&arguments...};
    std::string problem = emulated::run({kernel, grid, {threads, 1, 1}, dynamic_bytes, pointers});
    check(problem.empty(), "%s", problem.c_str());
}

inline void check_close(double got, double expected, double tolerance, const char *what, size_t index) {
    check(std::fabs(got - expected) <= tolerance, "%s: number %zu is %.9g instead of %.9g", what, index, got, expected);
}

template <class T> bool same_bits(const T *a, const T *b, size_t count) { return memcmp(a, b, count * sizeof(T)) == 0; }

// The largest error of rounding to bf16.
inline double rounding(double number) { return std::fabs(number) / 256.0 + 1e-30; }

} // namespace card
