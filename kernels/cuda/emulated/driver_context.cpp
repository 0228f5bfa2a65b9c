// libcuda: devices, the primary context, errors. One card; contexts of one's own are not emulated.
#include "stream.h"
#include "block.h"
#include <string.h>

using namespace emulated;

namespace {

char primary_context;

struct Attribute {
    int number;
    int value;
};

// By the numbers of CUdevice_attribute; what is not named is 0.
constexpr Attribute attributes[] = {
    {1, most_threads},         // MAX_THREADS_PER_BLOCK
    {2, 1024},                 // MAX_BLOCK_DIM_X
    {3, 1024},                 // MAX_BLOCK_DIM_Y
    {4, 64},                   // MAX_BLOCK_DIM_Z
    {5, 2147483647},           // MAX_GRID_DIM_X
    {6, 65535},                // MAX_GRID_DIM_Y
    {7, 65535},                // MAX_GRID_DIM_Z
    {8, shared_limit},         // MAX_SHARED_MEMORY_PER_BLOCK
    {9, 65536},                // TOTAL_CONSTANT_MEMORY
    {10, warp_size},           // WARP_SIZE
    {12, 65536},               // MAX_REGISTERS_PER_BLOCK
    {13, 1000000},             // CLOCK_RATE
    {15, 1},                   // GPU_OVERLAP
    {16, 8},                   // MULTIPROCESSOR_COUNT
    {19, 1},                   // CAN_MAP_HOST_MEMORY
    {31, 1},                   // CONCURRENT_KERNELS
    {36, 1000000},             // MEMORY_CLOCK_RATE
    {37, 256},                 // GLOBAL_MEMORY_BUS_WIDTH
    {38, 4 << 20},             // L2_CACHE_SIZE
    {39, 2048},                // MAX_THREADS_PER_MULTIPROCESSOR
    {40, 1},                   // ASYNC_ENGINE_COUNT
    {41, 1},                   // UNIFIED_ADDRESSING
    {75, 8},                   // COMPUTE_CAPABILITY_MAJOR
    {76, 0},                   // COMPUTE_CAPABILITY_MINOR
    {78, 1},                   // STREAM_PRIORITIES_SUPPORTED
    {81, 164 * 1024},          // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    {82, 65536},               // MAX_REGISTERS_PER_MULTIPROCESSOR
    {97, shared_limit_opt_in}, // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    {115, 1},                  // MEMORY_POOLS_SUPPORTED
};

struct Description {
    Result result;
    const char *name, *text;
};
constexpr Description descriptions[] = {
#define EMULATED_DESCRIPTION(name, number, text) {name, "CUDA_" #name, text},
    EMULATED_RESULTS(EMULATED_DESCRIPTION)
#undef EMULATED_DESCRIPTION
};

const Description *describe(int result) {
    for (const Description &description : descriptions) {
        if (description.result == result) {
            return &description;
        }
    }
    return nullptr;
}

template <class Body> Result call_for(int ordinal, Body body) {
    return call_device([&]() -> Result { return ordinal == 0 ? body() : ERROR_INVALID_DEVICE; });
}

Result identify(char *uuid, int ordinal) {
    return call_for(ordinal, [&] {
        memcpy(uuid, "Jury's emulation", 16);
        return SUCCESS;
    });
}

} // namespace

EXPORT Result cuGetErrorName(int result, const char **name) {
    const Description *description = describe(result);
    *name = description != nullptr ? description->name : nullptr;
    return description != nullptr ? SUCCESS : ERROR_INVALID_VALUE;
}

EXPORT Result cuGetErrorString(int result, const char **text) {
    const Description *description = describe(result);
    *text = description != nullptr ? description->text : nullptr;
    return description != nullptr ? SUCCESS : ERROR_INVALID_VALUE;
}

EXPORT Result cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}

EXPORT Result cuDeviceGetCount(int *count) {
    return call_device([&] {
        *count = 1;
        return SUCCESS;
    });
}

