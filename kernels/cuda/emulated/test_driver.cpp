// Tests of the driver: contexts, memory, modules, launches, and the errors of each.
#include "test.h"
#include <string.h>

namespace {

const char *const ptx = R"(// sources: none
.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 machine_dynamic_shared[];
.visible .entry add(
	.param .u64 .ptr .global .align 8 add_param_0,
	.param .f32 add_param_1,
	.param .u32 add_param_2
)
.maxntid 256, 1, 1
{
	.shared .align 4 .b8 room[1024];
	@%p1 { st.shared.f32 [room], %f1; }
	ret;
}
.visible .entry write_at(.param .u64 a, .param .u32 b)
{
}
.visible .entry read_at(.param .u64 a, .param .u32 b, .param .u64 c)
{
}
.visible .entry past_dynamic(.param .align 4 .b8 a[4])
{
}
.visible .entry some_at_barrier()
{
}
.visible .entry shuffles(.param .u64 a)
{
}
.visible .entry unknown()
{
}
)";

int load(const char *text) {
    Module *module;
    int result = cuModuleLoadData(&module, text);
    if (result == 0) {
        CHECK_OK(cuModuleUnload(module));
    }
    return result;
}

} // namespace

Card::Card() {
    void *context;
    CHECK_OK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK_OK(cuCtxSetCurrent(context));
    CHECK_OK(cuModuleLoadData(&module, ptx));
}

Card::~Card() {
    cuModuleUnload(module);
    CHECK_OK(cuCtxSetCurrent(nullptr));
    CHECK_OK(cuDevicePrimaryCtxRelease_v2(0));
}

Function *Card::function(const char *name) {
    Function *function;
    CHECK_OK(cuModuleGetFunction(&function, module, name));
    return function;
}

Address Card::allocate(size_t bytes) {
    Address address;
    CHECK_OK(cuMemAlloc_v2(&address, bytes));
    CHECK(address % 256 == 0);
    return address;
}

namespace emulated {
namespace {

void describes_itself() {
    int ordinal, value;
    char name[64];
    CHECK_OK(cuDeviceGet(&ordinal, 0));
    CHECK_RESULT(ERROR_INVALID_DEVICE, cuDeviceGet(&ordinal, 1));
    CHECK_OK(cuDeviceGetName(name, sizeof name, 0));
    CHECK(strcmp(name, "Emulated CUDA device") == 0);
    CHECK_OK(cuDeviceGetAttribute(&value, 75, 0));
    CHECK(value == 8);
    const char *text;
    CHECK_OK(cuGetErrorName(ERROR_LAUNCH_FAILED, &text));
    CHECK(strcmp(text, "CUDA_ERROR_LAUNCH_FAILED") == 0);
    Address address;
    CHECK_RESULT(ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&address, 16));
}

void memory_has_bounds() {
    Card card;
    size_t free, total, before;
    CHECK_OK(cuMemGetInfo_v2(&before, &total));
    Address address = card.allocate(1000);
    CHECK_OK(cuMemGetInfo_v2(&free, &total));
    CHECK(free == before - 1024);
    char bytes[1001] = {};
    CHECK_OK(cuMemcpyHtoD_v2(address, bytes, 1000));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(address, bytes, 1001));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(bytes, address + 1, 1000));
    CHECK_OK(cuMemcpyDtoH_v2(bytes, address + 1, 999));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuMemFree_v2(address + 256));
    CHECK_OK(cuMemFree_v2(address));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuMemFree_v2(address));
    CHECK_OK(cuMemGetInfo_v2(&free, &total));
    CHECK(free == before);
    CHECK_RESULT(ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&address, total + 1));
}

void modules_are_read() {
    Card card;
    CHECK_RESULT(ERROR_INVALID_IMAGE, load("no PTX"));
    CHECK_RESULT(ERROR_UNSUPPORTED_PTX_VERSION, load(".version 9.9\n.target sm_80\n"));
    CHECK_RESULT(ERROR_INVALID_PTX, load(".version 7.0\n.target sm_90\n"));
    Module *module;
    Function *function;
    CHECK_OK(cuModuleLoadData(&module, ptx));
    CHECK_RESULT(ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "sum_of_threads"));
    CHECK_RESULT(ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "unknown"));
    // It has two parameters.
    CHECK_RESULT(ERROR_INVALID_IMAGE, cuModuleGetFunction(&function, module, "shuffles"));
    CHECK_OK(cuModuleGetFunction(&function, module, "add"));
    CHECK_OK(cuModuleUnload(module));
    CHECK_RESULT(ERROR_INVALID_HANDLE, launch(function, 1, 1, 0, nullptr, Address(0), 1.0f, 1u));
}

