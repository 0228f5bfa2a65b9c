// The memory of the card: pages of this process, each allocation between pages that nobody may touch.
//
// An allocation ends less than 256 bytes before such a page; what is left there and before it is watched, and poisoned
// like the allocation itself: it reads as NaN. What was freed stays out of reach for ever.
#pragma once
#include <map>
#include <stddef.h>
#include <string>

namespace emulated {

using u64 = unsigned long long;
using u32 = unsigned int;

class Memory {
  public:
    u64 total = 0;

    // The address, 0 if there is no room for it.
    u64 allocate(size_t bytes);
    // Whether there was such an allocation.
    bool free(u64 address);
    void free_all();
    // Whether all bytes lie in one allocation.
    bool has(u64 address, size_t bytes) const;
    u64 used() const { return taken; }
    // The allocations that something wrote around, in words; nothing if there are none.
    std::string damage() const;

    // Memory of the host that copies may use while the host goes on.
    void *allocate_pinned(size_t bytes);
    bool free_pinned(void *address);
    bool is_pinned(const void *address, size_t bytes) const;

  private:
    struct Allocation {
        char *pages;
        size_t page_bytes;
        size_t bytes;
    };
    static u64 cost_of(size_t bytes) { return (bytes + 511) / 512 * 512; }
    std::string damage_of(u64 address, const Allocation &allocation) const;
    void release(const Allocation &allocation);

    std::map<u64, Allocation> allocations;
    std::map<u64, size_t> pinned;
    u64 taken = 0;
};

} // namespace emulated
