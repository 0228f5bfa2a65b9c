// The card as all parts of the emulated driver see it: its state under one lock, its memory, its failure.
//
// What a mistake breaks on a card breaks here with the driver's error, and says more on standard error. An error of a
// kernel stays, as CUDA's do, until the primary context has been released by all who retained it.
#pragma once
#include "memory.h"
#include <limits.h>
#include <mutex>
#include <new>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace emulated {

// Name, number and description of the driver's results that the emulator gives.
#define EMULATED_RESULTS(X)                                                                                            \
    X(SUCCESS, 0, "no error")                                                                                          \
    X(ERROR_INVALID_VALUE, 1, "invalid argument")                                                                      \
    X(ERROR_OUT_OF_MEMORY, 2, "out of memory")                                                                         \
    X(ERROR_NOT_INITIALIZED, 3, "initialization error")                                                                \
    X(ERROR_INVALID_DEVICE, 101, "invalid device ordinal")                                                             \
    X(ERROR_INVALID_IMAGE, 200, "device kernel image is invalid")                                                      \
    X(ERROR_INVALID_CONTEXT, 201, "invalid device context")                                                            \
    X(ERROR_INVALID_PTX, 218, "a PTX JIT compilation failed")                                                          \
    X(ERROR_UNSUPPORTED_PTX_VERSION, 222, "the provided PTX was compiled with an unsupported toolchain.")              \
    X(ERROR_FILE_NOT_FOUND, 301, "file not found")                                                                     \
    X(ERROR_INVALID_HANDLE, 400, "invalid resource handle")                                                            \
    X(ERROR_NOT_FOUND, 500, "named symbol not found")                                                                  \
    X(ERROR_NOT_READY, 600, "device not ready")                                                                        \
    X(ERROR_ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")                                          \
    X(ERROR_LAUNCH_FAILED, 719, "unspecified launch failure")                                                          \
    X(ERROR_NOT_SUPPORTED, 801, "operation not supported")                                                             \
    X(ERROR_STREAM_CAPTURE_UNSUPPORTED, 900, "operation not permitted when stream is capturing")                       \
    X(ERROR_STREAM_CAPTURE_INVALIDATED, 901, "operation failed due to a previous error during capture")                \
    X(ERROR_STREAM_CAPTURE_UNMATCHED, 903, "the capture was not initiated in this stream")                             \
    X(ERROR_STREAM_CAPTURE_ISOLATION, 905, "dependency created on uncaptured work in another stream")                  \
    X(ERROR_CAPTURED_EVENT, 907, "operation not permitted on an event last recorded in a capturing stream")            \
    X(ERROR_STREAM_CAPTURE_WRONG_THREAD, 908, "attempt to end a thread-local capture from another thread")

enum Result : int {
#define EMULATED_RESULT(name, number, text) name = number,
    EMULATED_RESULTS(EMULATED_RESULT)
#undef EMULATED_RESULT
};

struct Device {
    std::mutex lock;
    Memory memory;
    bool initialised = false;
    // Those who retain the primary context.
    u32 retained = 0;
    // What every call gives once a kernel has failed.
    Result failure = SUCCESS;
    // What the emulator had to say last.
    std::string complaint;
    // Kernels that ran, and how many more may before the card is lost.
    u64 launches = 0;
    u64 launches_left = ULLONG_MAX;
    u64 graph_launches = 0;
};

Device &device();
// Whether the calling thread has the context.
extern thread_local bool has_context;

// For a thread that is about to run kernels.
void prepare_for_faults();

// Says what is wrong, and gives the result back.
__attribute__((format(printf, 2, 3))) Result complain(Result result, const char *format, ...);
// The same for what ends all use of the context.
__attribute__((format(printf, 2, 3))) Result break_down(Result result, const char *format, ...);

// A call that needs no context, and any other one.
template <class Body> Result call_device(Body body) {
    std::lock_guard<std::mutex> guard(device().lock);
    if (!device().initialised) {
        return ERROR_NOT_INITIALIZED;
    }
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return ERROR_OUT_OF_MEMORY;
    }
}
template <class Body> Result call(Body body) {
    return call_device([&]() -> Result {
        if (!has_context) {
            return complain(ERROR_INVALID_CONTEXT, "the calling thread has no context");
        }
        return device().failure != SUCCESS ? device().failure : body();
    });
}

// Passes a result on where it is an error.
#define EMULATED_TRY(expression)                                                                                       \
    do {                                                                                                               \
        if (emulated::Result result_of_try = (expression)) {                                                           \
            return result_of_try;                                                                                      \
        }                                                                                                              \
    } while (false)

} // namespace emulated