void launches_have_limits() {
    Card card;
    Address numbers = card.allocate(4);
    Function *add = card.function("add");
    CHECK_RESULT(ERROR_INVALID_HANDLE, launch(nullptr, 1, 1, 0, nullptr, numbers, 1.0f, 1u));
    CHECK_RESULT(ERROR_INVALID_VALUE, launch(add, 0, 1, 0, nullptr, numbers, 1.0f, 1u));
    CHECK_RESULT(ERROR_INVALID_VALUE, launch(add, 1, 257, 0, nullptr, numbers, 1.0f, 1u));
    CHECK_RESULT(ERROR_INVALID_VALUE, launch(add, 1, 256, 47 * 1024 + 1, nullptr, numbers, 1.0f, 1u));
    CHECK_RESULT(ERROR_INVALID_VALUE, launch(add, 1, 256, 0, nullptr));
    CHECK_RESULT(ERROR_INVALID_VALUE, cuFuncSetAttribute(add, 8, 160 * 1024));
    CHECK_OK(cuFuncSetAttribute(add, 8, 159 * 1024));
    CHECK_OK(launch(add, 1, 256, 159 * 1024, nullptr, numbers, 1.0f, 0u));
    CHECK_OK(cuCtxSynchronize());
}

// Each ends the context; a new one works.
template <class... Parameters>
void breaks(int expected, const char *name, unsigned threads, Parameters... parameters) {
    {
        Card card;
        CHECK_OK(launch(card.function(name), 1, threads, 0, nullptr, parameters...));
        CHECK_RESULT(expected, cuCtxSynchronize());
        Address address;
        CHECK_RESULT(expected, cuMemAlloc_v2(&address, 16));
    }
    Card card;
    Address numbers = card.allocate(8);
    float out[2] = {1, 2};
    CHECK_OK(cuMemcpyHtoD_v2(numbers, out, sizeof out));
    CHECK_OK(launch(card.function("add"), 1, 32, 0, nullptr, numbers, 0.5f, 2u));
    CHECK_OK(cuMemcpyDtoH_v2(out, numbers, sizeof out));
    CHECK(out[0] == 1.5f && out[1] == 2.5f);
    CHECK_OK(cuCtxSynchronize());
}

void mistakes_of_kernels_end_the_context() {
    breaks(ERROR_ILLEGAL_ADDRESS, "some_at_barrier", 64);
    breaks(ERROR_ILLEGAL_ADDRESS, "past_dynamic", 1, 0u);
    breaks(ERROR_ILLEGAL_ADDRESS, "write_at", 1, Address(0), 0);
    Address address;
    {
        Card card;
        address = card.allocate(4096);
        CHECK_OK(cuMemFree_v2(address));
    }
    // After its end, and where one was.
    breaks(ERROR_ILLEGAL_ADDRESS, "write_at", 1, address, 0);
    for (int at : {1000, 1024, -1}) {
        Card card;
        Address numbers = card.allocate(4000);
        CHECK_OK(launch(card.function("write_at"), 1, 1, 0, nullptr, numbers, at));
        CHECK_RESULT(ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    }
    Card card;
    Address numbers = card.allocate(4000), out = card.allocate(4);
    float number;
    CHECK_OK(launch(card.function("read_at"), 1, 1, 0, nullptr, numbers, 1000, out));
    CHECK_OK(cuMemcpyDtoH_v2(&number, out, sizeof number));
    CHECK(number != number);
}

void card_can_be_lost() {
    Card card;
    Address numbers = card.allocate(4);
    Function *add = card.function("add");
    unsigned long long before = jury_emulated_launches();
    jury_emulated_lose_after(2);
    for (int time = 0; time < 2; time++) {
        CHECK_OK(launch(add, 1, 1, 0, nullptr, numbers, 1.0f, 1u));
    }
    CHECK_OK(cuCtxSynchronize());
    CHECK(jury_emulated_launches() == before + 2);
    CHECK_OK(launch(add, 1, 1, 0, nullptr, numbers, 1.0f, 1u));
    CHECK_RESULT(ERROR_LAUNCH_FAILED, cuCtxSynchronize());
    CHECK_RESULT(ERROR_LAUNCH_FAILED, launch(add, 1, 1, 0, nullptr, numbers, 1.0f, 1u));
    jury_emulated_lose_after(~0ull);
}

} // namespace

void test_driver() {
    describes_itself();
    memory_has_bounds();
    modules_are_read();
    launches_have_limits();
    mistakes_of_kernels_end_the_context();
    card_can_be_lost();
}

} // namespace emulated