EXPORT Result cuDeviceGet(int *handle, int ordinal) {
    return call_for(ordinal, [&] {
        *handle = 0;
        return SUCCESS;
    });
}

EXPORT Result cuDeviceGetName(char *name, int room, int ordinal) {
    return call_for(ordinal, [&] {
        if (room <= 0) {
            return ERROR_INVALID_VALUE;
        }
        strncpy(name, "Emulated CUDA device", room);
        name[room - 1] = '\0';
        return SUCCESS;
    });
}

EXPORT Result cuDeviceGetUuid(char *uuid, int ordinal) { return identify(uuid, ordinal); }
EXPORT Result cuDeviceGetUuid_v2(char *uuid, int ordinal) { return identify(uuid, ordinal); }

EXPORT Result cuDeviceTotalMem_v2(size_t *bytes, int ordinal) {
    return call_for(ordinal, [&] {
        *bytes = device().memory.total;
        return SUCCESS;
    });
}

EXPORT Result cuDeviceGetAttribute(int *value, int attribute, int ordinal) {
    return call_for(ordinal, [&] {
        if (attribute <= 0 || attribute > 200) {
            return ERROR_INVALID_VALUE;
        }
        *value = 0;
        for (const Attribute &known : attributes) {
            if (known.number == attribute) {
                *value = known.value;
            }
        }
        return SUCCESS;
    });
}

EXPORT Result cuDevicePrimaryCtxRetain(void **context, int ordinal) {
    return call_for(ordinal, [&] {
        device().retained += 1;
        *context = &primary_context;
        return SUCCESS;
    });
}

// The last one to release it takes all memory and all failure along: a card that was lost as it was told is lost once.
EXPORT Result cuDevicePrimaryCtxRelease_v2(int ordinal) {
    return call_for(ordinal, [&] {
        if (device().retained == 0) {
            return ERROR_INVALID_CONTEXT;
        }
        device().retained -= 1;
        if (device().retained > 0) {
            return SUCCESS;
        }
        forget_streams();
        device().memory.free_all();
        if (device().failure != SUCCESS) {
            device().launches_left = ULLONG_MAX;
        }
        device().failure = SUCCESS;
        return SUCCESS;
    });
}

EXPORT Result cuCtxSetCurrent(void *context) {
    return call_device([&] {
        if (context != nullptr && (context != &primary_context || device().retained == 0)) {
            return complain(ERROR_INVALID_CONTEXT, "cuCtxSetCurrent: no context, or one that was released");
        }
        has_context = context != nullptr;
        return SUCCESS;
    });
}

EXPORT Result cuCtxGetCurrent(void **context) {
    return call_device([&] {
        *context = has_context ? &primary_context : nullptr;
        return SUCCESS;
    });
}

EXPORT Result cuCtxSynchronize() {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuCtxSynchronize"));
        return run_all_streams();
    });
}

// These are taken, and change nothing.
EXPORT Result cuCtxSetFlags(u32) {
    return call([] { return SUCCESS; });
}
EXPORT Result cuCtxSetLimit(int, size_t) {
    return call([] { return SUCCESS; });
}
EXPORT Result cuCtxGetLimit(size_t *value, int) {
    return call([&] {
        *value = 0;
        return SUCCESS;
    });
}
EXPORT Result cuCtxSetCacheConfig(int) {
    return call([] { return SUCCESS; });
}
EXPORT Result cuCtxGetCacheConfig(int *value) {
    return call([&] {
        *value = 0;
        return SUCCESS;
    });
}
EXPORT Result cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    return call([&] {
        *least = 0;
        *greatest = -5;
        return SUCCESS;
    });
}
EXPORT Result cuProfilerStart() {
    return call([] { return SUCCESS; });
}
EXPORT Result cuProfilerStop() {
    return call([] { return SUCCESS; });
}
