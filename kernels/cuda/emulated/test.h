// What the emulator's tests share: checks, and the driver's calls.
#pragma once
#include "device.h"
#include "kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (false)
#define CHECK_RESULT(expected, call)                                                                                   \
    do {                                                                                                               \
        int result_of_call = (call);                                                                                   \
        if (result_of_call != (expected)) {                                                                            \
            fprintf(stderr, "%s:%d: %s gives %d, not %d\n", __FILE__, __LINE__, #call, result_of_call, (expected));    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (false)
#define CHECK_OK(call) CHECK_RESULT(0, call)

namespace emulated {

// Runs a kernel without the driver; what went wrong, or nothing.
template <class... Parameters>
std::string run_kernel(const char *name, Index grid, u32 threads, u32 dynamic_bytes, Parameters... parameters) {
    const Kernel *kernel = find_kernel(name);
    CHECK(kernel != nullptr);
    CHECK(kernel->parameter_sizes == std::vector<size_t>{sizeof(Parameters)...});
    void *arguments[] = {&parameters..., nullptr};
    return run({kernel, grid, {threads, 1, 1}, dynamic_bytes, arguments});
}

inline bool has(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

void test_block();
void test_errors();
void test_driver();
void test_streams();
void test_products();

} // namespace emulated

struct Stream;
struct Event;
struct Module;
struct Function;
struct Graph;
struct Executable;
using Address = unsigned long long;

extern "C" {
int cuInit(unsigned);
int cuGetErrorName(int, const char **);
int cuDeviceGet(int *, int);
int cuDeviceGetName(char *, int, int);
int cuDeviceGetAttribute(int *, int, int);
int cuDevicePrimaryCtxRetain(void **, int);
int cuDevicePrimaryCtxRelease_v2(int);
int cuCtxSetCurrent(void *);
int cuCtxSynchronize();
int cuMemAlloc_v2(Address *, size_t);
int cuMemAllocAsync(Address *, size_t, Stream *);
int cuMemFree_v2(Address);
int cuMemFreeAsync(Address, Stream *);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoD_v2(Address, const void *, size_t);
int cuMemcpyDtoH_v2(void *, Address, size_t);
int cuMemcpyHtoDAsync_v2(Address, const void *, size_t, Stream *);
int cuMemcpyDtoHAsync_v2(void *, Address, size_t, Stream *);
int cuMemsetD8Async(Address, unsigned char, size_t, Stream *);
int cuStreamCreate(Stream **, unsigned);
int cuStreamDestroy_v2(Stream *);
int cuStreamSynchronize(Stream *);
int cuStreamWaitEvent(Stream *, Event *, unsigned);
int cuEventCreate(Event **, unsigned);
int cuEventDestroy_v2(Event *);
int cuEventRecord(Event *, Stream *);
int cuEventSynchronize(Event *);
int cuEventQuery(Event *);
int cuEventElapsedTime_v2(float *, Event *, Event *);
int cuModuleLoadData(Module **, const void *);
int cuModuleUnload(Module *);
int cuModuleGetFunction(Function **, Module *, const char *);
int cuFuncSetAttribute(Function *, int, int);
int cuLaunchKernel(Function *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream *, void **,
                   void **);
int cuStreamBeginCapture_v2(Stream *, int);
int cuStreamEndCapture(Stream *, Graph **);
int cuStreamIsCapturing(Stream *, int *);
int cuGraphInstantiateWithFlags(Executable **, Graph *, unsigned long long);
int cuGraphLaunch(Executable *, Stream *);
int cuGraphDestroy(Graph *);
int cuGraphExecDestroy(Executable *);
void jury_emulated_lose_after(unsigned long long);
unsigned long long jury_emulated_launches();
}

// The card in use by the calling thread, with a module of the test's kernels; when it goes the card is as it was.
class Card {
  public:
    Card();
    ~Card();
    Function *function(const char *name);
    Address allocate(size_t bytes);

  private:
    Module *module;
};

template <class... Parameters>
int launch(Function *function, unsigned blocks, unsigned threads, unsigned dynamic_bytes, Stream *stream,
           Parameters... parameters) {
    void *arguments[] = {&parameters..., nullptr};
    return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, dynamic_bytes, stream, arguments, nullptr);
}
