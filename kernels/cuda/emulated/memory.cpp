// Allocations as mappings, their guards, and what is pinned.
#include "memory.h"
#include <algorithm>
#include <iterator>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace emulated {
namespace {

constexpr size_t page = 4096;
constexpr size_t alignment = 256;
constexpr int poison = 0xff;
// Looked at below an allocation, at each synchronization.
constexpr size_t watched = 256;
// Poison makes pages real: of larger allocations only so much is poisoned, the rest reads as zeros.
constexpr size_t most_poisoned = 16 << 20;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

bool is_poisoned(const char *from, const char *to) {
    size_t bytes = to - from;
    return bytes == 0 || (*from == static_cast<char>(poison) && memcmp(from, from + 1, bytes - 1) == 0);
}

// The last entry that begins at or before the address holds all bytes.
template <class Map, class Size> bool holds(const Map &map, u64 address, size_t bytes, Size size_of) {
    auto after = map.upper_bound(address);
    if (after == map.begin()) {
        return false;
    }
    auto entry = std::prev(after);
    u64 at = address - entry->first;
    return at <= size_of(entry->second) && bytes <= size_of(entry->second) - at;
}

} // namespace

u64 Memory::allocate(size_t bytes) {
    if (bytes > total || cost_of(bytes) > total - taken) {
        return 0;
    }
    size_t rounded = round_up(bytes, alignment);
    size_t page_bytes = round_up(rounded, page);
    void *mapped = mmap(nullptr, page_bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        return 0;
    }
    Allocation made = {static_cast<char *>(mapped) + page, page_bytes, bytes};
    if (mprotect(made.pages, page_bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapped, page_bytes + 2 * page);
        return 0;
    }
    char *begin = made.pages + page_bytes - rounded;
    memset(made.pages, poison, begin - made.pages + std::min(bytes, most_poisoned));
    memset(begin + bytes, poison, rounded - bytes);
    taken += cost_of(bytes);
    u64 address = reinterpret_cast<u64>(begin);
    allocations.emplace(address, made);
    return address;
}

bool Memory::free(u64 address) {
    auto found = allocations.find(address);
    if (found == allocations.end()) {
        return false;
    }
    release(found->second);
    allocations.erase(found);
    return true;
}

void Memory::free_all() {
    for (const auto &[address, allocation] : allocations) {
        release(allocation);
    }
    allocations.clear();
}

// The addresses stay taken, so that whoever still uses them faults.
void Memory::release(const Allocation &allocation) {
    mmap(allocation.pages, allocation.page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
         -1, 0);
    taken -= cost_of(allocation.bytes);
}

bool Memory::has(u64 address, size_t bytes) const {
    return holds(allocations, address, bytes, [](const Allocation &allocation) { return allocation.bytes; });
}

std::string Memory::damage() const {
    std::string all;
    for (const auto &[address, allocation] : allocations) {
        all += damage_of(address, allocation);
    }
    return all;
}

std::string Memory::damage_of(u64 address, const Allocation &allocation) const {
    const char *begin = reinterpret_cast<const char *>(address);
    const char *end = allocation.pages + allocation.page_bytes;
    bool before = !is_poisoned(std::max<const char *>(allocation.pages, begin - watched), begin);
    bool after = !is_poisoned(begin + allocation.bytes, end);
    if (!before && !after) {
        return {};
    }
    char text[128];
    snprintf(text, sizeof text, "%s an allocation of %zu bytes at %p was written to. ",
             before && after ? "before and after" : before ? "before" : "after", allocation.bytes,
             static_cast<const void *>(begin));
    return text;
}

void *Memory::allocate_pinned(size_t bytes) {
    void *address = aligned_alloc(page, round_up(bytes, page));
    if (address != nullptr) {
        memset(address, poison, std::min(bytes, most_poisoned));
        pinned.emplace(reinterpret_cast<u64>(address), bytes);
    }
    return address;
}

bool Memory::free_pinned(void *address) {
    if (pinned.erase(reinterpret_cast<u64>(address)) == 0) {
        return false;
    }
    ::free(address);
    return true;
}

bool Memory::is_pinned(const void *address, size_t bytes) const {
    return holds(pinned, reinterpret_cast<u64>(address), bytes, [](size_t size) { return size; });
}

} // namespace emulated
