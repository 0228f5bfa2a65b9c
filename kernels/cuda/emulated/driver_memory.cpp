// libcuda: memory of the card and pinned memory, copies, fills. Pageable memory of the host is copied before the call
// returns, as CUDA does; under capture it is refused, since a graph would read it later.
#include "stream.h"
#include <string.h>

using namespace emulated;

namespace {

Result allocate(u64 *address, size_t bytes) {
    if (address == nullptr || bytes == 0) {
        return ERROR_INVALID_VALUE;
    }
    *address = device().memory.allocate(bytes);
    return *address != 0 ? SUCCESS : ERROR_OUT_OF_MEMORY;
}

Result release(u64 address) {
    EMULATED_TRY(check_memory());
    return device().memory.free(address)
               ? SUCCESS
               : complain(ERROR_INVALID_VALUE, "%#llx is freed, but is no allocation, or is no more", address);
}

Result check(const char *name, u64 address, size_t bytes) {
    return bytes == 0 || device().memory.has(address, bytes)
               ? SUCCESS
               : complain(ERROR_INVALID_VALUE, "%s: %zu bytes at %#llx lie in no allocation", name, bytes, address);
}

// By the time it runs, memory may have been freed.
Result check_again(u64 address, size_t bytes) {
    return bytes == 0 || device().memory.has(address, bytes)
               ? SUCCESS
               : break_down(ERROR_ILLEGAL_ADDRESS, "a copy of %zu bytes at %#llx: freed meanwhile", bytes, address);
}

struct Transfer {
    void *to;
    const void *from;
    size_t bytes;
    // Which ends lie on the card.
    bool to_card, from_card;
};

Result transfer(void *arguments) {
    const Transfer &it = *static_cast<const Transfer *>(arguments);
    Memory &memory = device().memory;
    for (auto [address, on_card] : {std::pair<const void *, bool>(it.to, it.to_card), {it.from, it.from_card}}) {
        if (on_card) {
            EMULATED_TRY(check_again(reinterpret_cast<u64>(address), it.bytes));
        } else if (!memory.is_pinned(address, it.bytes)) {
            return break_down(ERROR_ILLEGAL_ADDRESS, "a copy of %zu bytes at %p: pinned memory, freed meanwhile",
                              it.bytes, address);
        }
    }
    memmove(it.to, it.from, it.bytes);
    return SUCCESS;
}

struct Fill {
    u64 at;
    size_t bytes;
    unsigned char value;
};

Result fill(void *arguments) {
    const Fill &it = *static_cast<const Fill *>(arguments);
    EMULATED_TRY(check_again(it.at, it.bytes));
    memset(reinterpret_cast<void *>(it.at), it.value, it.bytes);
    return SUCCESS;
}

Result free_later(void *arguments) { return release(*static_cast<u64 *>(arguments)); }

template <class Arguments> Result add(Stream *handle, Step step, const Arguments &arguments) {
    Stream *stream = find_stream(handle);
    if (stream == nullptr) {
        return ERROR_INVALID_HANDLE;
    }
    void *place;
    EMULATED_TRY(stream->add(step, sizeof arguments, place));
    memcpy(place, &arguments, sizeof arguments);
    return SUCCESS;
}

// Between the card and the host, in the order of a stream.
Result copy(const char *name, const Transfer &it, Stream *handle) {
    Stream *stream = find_stream(handle);
    if (stream == nullptr) {
        return ERROR_INVALID_HANDLE;
    }
    EMULATED_TRY(check(name, reinterpret_cast<u64>(it.to_card ? it.to : it.from), it.bytes));
    if (device().memory.is_pinned(it.to_card ? it.from : it.to, it.bytes)) {
        return add(stream, transfer, it);
    }
    if (stream->status != CAPTURE_NONE) {
        stream->status = CAPTURE_INVALIDATED;
        return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s under capture: the host's memory is not pinned", name);
    }
    EMULATED_TRY(stream->run_all());
    memcpy(it.to, it.from, it.bytes);
    return SUCCESS;
}

// Those without a stream use the null stream, and have ended when they return.
Result copy_now(const char *name, const Transfer &it) {
    EMULATED_TRY(refuse_in_capture(name));
    EMULATED_TRY(copy(name, it, nullptr));
    return find_stream(nullptr)->run_all();
}

Result copy_within(u64 to, u64 from, size_t bytes, Stream *stream) {
    EMULATED_TRY(check("cuMemcpyDtoD", to, bytes));
    EMULATED_TRY(check("cuMemcpyDtoD", from, bytes));
    return add(stream, transfer,
               Transfer{reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes, true, true});
}

} // namespace

