// The objects of the emulated cuBLASLt, and their attributes by number, each with its size.
#pragma once
#include <algorithm>
#include <mutex>
#include <set>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

using u32 = unsigned int;
using u64 = unsigned long long;

enum Status : int {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    ALLOC_FAILED = 3,
    INVALID_VALUE = 7,
    EXECUTION_FAILED = 13,
    NOT_SUPPORTED = 15,
};

namespace emulated {

enum Type : int { F32 = 0, BF16 = 14 };
constexpr int compute_f32 = 68;
constexpr int transposed = 1, not_transposed = 0;
constexpr int default_epilogue = 1;

// Numbers in one struct are set by attribute; each is that many bytes at that place.
struct Field {
    int attribute;
    size_t at, bytes;
};

struct Description {
    int compute, scale;
    int pointer_mode = 0, transpose_a = 0, transpose_b = 0, transpose_c = 0, epilogue = default_epilogue;
};
constexpr Field description_fields[] = {
    {0, offsetof(Description, compute), 4},      {1, offsetof(Description, scale), 4},
    {2, offsetof(Description, pointer_mode), 4}, {3, offsetof(Description, transpose_a), 4},
    {4, offsetof(Description, transpose_b), 4},  {5, offsetof(Description, transpose_c), 4},
    {7, offsetof(Description, epilogue), 4},
};

struct Layout {
    int type;
    u64 rows, columns;
    long long stride;
    int order = 0, batch = 1;
    long long batch_stride = 0;
};
constexpr Field layout_fields[] = {
    {0, offsetof(Layout, type), 4},    {1, offsetof(Layout, order), 4},  {2, offsetof(Layout, rows), 8},
    {3, offsetof(Layout, columns), 8}, {4, offsetof(Layout, stride), 8}, {5, offsetof(Layout, batch), 4},
    {6, offsetof(Layout, batch_stride), 8},
};

struct Preference {
    int search = 0;
    u64 workspace = 0;
    u32 reductions = 7;
    u32 alignment[4] = {256, 256, 256, 256};
    float waves = 0;
    u64 implementations = ~0ull;
};
constexpr Field preference_fields[] = {
    {0, offsetof(Preference, search), 4},           {1, offsetof(Preference, workspace), 8},
    {3, offsetof(Preference, reductions), 4},       {5, offsetof(Preference, alignment), 4},
    {6, offsetof(Preference, alignment) + 4, 4},    {7, offsetof(Preference, alignment) + 8, 4},
    {8, offsetof(Preference, alignment) + 12, 4},   {9, offsetof(Preference, waves), 4},
    {12, offsetof(Preference, implementations), 8},
};

// Fills the 64 bytes of cublasLtMatmulAlgo_t.
struct Algorithm {
    u64 mark;
    int id, tile;
    u32 parts, reduction;
    u32 swizzling, option, stages;
    u32 unused[7];
};
static_assert(sizeof(Algorithm) == 64, "as large as cublasLtMatmulAlgo_t");
constexpr u64 mark = 0x6d6c61207972754a;
constexpr Field algorithm_fields[] = {
    {0, offsetof(Algorithm, id), 4},        {1, offsetof(Algorithm, tile), 4},
    {2, offsetof(Algorithm, parts), 4},     {3, offsetof(Algorithm, reduction), 4},
    {4, offsetof(Algorithm, swizzling), 4}, {5, offsetof(Algorithm, option), 4},
    {6, offsetof(Algorithm, stages), 4},
};
constexpr u32 reduced_in_f32 = 2;
constexpr Algorithm large_tiles = {mark, 1, 20, 1, 0, 0, 0, 15, {}};
constexpr Algorithm small_tiles = {mark, 2, 15, 1, 0, 0, 0, 15, {}};
constexpr Algorithm large_tiles_split = {mark, 1, 20, 2, reduced_in_f32, 0, 0, 15, {}};
constexpr Algorithm small_tiles_split = {mark, 2, 15, 2, reduced_in_f32, 0, 0, 15, {}};

struct HeuristicResult {
    Algorithm algorithm;
    size_t workspace;
    Status state;
    float waves;
    int reserved[4];
};

__attribute__((format(printf, 2, 3))) inline Status complain(Status status, const char *format, ...) {
    fprintf(stderr, "emulated cuBLASLt: ");
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return status;
}

// The opaque objects that are alive.
inline std::mutex lock;
inline auto *const alive = new std::set<const void *>;

template <class T> Status create(T **handle, const T &value) {
    if (handle == nullptr) {
        return INVALID_VALUE;
    }
    *handle = new T(value);
    std::lock_guard<std::mutex> guard(lock);
    alive->insert(*handle);
    return SUCCESS;
}

inline bool is_alive(const void *handle) {
    std::lock_guard<std::mutex> guard(lock);
    return alive->count(handle) != 0;
}

template <class T> Status destroy(T *handle) {
    {
        std::lock_guard<std::mutex> guard(lock);
        if (alive->erase(handle) == 0) {
            return INVALID_VALUE;
        }
    }
    delete handle;
    return SUCCESS;
}

template <size_t count> const Field *find_field(const Field (&fields)[count], int attribute) {
    auto found = std::find_if(fields, fields + count, [&](const Field &field) { return field.attribute == attribute; });
    return found != fields + count ? found : nullptr;
}

template <size_t count>
Status set(void *object, const Field (&fields)[count], int attribute, const void *from, size_t bytes) {
    const Field *field = find_field(fields, attribute);
    if (field == nullptr) {
        return complain(NOT_SUPPORTED, "attribute %d is not emulated", attribute);
    }
    if (bytes != field->bytes || from == nullptr) {
        return complain(INVALID_VALUE, "attribute %d has %zu bytes, not %zu", attribute, field->bytes, bytes);
    }
    memcpy(static_cast<char *>(object) + field->at, from, bytes);
    return SUCCESS;
}

template <size_t count>
Status get(const void *object, const Field (&fields)[count], int attribute, void *to, size_t bytes, size_t *written) {
    const Field *field = find_field(fields, attribute);
    if (field == nullptr) {
        return complain(NOT_SUPPORTED, "attribute %d is not emulated", attribute);
    }
    if (written != nullptr) {
        *written = field->bytes;
    }
    if (bytes == 0 && written != nullptr) {
        return SUCCESS;
    }
    if (bytes < field->bytes || to == nullptr) {
        return INVALID_VALUE;
    }
    memcpy(to, static_cast<const char *>(object) + field->at, field->bytes);
    return SUCCESS;
}

} // namespace emulated