EXPORT Result cuMemAlloc_v2(u64 *address, size_t bytes) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemAlloc"));
        return allocate(address, bytes);
    });
}

// The memory is there at once; under capture it is refused, since graphs that allocate are not emulated.
EXPORT Result cuMemAllocAsync(u64 *address, size_t bytes, Stream *handle) {
    return call([&]() -> Result {
        Stream *stream = find_stream(handle);
        if (stream == nullptr) {
            return ERROR_INVALID_HANDLE;
        }
        if (stream->status != CAPTURE_NONE) {
            stream->status = CAPTURE_INVALIDATED;
            return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuMemAllocAsync under capture is not emulated");
        }
        Result result = allocate(address, bytes);
        if (result == ERROR_OUT_OF_MEMORY) {
            // What the streams have yet to free may do.
            EMULATED_TRY(run_all_streams());
            result = allocate(address, bytes);
        }
        return result;
    });
}

EXPORT Result cuMemFree_v2(u64 address) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemFree"));
        EMULATED_TRY(run_all_streams());
        return address == 0 ? SUCCESS : release(address);
    });
}

EXPORT Result cuMemFreeAsync(u64 address, Stream *handle) {
    return call([&]() -> Result {
        Stream *stream = find_stream(handle);
        if (stream == nullptr) {
            return ERROR_INVALID_HANDLE;
        }
        if (stream->status != CAPTURE_NONE) {
            stream->status = CAPTURE_INVALIDATED;
            return complain(ERROR_STREAM_CAPTURE_UNSUPPORTED, "cuMemFreeAsync under capture is not emulated");
        }
        EMULATED_TRY(check("cuMemFreeAsync", address, 1));
        return add(stream, free_later, address);
    });
}

EXPORT Result cuMemGetInfo_v2(size_t *free, size_t *total) {
    return call([&] {
        *total = device().memory.total;
        *free = *total - device().memory.used();
        return SUCCESS;
    });
}

EXPORT Result cuMemHostAlloc(void **address, size_t bytes, u32) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemHostAlloc"));
        if (bytes == 0) {
            return ERROR_INVALID_VALUE;
        }
        *address = device().memory.allocate_pinned(bytes);
        return *address != nullptr ? SUCCESS : ERROR_OUT_OF_MEMORY;
    });
}

EXPORT Result cuMemFreeHost(void *address) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemFreeHost"));
        EMULATED_TRY(run_all_streams());
        return device().memory.free_pinned(address)
                   ? SUCCESS
                   : complain(ERROR_INVALID_VALUE, "cuMemFreeHost: %p is not pinned memory", address);
    });
}

EXPORT Result cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t bytes, Stream *stream) {
    return call([&] {
        return copy("cuMemcpyHtoDAsync", {reinterpret_cast<void *>(to), from, bytes, true, false}, stream);
    });
}
EXPORT Result cuMemcpyHtoD_v2(u64 to, const void *from, size_t bytes) {
    return call([&] { return copy_now("cuMemcpyHtoD", {reinterpret_cast<void *>(to), from, bytes, true, false}); });
}
EXPORT Result cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t bytes, Stream *stream) {
    return call([&] {
        return copy("cuMemcpyDtoHAsync", {to, reinterpret_cast<void *>(from), bytes, false, true}, stream);
    });
}
EXPORT Result cuMemcpyDtoH_v2(void *to, u64 from, size_t bytes) {
    return call([&] { return copy_now("cuMemcpyDtoH", {to, reinterpret_cast<void *>(from), bytes, false, true}); });
}
EXPORT Result cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, Stream *stream) {
    return call([&] { return copy_within(to, from, bytes, stream); });
}
EXPORT Result cuMemcpyDtoD_v2(u64 to, u64 from, size_t bytes) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemcpyDtoD"));
        return copy_within(to, from, bytes, nullptr);
    });
}

EXPORT Result cuMemsetD8Async(u64 at, unsigned char value, size_t bytes, Stream *stream) {
    return call([&]() -> Result {
        EMULATED_TRY(check("cuMemsetD8Async", at, bytes));
        return add(stream, fill, Fill{at, bytes, value});
    });
}
EXPORT Result cuMemsetD8_v2(u64 at, unsigned char value, size_t bytes) {
    return call([&]() -> Result {
        EMULATED_TRY(refuse_in_capture("cuMemsetD8"));
        EMULATED_TRY(check("cuMemsetD8", at, bytes));
        return add(nullptr, fill, Fill{at, bytes, value});
    });
}
